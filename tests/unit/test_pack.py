"""Archives: what goes in, what is refused on the way out, and how a suite's runs are dealt out to machines."""

import hashlib
import itertools
import json
import runpy
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec.discover import MethodFile, find_methods
from llmrec.errors import UserError
from llmrec.packing import features, gather, manifest, source
from llmrec.packing.archive import Member, write
from llmrec.packing.manifest import Manifest, PackedEncoder, PackedRun
from llmrec.packing.unpack import open_archive
from llmrec.records import RunSpec
from llmrec.shards import Shard, parse, part
from llmrec.suite import Planned, load_suite

CONTENT = {"suite/mine.toml": b"datasets = []\n", "data/a/users.parquet": b"\0" * 999, "code/x.py": b"y = 1\n"}

RUN = PackedRun(run_id="0" * 16, label="popularity", dataset="a", method="popularity", seed=0, code="1" * 16)


def manifest_of(content, **changes):
    return Manifest(
        suite="mine", title="Mine", task="topn", llmrec="0.1.0", commit="abc", dirty=False, versions={}, evaluation="2",
        cards={}, data={}, encoders={}, with_code=True, runs=[RUN],
        members={path: hashlib.sha256(data).hexdigest() for path, data in content.items()},
    ).model_copy(update=changes)  # fmt: skip


def packed(target, content=CONTENT, **changes):
    manifest = manifest_of(content, **changes)
    write(target, manifest.text(), [Member(path, "x", data) for path, data in content.items()], manifest.members)
    return target


def rewritten(archive, changed=(), added=(), left_out=()):
    """The archive with some members' bytes changed, others added or left out."""
    target = archive.with_name("spoilt.zip")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name not in left_out:
                new.writestr(name, dict(changed).get(name, old.read(name)))
        for name, data in dict(added).items():
            new.writestr(name, data)
    return target


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    return packed(tmp_path / "mine.zip")


def refused(path, *says):
    """It is not unpacked, the message says why, and nothing of it is kept."""
    with pytest.raises(UserError) as error:
        open_archive(path, print)
    for said in (str(path), *says):
        assert said in str(error.value)
    packs = Path(path).parent / "cache" / "packs"
    assert [p for p in packs.iterdir() if p.suffix != ".lock"] == []
    assert not (Path(path).parent / "escaped").exists()


def test_what_goes_in_comes_out(archive):
    said = []
    opened = open_archive(archive, said.append)
    assert len(said) == 1 and opened.manifest == manifest_of(CONTENT)
    assert opened.suite.read_bytes() == CONTENT["suite/mine.toml"]
    assert (opened.folder / "data/a/users.parquet").read_bytes() == CONTENT["data/a/users.parquet"]
    assert not (opened.folder / "code").exists()  # only `python ARCHIVE` wants it
    assert open_archive(archive, said.append).folder == opened.folder and len(said) == 1  # once is enough


def test_equal_members_give_equal_bytes(archive, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT["code/x.py"])
    members = [Member(path, "x", data) for path, data in reversed(CONTENT.items())]
    members[0] = Member("code/x.py", "x", tmp_path / "file")  # from a file of today, in another order
    write(tmp_path / "again.zip", manifest_of(CONTENT).text(), members, manifest_of(CONTENT).members)
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_an_archive_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        packed(tmp_path / "none" / "mine.zip")
    with pytest.raises(UserError, match="No such file"):
        write(tmp_path / "mine.zip", "{}", [Member("a", "x", tmp_path / "gone")], {})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("new")
    with pytest.raises(UserError, match="has changed while it was packed"):
        write(tmp_path / "mine.zip", "{}", [Member("a", "x", tmp_path / "file")], {"a": "sum of the old"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_changed_member(archive):
    refused(rewritten(archive, changed={"suite/mine.toml": b"datasets = [1]\n"}), "'suite/mine.toml'", "not the one")


def test_a_member_that_nobody_packed(archive):
    refused(rewritten(archive, added={"suite/more.toml": b""}), "'suite/more.toml' is not in its manifest")


def test_a_missing_member(archive):
    refused(rewritten(archive, left_out=["suite/mine.toml"]), "'suite/mine.toml' is missing")


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "suite/../../escaped", "C:\\escaped"])
def test_a_member_that_climbs(archive, tmp_path, name):
    """Whether or not the manifest knows of it."""
    refused(rewritten(archive, added={name: b"out"}))
    refused(packed(tmp_path / "climbs.zip", {**CONTENT, name: b"out"}), "outside of the folder")


def test_a_link(archive, tmp_path):
    path = rewritten(archive, left_out=["suite/mine.toml"])
    link = zipfile.ZipInfo("suite/mine.toml")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    refused(path, "is a link")


def test_an_archive_that_is_cut_short(archive, tmp_path):
    (tmp_path / "short.zip").write_bytes(archive.read_bytes()[:-30])
    refused(tmp_path / "short.zip", "cut short")


