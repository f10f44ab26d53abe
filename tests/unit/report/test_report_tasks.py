"""Reports of a task whose figures are better when lower, over several folds, with a control row."""

import numpy as np
import polars as pl
import pytest

from llmrec.cli import app
from llmrec.provenance import machine_class
from llmrec.records import Cost, Record, Status, write_record
from llmrec.report.compare import duels, sentence
from llmrec.report.evidence import gather
from llmrec.report.write import Report, markdown_text
from llmrec.results import load_results, run_folder
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.suite import load_suite

SUITE = """
task = "rating"
title = "Ratings"
datasets = ["ml-100k"]
seeds = [0, 1]
folds = [1, 2, 3]
[protocol]
name = "official"
fit_data = "train+valid"
[[methods]]
name = "near"
[[methods]]
name = "far"
[[methods]]
name = "near"
label = "near, other seed of the protocol"
control = true
protocol = { seed = 1 }
"""
METHOD = '''
from dataclasses import dataclass

@dataclass
class Any:
    """A method of the tests."""

    def fit(self, split, ctx): ...
    def predict(self, users, items): ...
'''
USERS = 400


@pytest.fixture
def lab(tmp_path):
    methods = tmp_path / "methods"
    methods.mkdir()
    for name in ("near", "far"):
        (methods / f"{name}.py").write_text(METHOD)
    (tmp_path / "mine.toml").write_text(SUITE)
    suite = load_suite(tmp_path / "mine.toml", methods)
    for planned in suite.runs():
        put(planned, tmp_path / "results")
    return suite, tmp_path / "results"


def put(planned, root):
    """A record whose users' errors are about .9 for near, 1.1 for far, and grow by .01 a fold."""
    folder = run_folder(planned.spec.run_id, machine_class(planned.file), root)
    folder.mkdir(parents=True)
    rng = np.random.default_rng([planned.spec.seed, planned.spec.protocol.fold])
    level = {"near": 0.9, "far": 1.1}[planned.spec.method] + 0.01 * planned.spec.protocol.fold
    drawn = np.random.default_rng(planned.spec.protocol.fold).random(USERS)
    asked = np.flatnonzero(drawn < 0.9)  # not everybody has ratings in every fold
    rmse = level + rng.normal(0, 0.1, len(asked))
    units = pl.DataFrame({"user": asked.astype(np.int32), "rmse": rmse, "mae": rmse * 0.8})
    units.write_parquet(folder / "units.parquet")
    write_record(
        Record(
            run_id=planned.spec.run_id, machine_class=folder.name, spec=planned.spec, family="collaborative",
            status=Status.OK, metrics={"rmse": level, "mae": level * 0.8, "auc": 0.7},
            fingerprints={
                "answers": f"{planned.label}{planned.spec.seed}{planned.spec.protocol.fold}", "data": "d",
                "split": f"s{planned.spec.protocol.fold}{planned.control}",
                "code": code_fingerprint(planned.file, "ml-100k", "rating"),
                "evaluation": evaluation_fingerprint("rating"),
            },
            cost=Cost(fit_seconds=1.0, answer_seconds=1.0),
        ),
        folder,
    )  # fmt: skip


def test_lower_is_better_and_folds_are_averaged(lab):
    suite, root = lab
    report = Report(gather(suite, root=root)[0])
    near, far, control = report.main.rows
    assert near.cells["rmse"].value == pytest.approx(0.92) and near.cells["rmse"].spread == pytest.approx(0.01)
    assert near.cells["rmse"].best and not far.cells["rmse"].best and near.cells["auc"].best
    assert control.label.startswith("near,") and not control.cells["rmse"].best
    assert report.findings.best.label == "near" and not report.findings.tied
    against = report.findings.against_best
    assert [found.line.label for found in against] == ["far"] and against[0].verdict == "worse"
    assert against[0].difference == pytest.approx(-0.2, abs=0.02)


def test_the_page_says_what_is_meant(lab):
    suite, root = lab
    report = Report(gather(suite, root=root)[0])
    text = markdown_text([report], "Ratings")
    assert "standard deviation over folds" in text and "Controls: shown, never compared" in text
    assert "Control, under" in text and "best at rmse of each user's own" in text
    assert not [remark for remark in report.remarks if remark.level == "alarm"]
    assert set(report.figures) >= {"quality-fit-cost", "quality-answer-cost"}


def test_a_missing_fold_is_told(lab):
    import shutil

    suite, root = lab
    gone = next(p for p in suite.runs() if p.label == "far" and p.spec.seed == 1 and p.spec.protocol.fold == 3)
    shutil.rmtree(run_folder(gone.spec.run_id, machine_class(gone.file), root))
    report = Report(gather(suite, root=root)[0])
    assert any("5 of 6 runs: seed 1 fold 3 not yet run" in text for _, text in report.main.notes)
    assert report.main.rows[1].cells["rmse"].value == pytest.approx(1.12)  # of seed 0, which is whole


def test_comparing_two_rows(lab):
    suite, root = lab
    near, far, _ = gather(suite, root=root)[0].lines
    found = duels(near, far)
    assert [duel.metric for duel in found] == ["rmse", "mae"] and found[0].wins > found[0].losses
    assert sentence(near, far, found).startswith("near is better than far at rmse by .2")


def test_the_tidy_table_knows_folds_and_controls(lab):
    suite, root = lab
    table = load_results(suite, root=root)
    rmse = table.filter(pl.col("metric") == "rmse")
    assert set(rmse["fold"]) == {1, 2, 3} and rmse.filter("control").height == 6 and set(rmse["task"]) == {"rating"}


def test_status_shows_the_primary_metric(lab, tmp_path):
    from typer.testing import CliRunner

    suite, root = lab
    arguments = ["status", str(suite.path), "--methods", str(tmp_path / "methods"), "--results", str(root)]
    said = CliRunner().invoke(app(), arguments)
    assert said.exit_code == 0 and "RMSE" in said.output and "ml-100k fold 3" in said.output
