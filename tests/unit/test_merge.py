"""Records that come from other machines: whole, weighed, and put in place all together or not at all."""

import errno
import json

import polars as pl
import pytest
from filelock import FileLock

from llmrec.discover import find_methods
from llmrec.errors import UserError
from llmrec.merging import carry as carrying
from llmrec.merging.carry import carry
from llmrec.merging.incoming import read, read_all
from llmrec.merging.weigh import weigh, weigh_all
from llmrec.records import Provenance, Record, RunSpec, Status, read_record, write_record
from llmrec.results import run_folder
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.stored import read_ranks

METHODS = find_methods()
FRESH = {
    "data": "d", "split": "s", "code": code_fingerprint(METHODS["popularity"], "ml-100k"),
    "evaluation": evaluation_fingerprint(), "answers": "a", "scores": "b",
}  # fmt: skip
OLD = {"code": "of another day"}


def put(root, seed=0, machine="cpu", status=Status.OK, ndcg=0.5, verdict=None, fingerprints=None):
    """A run's folder as a worker leaves it, and `Found`."""
    spec = RunSpec(dataset="ml-100k", method="popularity", seed=seed)
    ok = status == Status.OK
    record = Record(
        run_id=spec.run_id, machine_class=machine, spec=spec, family="control", status=status,
        metrics={"ndcg@10": ndcg} if ok else {}, fingerprints={**FRESH, **(fingerprints or {})},
        provenance=Provenance(host=root.name),
    )  # fmt: skip
    folder = run_folder(spec.run_id, machine, root)
    folder.mkdir(parents=True)
    write_record(record, folder)
    (folder / "log.txt").write_text(root.name)
    if ok:
        pl.DataFrame({"user": [0], "item": [3], "rank": [1]}).write_parquet(folder / "ranks.parquet")
    if verdict:
        (folder / "verify.json").write_text(json.dumps({"determinism": verdict, "answers": "a"}))
    return read(folder)


def outcome(tmp_path, ours, theirs):
    return weigh(put(tmp_path / "ours", **ours), put(tmp_path / "theirs", **theirs), METHODS)[0]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({}, {}, "same"),  # provenance aside
        ({}, {"ndcg": 0.50001}, "same"),  # unverified: within the tolerance
        ({}, {"ndcg": 0.501}, "contradiction"),
        ({"verdict": "tolerance"}, {"ndcg": 0.50001}, "same"),
        ({"verdict": "bitwise"}, {"ndcg": 0.50001}, "contradiction"),
        ({}, {"ndcg": 0.50001, "verdict": "bitwise"}, "contradiction"),  # whoever has verified it
        ({"verdict": "bitwise"}, {"fingerprints": {"scores": "c"}}, "contradiction"),
        ({"verdict": "none"}, {"ndcg": 0.7}, "contradiction"),  # nobody said so of theirs
        ({"verdict": "none"}, {"ndcg": 0.7, "verdict": "none"}, "same"),
        ({"status": Status.FAILED}, {}, "replaced"),
        ({"status": Status.INTERRUPTED}, {"status": Status.OOM}, "replaced"),
        ({"status": Status.FAILED}, {"status": Status.SKIPPED}, "kept"),
        ({"status": Status.FAILED}, {"status": Status.TIMEOUT}, "kept"),
        ({}, {"status": Status.FAILED}, "kept"),
        ({"fingerprints": OLD}, {"ndcg": 0.7}, "replaced"),  # as run --stale does
        ({}, {"ndcg": 0.7, "fingerprints": OLD}, "kept"),
        ({"fingerprints": OLD}, {"ndcg": 0.7, "fingerprints": {"code": "older"}}, "contradiction"),
        ({"fingerprints": OLD}, {"fingerprints": {"code": "older"}}, "same"),
        ({}, {"ndcg": 0.7, "fingerprints": {"data": "other"}}, "contradiction"),  # both of today's code
    ],
)  # fmt: skip
def test_which_record_stays(tmp_path, ours, theirs, expected):
    assert outcome(tmp_path, ours, theirs) == expected


def test_the_order_of_machines_decides_nothing_but_who_came_first(tmp_path):
    one, two = put(tmp_path / "one"), put(tmp_path / "two", ndcg=0.7)
    beside = put(tmp_path / "three", machine="cuda")
    for pair in ([one, two], [two, one]):
        weighed = weigh_all([*pair, beside], lambda key: None, METHODS)
        assert [w.outcome for w in weighed] == ["new", "contradiction", "new"]
        assert weighed[1].ours == pair[0]
        kept = weigh_all(pair, lambda key: None, METHODS, "theirs")
        assert [w.outcome for w in kept] == ["new", "replaced"]


def test_records_come_with_all_that_belongs_to_them(tmp_path):
    theirs = put(tmp_path / "theirs", verdict="bitwise")
    (theirs.folder / "job.json").write_text("{}")
    root = tmp_path / "ours"
    old = put(root, status=Status.FAILED)
    carry([theirs], root)
    assert {path.name for path in old.folder.iterdir()} == {"record.json", "ranks.parquet", "log.txt", "verify.json"}
    assert read_record(old.folder) == theirs.record
    assert (old.folder / "log.txt").read_text() == "theirs"
    assert theirs.folder.exists()  # copied, not moved
    assert not list(root.glob("runs/.*"))


