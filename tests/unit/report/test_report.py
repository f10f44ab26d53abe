"""The report over a finished benchmark: figures, marks, reasons, choices, and what it refuses."""

import csv
import dataclasses
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from matplotlib.text import Text
from rich.console import Console

from llmrec.errors import UserError
from llmrec.records import Provenance, Status, read_record, write_record
from llmrec.report import formats, plots
from llmrec.report.audit import audit
from llmrec.report.evidence import gather
from llmrec.report.write import FORMATS, Report, chosen_formats, refuse_unpublishable, write


def make(lab):
    (block,) = gather(lab.suite, root=lab.results)
    return Report(block)


def row(table, label):
    return next(row for row in table.rows if row.label == label)


@pytest.fixture(scope="module")
def finished(finished_lab):
    """The report of a benchmark, for tests that only look at it."""
    return make(finished_lab)


@pytest.fixture(scope="module")
def written(finished, finished_lab):
    """The folder with everything that the report writes."""
    write([finished], finished_lab.folder / "out", FORMATS, "Title", "demo")
    return finished_lab.folder / "out"


def test_figures_are_the_records_means_over_seeds(finished_lab, finished):
    lab, report = finished_lab, finished
    records = [read_record(lab.folder_of(lab.plan("sasrec", seed))) for seed in (0, 1, 2)]
    for key in ("ndcg@10", "recall@10", "coverage@10"):
        figures = [record.metrics[key] for record in records]
        cell = row(report.main, "sasrec").cells[key]
        assert cell.value == pytest.approx(np.mean(figures))
        assert cell.spread == pytest.approx(np.std(figures, ddof=1))
    cell = row(report.main, "sasrec").cells["ndcg@10"]
    assert cell.low < cell.value < cell.high
    assert row(report.main, "ease").cells["ndcg@10"].spread is None  # one run stands for all seeds


def test_rows_stand_in_families(finished):
    groups = {title: [row.label for row in rows] for title, rows in finished.main.groups}
    assert list(groups) == [
        "Non-personal", "Collaborative filtering", "Sequential", "Content-based", "BERT, scoring", "GPT, generative",
    ]  # fmt: skip
    assert groups["Collaborative filtering"] == ["item-knn", "ease", "als", "bpr"]


def test_bold_is_best_and_the_mark_means_not_distinguishable(whole_lab):
    # A twin of the best method, but for a handful of users, cannot be told from it; random can.
    best = make(whole_lab).findings.best.label
    twin = next(label for label in ("ease", "markov", "item-knn") if label != best)
    source = whole_lab.folder_of(whole_lab.plan(best))
    users = pl.read_parquet(source / "users.parquet")
    nearly = users.with_columns(pl.when(pl.col("user") < 3).then(0.0).otherwise(pl.col("ndcg@10")).alias("ndcg@10"))
    plan = whole_lab.plan(twin)
    whole_lab.write(plan, metrics=read_record(source).metrics | {"ndcg@10": nearly["ndcg@10"].mean() - 1e-6})
    nearly.write_parquet(whole_lab.folder_of(plan) / "users.parquet")
    report = make(whole_lab)
    cells = {row.label: row.cells["ndcg@10"] for row in report.main.rows}
    assert [label for label, cell in cells.items() if cell.best] == [best]
    assert cells[twin].tied and not cells["random"].tied
    assert twin in report.findings.sentences()[0] and "not distinguishable" in report.findings.sentences()[0]
    for column in report.main.columns:
        if column.accuracy:
            values = [cell.value for row in report.main.rows if (cell := row.cells[column.key]).value is not None]
            bold = [row.cells[column.key].value for row in report.main.rows if row.cells[column.key].best]
            assert set(bold) == {max(values)}


@pytest.mark.parametrize(
    ("p", "low", "high", "verdict"),
    [
        (0.001, -0.03, -0.01, "worse"),
        (0.001, 0.01, 0.03, "better"),
        (0.2, -0.03, -0.01, "not distinguishable"),
        (0.04, -0.03, 0.001, "not distinguishable"),  # clear over users, but the seeds' spread holds 0
    ],
)
def test_a_verdict_needs_the_test_and_the_interval(finished, p, low, high, verdict):
    one = finished.findings.against_best[0]
    found = dataclasses.replace(one, p=p, low=low, high=high, difference=(low + high) / 2)
    assert found.verdict == verdict


def test_outside_accuracy_random_wins_nothing(finished):
    cells = row(finished.main, "random").cells
    assert cells["coverage@10"].value == 1.0
    assert [key for key, cell in cells.items() if cell.best] == []


