"""Published figures beside ours: what counts as reproduced, and what is said of a row."""

import dataclasses

import pytest

from llmrec.literature import Published
from llmrec.report import formats
from llmrec.report.evidence import gather
from llmrec.report.reproduced import reproduced_table, verdict
from llmrec.report.write import Report, html_text, markdown_text


def published(name="paper/a", exact=None, **metrics) -> Published:
    return Published(
        name=name, paper="A paper", where="https://example.org", mark="read", table="Table 1", dataset="ml-100k",
        elsewhere="", task="topn", protocol="leave-one-out", fields={"mask_history": False}, not_stated=("ties",),
        differs="", method="Method & Co", metrics={key.replace("_at_", "@"): v for key, v in metrics.items()}, runs=5,
        exact=exact, note="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "exact", "metric", "expected"),
    [
        (0.10009, 1e-4, "ndcg@10", "exactly"),
        (0.1002, 1e-4, "ndcg@10", "no: better"),  # no seed is involved, so near is not enough
        (0.105, None, "ndcg@10", "within 5 %"),
        (0.0949, None, "ndcg@10", "no: worse"),
        (0.106, None, "ndcg@10", "no: better"),
        (0.106, None, "rmse", "no: worse"),
    ],
)
def test_what_counts_as_reproduced(ours, exact, metric, expected):
    assert verdict(ours, dataclasses.replace(published(exact=exact), metrics={metric: 0.1}), metric) == expected


@pytest.fixture(scope="module")
def block(finished_lab):
    found = gather(finished_lab.suite, root=finished_lab.results)[0]
    sasrec = next(line for line in found.lines if line.label == "sasrec").figures("ndcg@10")
    mean = sum(sasrec) / len(sasrec)
    held = {
        "sasrec": [published("one/sasrec", ndcg_at_10=mean / 1.02, recall_at_5=0.3)],
        "bert-biencoder": [published("two/bert", ndcg_at_10=0.2)],
        "bpr": [published("two/bpr", ndcg_at_10=0.3)],
    }
    return dataclasses.replace(found, published=held)


def test_the_table(block):
    table = reproduced_table(block, block.metrics)
    assert [title for title, _ in table.groups] == ["two", "one"]  # in the order of the suite's rows
    sasrec = next(row for row in table.rows if row.label == "sasrec")
    assert [row.label for row in table.rows].count("sasrec") == 1  # recall@5 is not among the suite's metrics
    assert sasrec.cells["difference"].value == pytest.approx(2.0)
    assert sasrec.cells["reproduced"].word == "within 5 %" and sasrec.cells["ours"].spread
    bpr = next(row for row in table.rows if row.label == "bpr")
    assert bpr.cells["ours"].word == bpr.cells["reproduced"].word == "skipped"
    notes = dict(table.notes)
    said = " ".join(notes[letter] for letter in sasrec.notes)
    assert "A paper: Table 1 (read in the source, mean of 5 runs), https://example.org" in said
    assert "mask_history = false there, true here; ties is not stated there" in said
    every = reproduced_table(block)
    assert [row.cells["metric"].word for row in every.rows if row.label == "sasrec"] == ["ndcg@10", "recall@5"]
    assert reproduced_table(dataclasses.replace(block, published={})) is None


def test_it_stands_in_every_format(block, one_figure):
    report = Report(block)
    text = markdown_text([report], "Demo")
    assert "published figures.**" in text and "| Method & Co |" in text and "| skipped |" in text
    page = html_text([report], "Demo", "demo")
    assert "Published figures" in page and "Method &amp; Co" in page
    assert "Method \\& Co" in formats.latex(report.reproduced)
    assert ",Method & Co" in formats.tidy_csv([report.reproduced_full])