def test_another_archive(archive, tmp_path):
    refused(rewritten(archive, left_out=["manifest.json"]), "no manifest.json")
    newer = json.loads(manifest_of(CONTENT).text()) | {"format": manifest.FORMAT + 1, "llmrec": "9.0"}
    refused(
        rewritten(archive, changed={"manifest.json": json.dumps(newer)}), f"format {manifest.FORMAT + 1}", "llmrec 9.0"
    )
    refused(rewritten(archive, changed={"manifest.json": "{"}), "damaged")
    slip = json.loads(manifest_of(CONTENT).text()) | {"task": "sing"}
    refused(rewritten(archive, changed={"manifest.json": json.dumps(slip)}), "'task'")


def test_the_starter_unpacks_code_alone_and_checks_it(archive, tmp_path):
    starter = runpy.run_path(str(Path(source.__file__).with_name("starter.py")))
    starter["extract"](archive, tmp_path / "code")
    assert [path.name for path in (tmp_path / "code").rglob("*")] == ["x.py"]
    with pytest.raises(SystemExit, match="not the one that was packed"):
        starter["extract"](rewritten(archive, changed={"code/x.py": b"y = 2"}), tmp_path / "other")
    with pytest.raises(SystemExit, match="not the one that was packed"):
        starter["extract"](packed(tmp_path / "climbs.zip", {"code/../../escaped": b"out"}), tmp_path / "other")


def test_the_starter_names_what_is_not_installed(tmp_path):
    starter = runpy.run_path(str(Path(source.__file__).with_name("starter.py")))
    told = "Requires-Dist: numpy>=2\nRequires-Dist: no-such-package>=1 ; python_version > '3'\n"
    (tmp_path / "llmrec-1.dist-info").mkdir()
    (tmp_path / "llmrec-1.dist-info" / "METADATA").write_text(f"{told}Requires-Dist: other ; extra == 'lm'\n")
    assert starter["missing"](tmp_path) == ["no-such-package"]


def test_the_code_is_laid_out_as_in_a_wheel():
    members = {member.path: member for member in source.members()}
    wanted = ("llmrec/__main__.py", "llmrec/_bundled/baselines/ease.py", "llmrec/_bundled/datasets/ml-100k.toml")
    assert {f"code/{path}" for path in wanted} | {"__main__.py"} <= members.keys()
    assert members["code/llmrec/_bundled/COMMIT"].content.split()[1] in (b"clean", b"dirty")
    assert not any("__pycache__" in path or path.startswith("code/datasets") for path in members)
    assert any(path.endswith(".dist-info/METADATA") and b"Name: llmrec" in m.content for path, m in members.items())


def own_card(folder, path):
    folder.mkdir()
    events = f'interactions = {{ path = "{path}", columns = {{ user = "u", item = "i" }} }}'
    (folder / "shop.toml").write_text(f'title = "Shop"\ntime = "exact"\n[[sources]]\n{events}\n')


def test_a_private_cards_files_go_along(tmp_path, monkeypatch):
    own_card(tmp_path / "cards", "sub/orders.csv")
    (tmp_path / "cards" / "sub").mkdir()
    (tmp_path / "cards" / "sub" / "orders.csv").write_text("u,i\n")
    monkeypatch.setenv("LLMREC_DATASETS", str(tmp_path / "cards"))
    members = gather._own_card("shop")
    assert [(m.path, m.part) for m in members] == [("cards/shop.toml", "cards"), ("cards/sub/orders.csv", "data")]
    assert gather._own_card("ml-100k") == []


@pytest.mark.parametrize(("path", "says"), [("../orders.csv", "outside"), ("orders.csv", "missing")])
def test_a_private_cards_file_that_cannot_go_along(tmp_path, monkeypatch, path, says):
    own_card(tmp_path / "cards", path)
    (tmp_path / "orders.csv").write_text("u,i\n")
    monkeypatch.setenv("LLMREC_DATASETS", str(tmp_path / "cards"))
    with pytest.raises(UserError, match=says) as error:
        gather._own_card("shop")
    assert "shop.toml" in str(error.value) and repr(path) in str(error.value)


def test_tuned_parameters_and_published_figures_go_along(tmp_path):
    """Of rows that ask for them, and where they lie."""
    (tmp_path / "mine.toml").write_text('datasets = ["ml-100k"]\n[[methods]]\nname = "ease"\nparams = "tuned"\n')
    (tmp_path / "tuned" / "ml-100k").mkdir(parents=True)
    (tmp_path / "tuned" / "ml-100k" / "ease.toml").touch()
    (tmp_path / "tuned" / "ml-100k" / "slim.toml").touch()
    suite = load_suite(tmp_path / "mine.toml")
    assert [m.path for m in gather._suite(suite)] == ["suite/mine.toml", "suite/tuned/ml-100k/ease.toml"]


def test_a_methods_encoder(tmp_path):
    def encoder_of(text, params, **fields):
        (tmp_path / "mine.py").write_text(text)
        return features._encoder_of(MethodFile("mine", tmp_path / "mine.py", **fields), params)

    assert encoder_of("ctx.rng('x')", {}) is None
    assert encoder_of("ctx.item_embeddings()", {}) == "all-MiniLM-L6-v2"
    assert encoder_of("ctx.request_embeddings(texts, self.encoder)", {"encoder": "other"}) == "other"


