"""Reading results: the right record, and the tidy table."""

import polars as pl
import pytest

import llmrec
from llmrec.errors import UserError
from llmrec.provenance import machine_class
from llmrec.records import Cost, Provenance, Record, Status, write_record
from llmrec.results import find_record, load_results, read_suite, record_by_prefix, run_folder
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.suite import load_suite

SUITE = """
datasets = ["ml-100k"]
seeds = [0, 1]
[[methods]]
name = "random"
label = "chance"
[[methods]]
name = "popularity"
"""


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE)
    return load_suite(tmp_path / "mine.toml")


def put(root, planned, machine=None, status=Status.OK, finished="2026-01-01", **metrics):
    machine = machine or machine_class(planned.file)
    record = Record(
        run_id=planned.spec.run_id, machine_class=machine, spec=planned.spec, family=planned.file.family,
        status=status, metrics=metrics, slices={"items:tail": {"ndcg@10": 0.25}} if metrics else {},
        fingerprints={
            "code": code_fingerprint(planned.file, planned.spec.dataset), "evaluation": evaluation_fingerprint(),
        },
        provenance=Provenance(finished=finished), cost=Cost(fit_seconds=2.0),
    )  # fmt: skip
    folder = run_folder(record.run_id, machine, root)
    folder.mkdir(parents=True)
    write_record(record, folder)
    return record


def test_the_tidy_table(suite, tmp_path):
    chance, popularity, _ = suite.runs()
    put(tmp_path, chance, **{"ndcg@10": 0.5})
    put(tmp_path, popularity, status=Status.FAILED)
    table = load_results(suite, root=tmp_path)
    assert table.columns == [
        "run_id", "suite", "task", "dataset", "fold", "label", "method", "family", "control", "seed", "status", "fresh",
        "machine_class", "slice", "metric", "value",
    ]  # fmt: skip
    mine = table.filter(pl.col("run_id") == chance.spec.run_id)
    assert mine["label"].unique().to_list() == ["chance"] and mine["suite"].unique().to_list() == ["mine"]
    values = {(s, m): v for s, m, v in mine.select("slice", "metric", "value").iter_rows()}
    assert values["all", "ndcg@10"] == 0.5 and values["items:tail", "ndcg@10"] == 0.25
    assert values["cost", "fit_seconds"] == 2.0
    others = table.filter(pl.col("run_id") != chance.spec.run_id)
    assert others.select("status", "metric", "value", "fresh").rows() == [
        ("failed", None, None, False), ("missing", None, None, False),
    ]  # fmt: skip
    assert llmrec.load_results(suite, root=tmp_path).equals(table)


def test_this_machine_class_comes_first_then_the_newest_ok_one(suite, tmp_path):
    run = suite.runs()[0]
    assert find_record(run, tmp_path) is None
    put(tmp_path, run, "other-a", finished="2026-01-02")
    newest = put(tmp_path, run, "other-b", finished="2026-01-03")
    put(tmp_path, run, "other-c", status=Status.FAILED, finished="2026-01-04")
    assert find_record(run, tmp_path) == newest
    assert find_record(run, tmp_path, elsewhere=False) is None
    own = put(tmp_path, run, finished="2026-01-01")
    assert find_record(run, tmp_path) == own


def test_read_suite_says_what_is_fresh(suite, tmp_path):
    run = suite.runs()[0]
    put(tmp_path, run)
    found = read_suite(suite, root=tmp_path)
    assert [(item.record is not None, item.fresh) for item in found] == [(True, True), (False, False), (False, False)]
    planned, record, fresh = found[0]
    assert planned.label == "chance" and record.run_id == run.spec.run_id and fresh


def test_records_by_the_beginning_of_their_id(suite, tmp_path):
    first, second, _ = suite.runs()
    put(tmp_path, first)
    put(tmp_path, second)
    record, folder = record_by_prefix(first.spec.run_id[:6], tmp_path)
    assert record.run_id == first.spec.run_id and (folder / "record.json").exists()
    with pytest.raises(UserError, match="no run 'zzz'"):
        record_by_prefix("zzz", tmp_path)
    (tmp_path / "runs" / (first.spec.run_id[:6] + "0" * 10)).mkdir()
    with pytest.raises(UserError, match="2 runs begin with"):
        record_by_prefix(first.spec.run_id[:6], tmp_path)


def test_a_corrupt_record_is_an_error_with_a_way_out(suite, tmp_path):
    run = suite.runs()[0]
    put(tmp_path, run)
    path = run_folder(run.spec.run_id, machine_class(run.file), tmp_path) / "record.json"
    path.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_suite(suite, root=tmp_path)


def test_importing_llmrec_imports_nothing_heavy():
    import subprocess
    import sys

    code = "import sys, llmrec; print([m for m in ('numpy', 'polars', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        llmrec.nothing  # noqa: B018