def test_empty_cells_have_a_dash_and_their_reason(finished):
    report = finished
    notes = dict(report.main.notes)
    reasons = {row.label: " ".join(notes[letter] for letter in row.notes) for row in report.main.rows}
    assert "needs the package 'recbole'" in reasons["bpr"] and reasons["bpr"].startswith("Skipped")
    assert reasons["bert-biencoder"] == "Not yet run."
    assert "2 of 3 seeds" in reasons["gpt-semantic-id"] and "time limit" in reasons["gpt-semantic-id"]
    assert "seed 2 failed: LinAlgError" in reasons["als"]
    assert reasons["ease"] == ""
    text = formats.markdown(report.main)
    line = next(line for line in text.splitlines() if line.startswith("| bpr"))
    assert line.count("—") == len(report.main.columns)


def test_the_best_baseline_is_chosen_on_validation_not_on_test(whole_lab):
    report = make(whole_lab)
    assert report.findings.baseline.label == report.findings.best.label  # so far both agree
    plan = whole_lab.plan("tfidf")
    metrics = read_record(whole_lab.folder_of(plan)).metrics
    whole_lab.write(plan, metrics=metrics | {"valid/ndcg@10": 0.9})
    report = make(whole_lab)
    assert report.findings.baseline.label == "tfidf"
    assert report.findings.best.label != "tfidf"
    assert "minus tfidf" in report.statistics.caption


def test_without_validation_figures_no_baseline_is_chosen(whole_lab):
    for planned in whole_lab.suite.runs():
        record = read_record(whole_lab.folder_of(planned))
        whole_lab.write(planned, metrics={k: v for k, v in record.metrics.items() if not k.startswith("valid")})
    report = make(whole_lab)
    assert report.findings.baseline is None and report.statistics is None
    assert "valid/ndcg@10" in report.no_statistics


def test_a_baseline_alone_is_not_told_that_it_lacks_validation_figures(empty_lab):
    empty_lab.write(empty_lab.plan("ease"))
    report = make(empty_lab)
    assert report.findings.baseline.label == "ease" and report.statistics is None
    assert report.no_statistics == "No other method has finished, so there is nothing to compare the baseline with."


def test_p_values_are_corrected_over_the_table(whole_lab):
    from llmrec.stats import compare_paired, holm

    findings = make(whole_lab).findings
    raw = [
        compare_paired(found.line.values("ndcg@10"), found.reference.values("ndcg@10")).p
        for found in findings.against_baseline
    ]
    assert len(raw) == 11
    assert [found.p for found in findings.against_baseline] == holm(raw)
    worse = next(found for found in findings.against_baseline if found.line.label == "random")
    assert worse.verdict == "worse" and worse.high < 0 and worse.effect < 0


def test_a_gpt_from_scratch_is_a_small_gpt_and_never_an_llm(whole_lab, written):
    for name in ("table.md", "table.tex", "report.html"):
        text = (written / name).read_text()
        assert "gpt-semantic-id (small GPT)" in text
        assert "LLM" not in text and "zero-shot" not in text
    plan = whole_lab.plan("gpt-semantic-id")
    made = Provenance(models={"all-MiniLM-L6-v2": "53aa", "org/some-language-model": "9f1c"})
    whole_lab.write(plan, provenance=made)
    assert row(make(whole_lab).main, "gpt-semantic-id").name == "gpt-semantic-id"


def test_csv_holds_every_metric_in_full_precision(finished_lab, finished):
    lab, report = finished_lab, finished
    rows = list(csv.DictReader(io.StringIO(formats.tidy_csv([report.full]))))
    record = read_record(lab.folder_of(lab.plan("ease")))
    found = {r["quantity"]: float(r["mean"]) for r in rows if r["method"] == "ease" and r["mean"]}
    assert record.metrics.items() <= found.items()
    assert found["parameters"] == record.cost.parameters
    assert {r["note"] for r in rows if r["method"] == "bert-biencoder"} == {"Not yet run."}


def test_latex_is_escaped_and_every_row_has_its_columns(finished):
    report = finished
    text = formats.latex(report.main)
    assert r"matrix is singular \& the 100 \% of it\_s rows vanish" in text
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    rows = [line for line in body.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]
    assert len(rows) == 13
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {len(report.main.columns)}
    assert text.count("{") - text.count("\\{") == text.count("}") - text.count("\\}")
    assert not re.findall(r"(?<!\\)[%#_]", text.split("\n", 1)[1])
    assert text.isascii()
    assert formats.latex_text("a_b & 50 % ± \N{MINUS SIGN}3") == r"a\_b \& 50 \% $\pm$ $-$3"