def test_methods_that_are_parts_of_another_are_packed_and_known_there(tmp_path):
    """Their code counts as the run's own, their encoders' features are wanted, a private one's file goes along."""
    (tmp_path / "own").mkdir()
    reader = "from dataclasses import dataclass\n@dataclass\nclass Mine:\n    encoder: str = 'small'\n"
    asks = "    def fit(self, split, ctx): ctx.item_embeddings(self.encoder)\n    def score(self, users): ...\n"
    (tmp_path / "own" / "mine.py").write_text(reader + asks)
    part = '{ method = "mine", params = { encoder = "large" } }'
    fused = f'name = "hybrid-fusion"\nparams = {{ second = {part} }}'
    (tmp_path / "fused.toml").write_text(f'datasets = ["ml-100k"]\nseeds = [0]\n[[methods]]\n{fused}\n')
    (planned,) = load_suite(tmp_path / "fused.toml", tmp_path / "own").runs()
    packed = gather._run(planned, tmp_path / "results")
    methods = find_methods(tmp_path / "own")
    assert manifest._code(packed, "topn", methods) == packed.code
    assert manifest._code(packed.model_copy(update={"params": {}}), "topn", methods) != packed.code
    assert list(features._encoders_of(planned.file, planned.spec.params)) == ["large"]
    assert [member.path for member in gather._methods([planned], tmp_path / "own")] == ["methods/mine.py"]


def test_an_encoder_by_a_hubs_name_is_found_without_its_weights(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    from llmrec.encoders import find_encoder
    from llmrec.packing import standin

    own = tmp_path / "own-hub"
    (own / "models--mine--llm").mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(own))
    monkeypatch.setenv("HF_HUB_CACHE", str(own))
    (tmp_path / "tokenizer.json").write_text("{}")
    commit = "a" * 40
    encoder = PackedEncoder(revision=commit, tokenizer="tokenizer.json")
    assert standin.make(tmp_path, {"some/encoder": encoder}) is None
    hub = tmp_path / "hub"
    assert (hub / "models--mine--llm").resolve() == own / "models--mine--llm"  # the machine's own models stay in sight
    import huggingface_hub

    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", _with_cache(huggingface_hub.snapshot_download, hub), raising=True
    )
    found = find_encoder("some/encoder")
    assert found.revision == commit and (found.folder / "tokenizer.json").exists()
    with pytest.raises(UserError, match="must be here, too"):
        standin.make(tmp_path, {str(tmp_path / "gone"): PackedEncoder(revision="content:12")})


def _with_cache(download, hub):
    """What a process that starts with the variable set does: this one has read it before."""
    return lambda *args, **options: download(*args, cache_dir=hub, **options)


def planned(rows):
    """(label, seed) of each run."""
    file = MethodFile("mine", Path("mine.py"))
    return [Planned(label, RunSpec(dataset="a", method=label, seed=seed), file) for label, seed in rows]


RUNS = planned(itertools.product("abcdef", range(3)))


@given(
    of=st.integers(1, 20),
    rows=st.lists(st.sampled_from(RUNS), unique_by=lambda run: run.spec.run_id),
    seconds=st.dictionaries(st.sampled_from([run.spec.run_id for run in RUNS]), st.floats(0, 1e5) | st.none()),
)
def test_every_run_is_in_exactly_one_shard(of, rows, seconds):
    parts = [part(rows, Shard(number, of), seconds) for number in range(1, of + 1)]
    ids = [run.spec.run_id for some in parts for run in some]
    assert sorted(ids) == sorted(run.spec.run_id for run in rows)
    if not any(value is not None for key, value in seconds.items() if key in set(ids)):
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_long_runs_are_spread():
    seconds = {run.spec.run_id: 1000.0 if run.label == "c" else 1.0 for run in RUNS}
    for number in (1, 2, 3):
        mine = part(RUNS, Shard(number, 3), seconds)
        assert sum(run.label == "c" for run in mine) == 1 and len(mine) == 6
    del seconds[next(run.spec.run_id for run in RUNS if run.label == "c")]  # counts as the others of its row
    assert [sum(run.label == "c" for run in part(RUNS, Shard(n, 3), seconds)) for n in (1, 2, 3)] == [1, 1, 1]


def test_without_times_a_rows_seeds_go_to_different_shards():
    by_seed = sorted(RUNS, key=lambda run: run.spec.seed)  # a suite's order: seeds outermost
    for number in (1, 2, 3):
        mine = part(by_seed, Shard(number, 3))
        assert {run.label for run in mine} == set("abcdef")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", "1.0/2"])
def test_a_shard_that_is_none(text):
    with pytest.raises(UserError, match="expected i/n"):
        parse(text)


def test_a_shard():
    assert parse("2/4") == Shard(2, 4)
