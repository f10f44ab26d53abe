"""The report's section of tuning: what every row was given, and whether what was found still holds."""

import csv
import dataclasses
import io

import pytest

from llmrec.report.audit import audit
from llmrec.report.evidence import gather
from llmrec.report.write import FORMATS, Report, write
from llmrec.tuned import Facts, Trial, Tuned

PARAMS = {"l2": 50.0}


def study(run, best, trials=20):
    """The study of a row: each trial better than the one before, the last as good as ``best``."""
    ended = [
        Trial(number=i, status="ok", value=best - (trials - 1 - i) / 1000, cpu_seconds=2.0, run=f"{i:016}")
        for i in range(trials - 1)
    ]
    trial = run.spec.model_copy(update={"part": "valid"}).run_id
    ended.append(Trial(number=trials - 1, status="ok", value=best, cpu_seconds=2.0, run=trial, params=PARAMS))
    facts = Facts(
        suite="demo", task="topn", dataset="ml-100k", protocol={}, space={"l2": "1 to 9"}, fixed={}, trials=trials,
        failed=0, pruned=0, seed=1, code="c", evaluation="e", optuna="5", metric="valid/ndcg@10",
        default=ended[0].value, best=best, best_trial=trials - 1, best_run=trial, cpu_seconds=2.0 * trials,
    )  # fmt: skip
    return Tuned(method=run.spec.method, fingerprint="f", params=PARAMS, study=facts, trials=ended)


@pytest.fixture
def tuned_block(finished_lab):
    """Two rows of the finished benchmark with studies whose best trial gave what their first run gives."""
    (block,) = gather(finished_lab.suite, root=finished_lab.results)

    def tuned_block(of="ease", shift=0.0, trials=20, other_code=False):
        lines = []
        for line in block.lines:
            if line.label in ("ease", "sasrec"):
                figure = line.records[0].metrics["valid/ndcg@10"]
                chosen = line.label == of
                found = study(line.runs[0], figure + shift * chosen, trials if chosen else 20)
                line = dataclasses.replace(line, tuned=found, tuned_by_other_code=other_code and chosen)
            lines.append(line)
        return dataclasses.replace(block, lines=tuple(lines))

    return tuned_block


def remarks(block):
    """What the audit says of tuning."""
    return [(r.level, r.text) for r in audit(block) if "tuned" in r.text or "earch" in r.text or "chosen at" in r.text]


def test_every_format_shows_what_each_row_was_given(tuned_block, tmp_path, one_figure):
    block = tuned_block()
    few = tuple(line for line in block.lines if line.label in ("random", "ease", "sasrec"))
    report = Report(dataclasses.replace(block, lines=few))
    written = {path.name: path for path in write([report], tmp_path, FORMATS, "Title", "demo")}
    text = written["table.md"].read_text("utf-8")
    assert "**ml-100k: tuning.** What each row's search was given" in text
    line = next(line for line in text.splitlines() if line.startswith("| ease | 1 | 20 | 0 | 0 | — | 40.0 |"))
    assert line.endswith("| +.0190 | 19 |")
    assert "| random | — | nothing to search |" in text and "| all rows | — | 40 | 0 | 0 | — | 80.0 |" in text
    rows = list(csv.DictReader(io.StringIO(written["table.csv"].read_text("utf-8"))))
    (best,) = [r for r in rows if (r["table"], r["method"], r["quantity"]) == ("ml-100k: tuning", "ease", "best")]
    assert float(best["mean"]) == report.block.lines[1].tuned.study.best
    page = written["report.html"].read_text("utf-8")
    assert "<h3>Tuning</h3>" in page and 'aria-label="The best validation figure after each trial' in page
    assert {"tuning.png", "tuning.pdf"} <= written.keys() and "tab:ml-100k--tuning" in written["table.tex"].read_text()


def test_a_suite_without_tuned_rows_has_no_such_section(finished_lab):
    (block,) = gather(finished_lab.suite, root=finished_lab.results)
    report = Report(block)
    assert report.tuning is None and "tuning" not in report.figures and not remarks(block)


def test_equal_budgets_are_fine_and_others_an_alarm(tuned_block):
    left_out, fine = remarks(tuned_block())
    assert fine == ("fine", "The parameters of 2 rows were searched on validation, 20 trials each.")
    assert left_out[0] == "note" and left_out[1].startswith("Nothing to search: random, popularity, markov,")
    (alarm, *_) = remarks(tuned_block(trials=19))
    assert alarm == ("alarm", "The rows' searches had different numbers of trials: ease 19 and sasrec 20.")


def test_parameters_that_are_no_longer_the_choice_of_the_search_are_told(tuned_block):
    again = "`llmrec tune"
    (alarm,) = [text for level, text in remarks(tuned_block(shift=0.02)) if level == "alarm"]
    assert alarm.startswith("ease: its parameters were chosen at valid/ndcg@10") and again in alarm
    assert "-m ease -d ml-100k --trials 20 --restart --freeze` searches again" in alarm
    noted = [text for level, text in remarks(tuned_block(other_code=True)) if level == "note" and "ease:" in text]
    assert len(noted) == 1 and "which gives the same validation figure today" in noted[0]