class Page(HTMLParser):
    """Open tags, addresses and text of a page; fails on tags that do not close."""

    void = ("meta", "br", "link", "img", "path", "use")

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("href", "src", "xlink:href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in ("href", "src", "xlink:href")]

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_whole_and_needs_no_network(finished_lab, finished, written):
    text = (written / "report.html").read_text()
    page = Page(text)
    assert page.addresses and all(address.startswith("#") for address in page.addresses)
    assert "@import" not in text and "url(http" not in text and "fetch(" not in text
    words = " ".join(page.words)
    for wanted in (
        finished.findings.sentences()[0], "llmrec run demo.toml -m sasrec -d ml-100k", "leave-one-out in time",
        "4f1c09a2be77", "Some CPU @ 2.5 GHz", "943 with a target", "enough for a table, not for a claim",
        finished_lab.plan("ease").spec.run_id, "unverified",
    ):  # fmt: skip
        assert wanted in words, wanted
    assert text.count("<svg") == 6
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert (
        plots.INK not in drawn and "currentColor" in drawn
    )  # figures take the reader's text colour, so that they are legible on a dark page


def test_error_text_cannot_break_the_page(whole_lab, one_figure):
    whole_lab.write(whole_lab.plan("als", 1), Status.FAILED, "<script>alert(1)</script> | pipe")
    whole_lab.keep("random", "als")
    write([make(whole_lab)], whole_lab.folder / "out", ("markdown", "html"), "<b>Title</b>", "demo")
    text = (whole_lab.folder / "out" / "report.html").read_text()
    assert "<b>Title" not in text and "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert r"\| pipe" in (whole_lab.folder / "out" / "table.md").read_text()


def test_the_same_records_give_the_same_bytes(finished, written, tmp_path):
    first = {path.name: path.read_bytes() for path in written.rglob("*.*")}
    again = write([Report(finished.block)], tmp_path, FORMATS, "Title", "demo")
    assert {path.name: path.read_bytes() for path in again} == first
    assert len([name for name in first if name.endswith(".pdf")]) == 6


def test_figures_per_user_come_from_ranks_where_users_are_missing(lab):
    before = formats.tidy_csv([make(lab).main])
    for path in lab.results.glob("runs/*/*/users.parquet"):
        path.unlink()
    assert formats.tidy_csv([make(lab).main]) == before


def test_corrupt_parquet_is_one_clear_message(lab):
    folder = lab.folder_of(lab.plan("ease"))
    (folder / "users.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(UserError, match=r"users\.parquet: cannot be read .* run the suite again"):
        make(lab)
    (folder / "users.parquet").unlink()
    (folder / "ranks.parquet").unlink()
    with pytest.raises(UserError, match=r"no file with figures per user"):
        make(lab)


def test_runs_on_different_users_are_never_paired(lab):
    path = lab.folder_of(lab.plan("ease")) / "users.parquet"
    pl.read_parquet(path).head(900).write_parquet(path)
    with pytest.raises(UserError, match="different users"):
        make(lab)


def test_publishable_refuses_missing_stale_and_dirty_runs(whole_lab):
    def blocks():
        return gather(whole_lab.suite, root=whole_lab.results)

    refuse_unpublishable(blocks())
    plan = whole_lab.plan("ease")
    whole_lab.write(plan, provenance=Provenance(dirty=True))
    with pytest.raises(UserError, match=r"uncommitted changes \(ease\)\. Commit"):
        refuse_unpublishable(blocks())
    whole_lab.write(plan, fingerprints={"code": "old", "evaluation": "old"})
    with pytest.raises(UserError, match=r"stale \(ease\)\. Run: llmrec run demo\.toml --stale"):
        refuse_unpublishable(blocks())
    whole_lab.write(plan, Status.TIMEOUT, "too slow")
    with pytest.raises(UserError, match=r"no figures \(ease\)\. Run: llmrec run demo\.toml --retry"):
        refuse_unpublishable(blocks())


def test_stale_rows_say_so(whole_lab):
    whole_lab.write(whole_lab.plan("ease"), fingerprints={"code": "old", "evaluation": "old"})
    report = make(whole_lab)
    notes = dict(report.main.notes)
    assert notes[row(report.main, "ease").notes[0]].startswith("Stale")
    assert any(r.level == "alarm" and "1 stale run (ease)" in r.text for r in report.remarks)


def test_identical_answers_of_two_methods_raise_an_alarm(whole_lab):
    assert [r.level for r in make(whole_lab).remarks if "identical answers" in r.text] == ["fine"]
    plan = whole_lab.plan("ease")
    prints = read_record(whole_lab.folder_of(plan)).fingerprints
    whole_lab.write(plan, fingerprints=prints | {"answers": "sasrec-0"})
    alarms = [r.text for r in make(whole_lab).remarks if r.level == "alarm"]
    assert any("ease and sasrec gave identical answers" in text for text in alarms)


def test_seeds_without_effect_and_mixed_code_are_noted(whole_lab):
    for seed in (0, 1, 2):
        plan = whole_lab.plan("als", seed)
        prints = read_record(whole_lab.folder_of(plan)).fingerprints
        whole_lab.write(plan, fingerprints=prints | {"answers": "same", "data": "d2"})
    remarks = {(r.level, r.text) for r in audit(gather(whole_lab.suite, root=whole_lab.results)[0])}
    assert any(level == "note" and "als: all 3 seeds gave identical answers" in text for level, text in remarks)
    assert any(level == "alarm" and "2 data fingerprints" in text for level, text in remarks)


def test_verdicts_of_verify_count_only_for_the_answers_they_checked(whole_lab):
    plan = whole_lab.plan("ease")
    path = whole_lab.folder_of(plan) / "verify.json"
    path.write_text('{"determinism": "bitwise", "answers": "ease-0"}')
    assert any("1 of 22 runs verified" in r.text and "1 bitwise" in r.text for r in make(whole_lab).remarks)
    path.write_text('{"determinism": "bitwise", "answers": "another"}')
    assert any("No run has been verified" in r.text for r in make(whole_lab).remarks)


def test_few_users_decide_no_claim(empty_lab):
    empty_lab.users = 120
    empty_lab.fill(bad=False)
    assert any("120 users are fewer than 300" in said for said in make(empty_lab).findings.sentences())


@pytest.mark.parametrize(("known", "said"), [(90, True), (943, False), (None, False)])
def test_users_of_whom_nothing_is_known_are_told(empty_lab, known, said):
    counts = {"users": 943, **({"test_users_with_history": known} if known else {})}
    for planned in empty_lab.suite.runs():
        if planned.label in ("ease", "popularity"):
            empty_lab.write(planned, counts=counts)
    sentences = make(empty_lab).findings.sentences()
    assert any("Of 943 users 90 have a history" in sentence for sentence in sentences) == said


def test_answers_of_other_programs_stand_in_the_table(whole_lab):
    plan = whole_lab.plan("ease")
    spec = plan.spec.model_copy(update={"method": "external:their-model"})
    users = pl.read_parquet(whole_lab.folder_of(plan) / "users.parquet")
    record = read_record(whole_lab.folder_of(plan))
    folder = whole_lab.results / "runs" / spec.run_id / "external"
    folder.mkdir(parents=True)
    users.write_parquet(folder / "users.parquet")
    changes = {"spec": spec, "run_id": spec.run_id, "family": "external", "machine_class": "external"}
    write_record(record.model_copy(update=changes), folder)
    found = row(make(whole_lab).main, "their-model")
    assert found.cells["ndcg@10"].value == record.metrics["ndcg@10"]
    assert found.cells["fit_cpu_seconds"].value is None  # nobody measured it


def test_a_suite_without_any_run_still_reports(empty_lab):
    report = make(empty_lab)
    assert report.findings.sentences()[0].startswith("No run of this table has finished")
    assert {row.cells["ndcg@10"].value for row in report.main.rows} == {None}
    paths = write([report], empty_lab.folder / "out", FORMATS, "Title", "demo")
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv", "report.html"]


def test_a_narrow_terminal_loses_no_digit(finished):
    table = finished.main
    console = Console(width=80, force_terminal=True, color_system=None, record=True, file=io.StringIO())
    formats.print_table(table, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for found in table.rows:
        for column in table.columns:
            assert formats.figure(found.cells[column.key], column) in text
    assert "…" not in text


def test_names_in_a_plot_do_not_overlap(finished):
    for name in ("quality-fit-cost", "quality-answer-cost", "accuracy-coverage"):
        figure = finished.figures[name]
        boxes = [Text.get_window_extent(text) for text in figure.axes[0].texts]
        assert len(boxes) == 10
        overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
        assert overlaps == []


def test_unknown_formats_are_refused_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'markdown'"):
        chosen_formats("markdwn")
    with pytest.raises(UserError, match="found nothing"):
        chosen_formats(" ,")
    assert chosen_formats("html, csv") == ["html", "csv"]


def test_the_command_writes_the_report_without_torch(small_lab, tmp_path):
    lab = small_lab
    code = (
        "import sys\nfrom llmrec.cli import app\n"
        "app()(sys.argv[1:], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    arguments = [str(lab.folder / "demo.toml"), "--methods", str(lab.methods), "--results", str(lab.results)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "report", *arguments, "--out", str(tmp_path)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Best: " in done.stdout and "report.html" in done.stdout
    assert (tmp_path / "plots" / "learning-curves.png").stat().st_size > 10_000
