"""Publishing: what the frozen files hold, that they are what the records say, and every refusal with its command."""

import dataclasses
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from llmrec.cli import paper as commands
from llmrec.errors import UserError
from llmrec.published import tables
from llmrec.published.blocks import read_blocks
from llmrec.published.checks import uncommitted
from llmrec.published.freeze import freeze
from llmrec.records import Protocol, Provenance, Status, read_record, write_record
from llmrec.report.evidence import gather

FEW = 60


def publish(lab, **options):
    return tables.write_frozen(freeze(lab.suite, root=lab.results, **options), "demo", lab.results)


def change(lab, label, seed=0, **changes):
    """Write the record of a run again with other fields."""
    folder = lab.folder_of(lab.plan(label, seed))
    write_record(read_record(folder).model_copy(update=changes), folder)


@pytest.fixture
def whole_lab(empty_lab):
    """All runs are there and ok; few users, because each suite is published whole."""
    empty_lab.users = FEW
    empty_lab.keep("random", "ease", "tfidf", "sasrec", "bert-biencoder")
    empty_lab.fill(bad=False)
    return empty_lab


@pytest.fixture
def refused(whole_lab):
    """The message with which a lab is refused."""

    def message(**options):
        with pytest.raises(UserError) as caught:
            freeze(whole_lab.suite, root=whole_lab.results, **options)
        return str(caught.value)

    return message


@pytest.fixture(scope="module")
def published(finished_lab, tmp_path_factory):
    """A benchmark whose every run is there, published; only read."""
    lab = type(finished_lab)(tmp_path_factory.mktemp("published"), users=FEW)
    lab.set_up()
    lab.keep("random", "ease", "als", "sasrec", "gpt-semantic-id")
    lab.fill(bad=False)
    publish(lab)
    return lab


def test_published_runs_are_the_records_that_they_were_made_of(published):
    (ours,) = read_blocks("demo", published.results)
    (theirs,) = gather(published.suite, root=published.results)
    assert [line.label for line in ours.lines] == [line.label for line in theirs.lines]
    assert (ours.metrics, ours.seeds, ours.task) == (theirs.metrics, theirs.seeds, theirs.task)
    for run, source in zip(ours.runs, theirs.runs, strict=True):
        assert run.record == source.record and run.spec == source.spec and run.curve == source.curve
        assert run.users.equals(source.users)


def test_one_row_a_run_slice_and_metric(published):
    table = tables.read_frozen("demo", published.results).figures
    assert table.columns == list(tables.COLUMNS)
    assert not table.select("run_id", "label", "slice", "metric").is_duplicated().any()
    record = read_record(published.folder_of(published.plan("sasrec", 1)))
    row = table.row(by_predicate=(pl.col("run_id") == record.run_id) & (pl.col("metric") == "ndcg@10")
                    & (pl.col("slice") == "all"), named=True)  # fmt: skip
    assert row["value"] == record.metrics["ndcg@10"] and row["low"] < row["value"] < row["high"]
    assert (row["units"], row["seed"], row["family"], row["seeded"]) == (FEW, 1, "sequential", True)
    assert (row["commit"], row["code_hash"]) == (record.provenance.commit, record.fingerprints["code"])


def test_the_same_records_give_the_same_bytes(published):
    before = [path.read_bytes() for path in tables.published_files("demo", published.results)]
    assert [path.read_bytes() for path in publish(published)] == before


def test_missing_seeds_are_refused_with_the_command(lab):
    with pytest.raises(UserError, match=r"als on ml-100k lacks seed 2 .*llmrec run .* -m als --seeds 2 --retry"):
        freeze(lab.suite, root=lab.results, partial=True)


def test_a_row_never_run_is_published_only_when_asked_and_says_so(whole_lab, refused):
    shutil.rmtree(whole_lab.folder_of(whole_lab.plan("bert-biencoder")))
    assert "bert-biencoder on ml-100k lacks seed 0 (not yet run)" in refused()
    publish(whole_lab, partial=True)
    (block,) = read_blocks("demo", whole_lab.results)
    (line,) = [line for line in block.lines if line.label == "bert-biencoder"]
    assert not line.done and line.runs[0].reason == "not yet run"


def test_a_dataset_never_run_is_left_out_only_when_asked(whole_lab):
    wider = dataclasses.replace(whole_lab.suite, datasets=("ml-100k", "ml-1m-noratings"))
    with pytest.raises(UserError, match="random on ml-1m-noratings lacks seeds 0, 1 and 2"):
        freeze(wider, root=whole_lab.results)
    frozen = freeze(wider, root=whole_lab.results, partial=True)
    assert frozen.about["datasets"] == ["ml-100k"]
    assert frozen.figures.equals(freeze(whole_lab.suite, root=whole_lab.results).figures)