def everything(root):
    """Locks aside, which are empty."""
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.mark.parametrize("failing", range(1, 7))
def test_a_full_disk_half_way_changes_nothing(tmp_path, monkeypatch, failing):
    root = tmp_path / "ours"
    put(root, status=Status.FAILED)
    before = everything(root)
    coming = [put(tmp_path / "theirs", seed=seed) for seed in range(2)]
    copied = []

    def copy(source, target):
        copied.append(source)
        if len(copied) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(carrying.shutil, "copyfile", copy)
    with pytest.raises(UserError, match="No space left"):
        carry(coming, root)
    assert everything(root) == before


def test_a_run_that_is_being_made_is_waited_for(tmp_path):
    theirs, root = put(tmp_path / "theirs"), tmp_path / "ours"
    (root / "locks").mkdir(parents=True)
    with (
        FileLock(root / "locks" / f"{theirs.record.run_id}-cpu.lock"),
        pytest.raises(UserError, match="being made"),
    ):
        carry([put(tmp_path / "theirs", seed=1), theirs], root)
    assert everything(root) == {}


def spoil_record(folder, **changes):
    raw = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(raw | changes))


DAMAGES = {
    "not finished": (lambda folder: (folder / "record.json").unlink(), "record.json", "missing"),
    "cut short": (lambda folder: (folder / "record.json").write_text("{"), "record.json", "not valid JSON"),
    "of another schema": (lambda folder: spoil_record(folder, schema_version=2), "record.json", "schema version 2"),
    "a wrong value": (lambda folder: spoil_record(folder, metrics={"ndcg@10": "x"}), "record.json", "metrics.ndcg@10"),
    "another machine's": (lambda folder: spoil_record(folder, machine_class="cuda"), "record.json", "machine_class"),
    "another run's": (lambda folder: spoil_record(folder, run_id="0" * 16), "record.json", "run_id"),
    "changed by hand": (
        lambda folder: spoil_record(folder, spec={"dataset": "ml-100k", "method": "popularity", "seed": 7}),
        "record.json", "by hand",
    ),
    "without ranks": (lambda folder: (folder / "ranks.parquet").unlink(), "ranks.parquet", "missing"),
    "broken ranks": (lambda folder: (folder / "ranks.parquet").write_bytes(b"PAR1"), "ranks.parquet", "cannot be read"),
    "broken lists": (lambda folder: (folder / "users.parquet").write_bytes(b"no"), "users.parquet", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_named_and_the_others_are_read(tmp_path, damage):
    spoil, file, says = DAMAGES[damage]
    whole, spoilt = put(tmp_path / "r", seed=0), put(tmp_path / "r", seed=1)
    spoil(spoilt.folder)
    found, (problem,) = read_all([tmp_path / "r"])
    assert [one.record for one in found] == [whole.record]
    assert problem.startswith(f"{spoilt.folder / file}: ") and says in problem


def share(found, root, items=(3,)):
    """Write a run's ranks as results/compact.py does: users and items beside runs/."""
    (root / "targets").mkdir()
    shared = pl.DataFrame({"user": [0] * len(items), "item": list(items)})
    shared.write_parquet(root / "targets" / "abc.parquet")
    whole = pl.read_parquet(found.folder / "ranks.parquet")
    whole.select("rank").write_parquet(found.folder / "ranks.parquet", metadata={"targets": "abc"})
    return whole


def test_ranks_that_share_their_users_and_items_arrive_whole(tmp_path):
    theirs = put(tmp_path / "theirs")
    whole = share(theirs, tmp_path / "theirs")
    assert read_ranks(theirs.folder).equals(whole)
    carry([read(theirs.folder)], tmp_path / "ours")
    (there,) = (tmp_path / "ours").glob("runs/*/*/ranks.parquet")
    assert pl.read_parquet(there).equals(whole)


def test_ranks_whose_users_and_items_are_not_theirs_are_named(tmp_path):
    theirs = put(tmp_path / "theirs")
    share(theirs, tmp_path / "theirs", items=(3, 4))
    _, (problem,) = read_all([tmp_path / "theirs"])
    assert "abc.parquet: 2 rows" in problem and "has 1" in problem
    (tmp_path / "theirs" / "targets" / "abc.parquet").unlink()
    _, (problem,) = read_all([tmp_path / "theirs"])
    assert "abc.parquet: missing" in problem and "Copy targets/" in problem


def test_answers_that_are_not_the_records(tmp_path):
    """They are not committed, but where they came along they count."""
    folder = put(tmp_path / "r").folder
    table = {"user": [0], "item": [1]}
    pl.DataFrame({**table, "rank": [1]}).write_parquet(folder / "ranks.parquet")
    pl.DataFrame({**table, "score": [0.5]}).write_parquet(folder / "answers.parquet")
    _, (problem,) = read_all([tmp_path / "r"])
    assert str(folder) in problem and "not those of its record" in problem


def test_what_a_runner_is_at_is_left_out(tmp_path):
    found = put(tmp_path / "r")
    found.folder.parent.with_name(".staging-1-cpu").mkdir()
    assert read_all([tmp_path / "r"]) == ([found], [])


def test_a_verdict_on_other_answers_says_nothing(tmp_path):
    found = put(tmp_path / "r", verdict="bitwise")
    assert found.determinism == "bitwise"
    spoil_record(found.folder, fingerprints={**FRESH, "answers": "other"})
    assert read(found.folder).determinism == "unverified"
