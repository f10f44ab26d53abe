"""The report of a suite of impressions: paired over impressions, slices of its own, and what ties decide."""

import numpy as np
import pytest

from llmrec import toy
from llmrec.provenance import machine_class
from llmrec.records import Cost, Record, Status, write_record
from llmrec.report.evidence import gather
from llmrec.report.write import Report, html_text
from llmrec.results import run_folder
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.suite import load_suite
from llmrec.tasks import impressions as task
from llmrec.types import Split

SUITE = """
task = "impressions"
datasets = ["mind-mini"]
seeds = [0]
[[methods]]
name = "constant"
[[methods]]
name = "better"
[[methods]]
name = "better"
label = "control"
params = { size = 2 }
control = true
"""
METHOD = '''
from dataclasses import dataclass
from typing import ClassVar

@dataclass
class Any:
    """A method of the tests."""

    family: ClassVar[str] = "content"
    seeded: ClassVar[bool] = False
    size: int = 1

    def fit(self, split, ctx): ...
    def rerank(self, users, candidates): ...
'''
ITEMS, ASKED = 40, 350  # fewer than a batch


class Answers:
    """Says which items were clicked, more loudly than noise, or nothing at all."""

    def __init__(self, impressions, loud):
        noise = np.random.default_rng(1).standard_normal(len(impressions.clicked))
        self.scores = loud * (noise + impressions.clicked)

    def rerank(self, users, candidates):
        return self.scores


def split():
    rng = np.random.default_rng(0)
    rows = []
    for user in range(ASKED):
        shown = rng.choice(ITEMS, rng.integers(2, 9), replace=False).tolist()
        rows.append((user, rng.integers(0, ITEMS, user % 7).tolist(), shown, shown[:1]))
    small = toy.leave_one_out([[int(i)] for i in range(20)], ITEMS)  # half of the items occur in training
    return Split(**{**vars(small), "impressions": {"test": toy.impressions(rows, ITEMS)}})


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("results")
    (tmp_path / "methods").mkdir()
    for name in ("constant", "better"):
        (tmp_path / "methods" / f"{name}.py").write_text(METHOD)
    (tmp_path / "news.toml").write_text(SUITE)
    suite = load_suite(tmp_path / "news.toml", tmp_path / "methods")
    fresh = split()
    for planned in suite.runs():
        folder = run_folder(planned.spec.run_id, machine_class(planned.file), tmp_path)
        folder.mkdir(parents=True)
        method = Answers(fresh.impressions["test"], float(planned.label != "constant"))
        answers = task.answer(method, fresh, "test")
        measures = task.measure(answers, fresh, toy.items(ITEMS))
        measures.users.write_parquet(folder / "units.parquet")
        code, evaluation = (
            code_fingerprint(planned.file, "mind-mini", "impressions"),
            evaluation_fingerprint("impressions"),
        )
        hashes = task.write(answers, fresh, folder)
        record = Record(
            run_id=planned.spec.run_id, machine_class=folder.name, spec=planned.spec, family="content",
            status=Status.OK, metrics=measures.metrics, slices=measures.slices, counts=measures.counts,
            fingerprints={"data": "d", "split": "s", "code": code, "evaluation": evaluation, **hashes},
            cost=Cost(fit_seconds=1.0, answer_seconds=1.0),
        )  # fmt: skip
        write_record(record, folder)
    return Report(gather(suite, root=tmp_path)[0])


def test_pairs_over_impressions(report):
    assert report.block.n_users == ASKED
    assert report.findings.best.label == "better"
    (found,) = report.findings.against_best
    assert found.line.label == "constant" and found.verdict == "worse" and found.difference < -0.1


def test_what_ties_decide_stands_at_the_row(report):
    constant, better, control = report.main.rows
    assert constant.cells["auc"].value == 0.5
    notes = dict(report.main.notes)
    (said,) = [notes[letter] for letter in constant.notes]
    assert said.startswith("Ties count against the clicked items; tied candidates in random order would give mrr .")
    assert "auc" not in said  # half a point for a tie is its definition
    assert better.notes == () and control.notes == ()  # a control under the same protocol needs no footnote


def test_slices_are_drawn_with_their_sizes(report):
    assert {"slices-items", "slices-users", "slices-shown"} <= set(report.figures)
    assert "slices-ties" not in report.figures  # one slice alone compares nothing
    legend = [text.get_text() for text in report.figures["slices-items"].legends[0].get_texts()]
    assert [label.split(" (")[0] for label in legend] == ["cold", "warm"]
    assert all("impressions)" in label for label in legend)
    page = html_text([report], "News", "news")
    assert "where one does not (cold)" in page and "Accuracy by the number of items that were shown." in page