def test_a_row_that_could_not_run_is_published_with_its_reason(whole_lab):
    whole_lab.write(whole_lab.plan("tfidf"), Status.OOM, "8 GiB memory limit reached")
    publish(whole_lab)
    (block,) = read_blocks("demo", whole_lab.results)
    (line,) = [line for line in block.lines if line.label == "tfidf"]
    assert not line.done and line.runs[0].reason == "oom: 8 GiB memory limit reached"


def test_stale_runs_are_refused(whole_lab, refused):
    prints = read_record(whole_lab.folder_of(whole_lab.plan("ease"))).fingerprints
    change(whole_lab, "ease", fingerprints=prints | {"evaluation": "older"})
    assert "1 run on ml-100k (ease) measured by an older evaluation. Run: llmrec reeval" in refused()
    change(whole_lab, "ease", fingerprints=prints | {"code": "older"})
    assert "(ease) stale" in refused() and "--stale" in refused()


def test_dirty_runs_are_refused(whole_lab, refused):
    change(whole_lab, "sasrec", 2, provenance=Provenance(commit="abc", dirty=True))
    assert "1 run on ml-100k (sasrec) made with uncommitted changes" in refused()
    assert f"rm -r {whole_lab.folder_of(whole_lab.plan('sasrec', 2))} && llmrec run" in refused()
    assert refused().endswith(f" -d ml-100k --results {whole_lab.results}")


def test_mixed_protocols_data_and_users_are_refused(whole_lab, refused):
    plan = whole_lab.plan("ease")
    record = read_record(whole_lab.folder_of(plan))
    other = plan.spec.model_copy(update={"protocol": Protocol(mask_history=False)})
    change(whole_lab, "ease", spec=other)
    assert "mixed protocols: the record of ease on ml-100k was made under another protocol (" in refused()
    assert "mask_history False) than the suite asks for. Run: rm -r" in refused()
    change(whole_lab, "ease", spec=plan.spec, fingerprints=record.fingerprints | {"data": "d2"})
    assert "2 data fingerprints; ease stand apart. Run: rm -r" in refused()
    change(whole_lab, "ease", fingerprints=record.fingerprints)
    users = whole_lab.folder_of(plan) / "users.parquet"
    pl.read_parquet(users).head(50).write_parquet(users)
    assert "judged on different users (60 and 50)" in refused()


def test_a_checkout_with_uncommitted_changes_publishes_nothing(whole_lab, monkeypatch):
    monkeypatch.setattr("llmrec.published.checks.provenance", lambda: Provenance(dirty=True))
    with pytest.raises(UserError, match=r"uncommitted changes .*git commit"):
        commands.publish(str(whole_lab.folder / "demo.toml"), methods=whole_lab.methods, results=whole_lab.results)
    assert not (whole_lab.results / "published").exists()


def test_files_that_are_not_committed_are_named(tmp_path):
    assert uncommitted(tmp_path) == []  # no checkout
    for path in ("baselines/a b.py", "llmrec/x.py", "results/y"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert uncommitted(tmp_path) == ["baselines/a b.py", "llmrec/x.py"]


def test_an_unknown_schema_a_torn_file_and_an_unknown_name_are_said(published, tmp_path):
    (tmp_path / "published").mkdir()
    figures, users = tables.published_files("demo", tmp_path)
    for path in tables.published_files("demo", published.results):
        (tmp_path / "published" / path.name).write_bytes(path.read_bytes())
    pl.read_parquet(users).write_parquet(users, metadata={tables.VERSION_KEY: "7"})
    with pytest.raises(UserError, match=r"demo.users.parquet: schema version 7, but this llmrec reads version 1"):
        tables.read_frozen("demo", tmp_path)
    figures.write_bytes(figures.read_bytes()[:500])
    with pytest.raises(UserError, match=r"demo.parquet: cannot be read .*llmrec publish demo"):
        tables.read_frozen("demo", tmp_path)
    with pytest.raises(UserError, match=r"suite 'dem' is not published.* Did you mean 'demo'"):
        tables.read_frozen("dem", tmp_path)


RESULTS = Path(__file__).resolve().parents[3] / "results"


@pytest.mark.parametrize("name", tables.published_names(RESULTS))
def test_what_the_repository_publishes_is_what_its_records_say(name):
    values = tables.read_frozen(name, RESULTS).figures.filter((pl.col("slice") == "all"), pl.col("value").is_not_null())
    for (run_id, machine), ours in values.partition_by("run_id", "machine_class", as_dict=True).items():
        record = read_record(RESULTS / "runs" / run_id / machine)
        assert dict(zip(ours["metric"], ours["value"], strict=True)) == record.metrics
