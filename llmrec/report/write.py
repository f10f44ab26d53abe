"""Everything that `llmrec report` writes, from the blocks of a suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from llmrec.errors import UserError, nearest
from llmrec.report import formats, page, plots
from llmrec.report.audit import audit
from llmrec.report.evidence import Block, check_same_users
from llmrec.report.explanations import explanations_table
from llmrec.report.reproduced import reproduced_table
from llmrec.report.significance import LEVEL, Against, Findings, left_out_of_choice, why_no_baseline
from llmrec.report.table import Cell, Notes, Row, Table, main_table
from llmrec.report.tuning import NOT_SEARCHED, NOTHING_TO_SEARCH, frozen, tuning_curves, tuning_table
from llmrec.report.words import (
    TIED,
    Column,
    cost_columns,
    cost_unit,
    display_name,
    effect,
    listed,
    metric_column,
    p_value,
    runs_alone,
    signed,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("terminal", "markdown", "latex", "csv", "html")

FIGURE_WORDS = {
    "quality-fit-cost": "Quality against the cost of fitting; up and to the left is better.",
    "quality-answer-cost": "Quality against the cost of answering all users once; up and to the left is better.",
    "accuracy-coverage": "Accuracy against the share of the catalogue that is recommended to anyone at all.",
    "slices-items": "Accuracy where the target is a popular item (head), one of the others (tail), or new (cold). "
    f"Slices of fewer than {plots.FEWEST_USERS} users are not drawn.",
    "slices-users": "Accuracy for users with short, middling and long histories.",
    "impressions/slices-items": "Accuracy where all clicked items occur in training (warm), and where one does not "
    "(cold).",
    "impressions/slices-users": "Accuracy by the length of the history that was known: short, middling and long.",
    "impressions/slices-shown": "Accuracy by the number of items that were shown.",
    "tuning": "The best validation figure after each trial of the search for each row's parameters; trial 0 has the "
    "defaults. No test figure is in it.",
    "learning-curves": "Validation accuracy after each epoch, one line a seed; training keeps the best epoch.",
}


def chosen_formats(text: str) -> list[str]:
    """The formats of a list with commas.

    Raises:
        UserError: one of them is unknown.
    """
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in FORMATS:
            raise UserError(f"--format: unknown format {kind!r}.{nearest(kind, FORMATS)}")
    if not kinds:
        raise UserError(f"--format: expected one or more of {', '.join(FORMATS)}, found nothing.")
    return kinds


class Report:
    """One dataset of a suite with its tables, made once and written in any format.

    Raises:
        UserError: figures per user are missing or corrupt, or runs were judged on different users.
    """

    def __init__(self, block: Block) -> None:
        check_same_users([run for line in block.finished for run in line.done])
        self.block = block
        self.findings = Findings(block)
        tied = {line.label for line in self.findings.tied}
        costs = cost_columns(block)
        shown = [metric_column(key) for key in block.metrics]
        self.main = main_table(block, [*shown, *costs], caption(block), self.findings.interval, tied)
        every = [metric_column(key) for key in every_metric(block)]
        words = f"All that was measured. {caption(block)}"
        self.full = main_table(block, [*every, *costs], words, self.findings.interval, tied)
        self.statistics = statistics_table(self.findings)
        self.budgets = frozen({line.label: line.tuned for line in block.lines if line.tuned})
        others = {
            line.label: NOT_SEARCHED if line.searchable else NOTHING_TO_SEARCH
            for line in block.lines
            if not line.tuned and line.family != "external"
        }
        self.tuning = tuning_table(block.dataset, self.budgets, others) if self.budgets else None
        self.explanations = explanations_table(block)
        self.reproduced = reproduced_table(block, block.metrics)
        self.reproduced_full = reproduced_table(block)
        self.no_statistics = "" if self.statistics else why_no_baseline(block)
        self.remarks = audit(block)

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """Drawn when first asked for: a table in the terminal needs no matplotlib."""
        drawn = plots.draw_all(self.block, self.findings.interval)
        return {**drawn, "tuning": tuning_curves(self.budgets, self.block.dataset)} if self.budgets else drawn

    @property
    def tables(self) -> list[Table]:
        """What is printed: the main table and, where there are any, those of statistics, of published figures, of
        explanations and of tuning."""
        others = (self.statistics, self.reproduced, self.explanations, self.tuning)
        return [self.main, *(table for table in others if table)]


def caption(block: Block) -> str:
    why = "" if runs_alone(block) else ", because runs shared the machine"
    task = block.task
    over = "seeds" if len(block.folds) == 1 else "folds and seeds ± standard deviation over folds"
    spread = " ± standard deviation" if len(block.folds) == 1 else ""
    intervals = "" if task.pooled else f"; 95 % intervals over {task.unit}"
    own = " of each user's own" if task.pooled else ""
    return (
        f"Means over {over}{spread}{intervals}. Bold: best of a column (outside accuracy, "
        f"of the personal methods). {TIED}: not distinguishable from the best at {task.primary}"
        f"{own} (paired permutation test over {task.unit}, "
        f"Holm-corrected, p ≥ {LEVEL}, or a 95 % interval over {task.unit} and seeds that holds 0). "
        f"Costs are means of one run in {cost_unit(block)}{why}."
    )


def every_metric(block: Block) -> list[str]:
    """Every metric that any record holds, accuracy first, validation last."""
    found = {key for line in block.finished for record in line.records for key in record.metrics}
    shown = [key for key in found if "/" not in key]
    accuracy = ("rmse", "mae", "auc", "ndcg", "recall", "hit", "mrr", "map", "precision")
    order = (*accuracy, "coverage", "gini", "novelty", "tail")

    def place(key: str) -> tuple[int, str, int]:
        name, _, cutoff = key.partition("@")
        return (order.index(name) if name in order else len(order), name, int(cutoff) if cutoff.isdigit() else 0)

    return sorted(shown, key=place) + sorted(found - set(shown))


def statistics_table(findings: Findings) -> Table | None:
    """Difference to the best baseline, its interval, corrected p, effect size; None where none could be chosen."""
    baseline = findings.baseline
    if baseline is None or not findings.against_baseline:
        return None
    task = findings.block.task
    turned = "" if task.better > 0 else ", turned: + is better"
    columns = (
        Column("difference", f"Δ {task.primary}{turned}", "", 1, signed, accuracy=True),
        Column("p", "p, corrected", "", 0, p_value),
        Column("effect", "effect size", "Cohen's d", 0, effect),
        Column("verdict", "verdict", "", 0, str),
    )
    groups: dict[str, list[Row]] = {}
    kind = {True: "Other baselines", False: "Language-model and other methods"}
    for found in sorted(findings.against_baseline, key=lambda found: (found.line.baseline, -found.difference)):
        row = Row(display_name(found.line), found.line.label, _statistics_cells(found))
        groups.setdefault(kind[found.line.baseline], []).append(row)
    notes = Notes()
    if unrated := left_out_of_choice(findings.block.finished):
        notes.letter(f"Without validation figures, so not to be chosen as the best baseline: {listed(unrated)}.")
    each = " (the mean over users of each user's own)" if task.pooled else ""
    words = (
        f"Each method minus {display_name(baseline)}, the best baseline (chosen on validation {task.primary}), at test "
        f"{task.primary}{each}: paired over {findings.block.n_users:,} {task.unit}, seeds as the outer level of the "
        f"95 % interval, permutation test, Holm-corrected over the table's methods."
    )
    name = f"{findings.block.dataset}: against {display_name(baseline)}"
    return Table(name, words, columns, tuple((title, tuple(rows)) for title, rows in groups.items()), notes)


def _statistics_cells(found: Against) -> dict[str, Cell]:
    return {
        "difference": Cell(found.difference, low=found.low, high=found.high),
        "p": Cell(found.p),
        "effect": Cell(found.effect),
        "verdict": Cell({"better": 1.0, "worse": -1.0}.get(found.verdict, 0.0), word=found.verdict),
    }


def refuse_unpublishable(blocks: Sequence[Block]) -> None:
    """Raises UserError when a run is missing, failed, stale or was made with uncommitted changes."""
    for block in blocks:
        runs = [run for run in block.runs if run.family != "external"]
        again = f"llmrec run {block.suite}"
        for what, bad, mend in (
            ("have no figures", [r for r in runs if not r.ok], f"Run: {again} --retry"),
            ("are stale", [r for r in runs if r.ok and not r.fresh], f"Run: {again} --stale"),
            (
                "were made with uncommitted changes",
                [r for r in block.runs if r.record and r.record.provenance.dirty],
                f"Commit, delete their folders under results/runs, and run: {again}",
            ),
        ):
            if bad:
                names = ", ".join(dict.fromkeys(run.label for run in bad))
                raise UserError(
                    f"not publishable: {len(bad)} of {len(block.runs)} runs on {block.dataset} {what} ({names}). {mend}"
                )


def write(reports: Sequence[Report], out: Path, kinds: Sequence[str], title: str, suite: str) -> list[Path]:
    """Write the chosen formats and the plots under ``out``; the files, in the order of writing."""
    written = []
    if set(kinds) - {"terminal"}:
        out.mkdir(parents=True, exist_ok=True)
    texts: list[tuple[str, str, Callable[[], str]]] = [
        ("markdown", "table.md", lambda: markdown_text(reports, title)),
        ("latex", "table.tex", lambda: "\n".join(formats.latex(t) for r in reports for t in r.tables)),
        ("csv", "table.csv", lambda: formats.tidy_csv([t for r in reports for t in _csv_tables(r)])),
        ("html", "report.html", lambda: html_text(reports, title, suite)),
    ]
    for kind, name, text in texts:
        if kind in kinds:
            path = out / name
            path.write_text(text(), "utf-8")
            written.append(path)
    if set(kinds) - {"terminal"}:
        written += write_plots(reports, out / "plots")
    return written


def write_plots(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Every figure as PDF and PNG; with several datasets their names come first."""
    folder.mkdir(parents=True, exist_ok=True)
    several = len(reports) > 1
    return [
        path
        for report in reports
        for name, figure in report.figures.items()
        for path in plots.save(figure, folder / (f"{report.block.dataset}-{name}" if several else name))
    ]


def markdown_text(reports: Sequence[Report], title: str) -> str:
    parts = [f"# {title}"]
    for report in reports:
        parts += [f"## {report.block.dataset}", " ".join(report.findings.sentences())]
        parts += [formats.markdown(table).rstrip() for table in report.tables]
        parts += [f"- {remark.level}: {remark.text}" for remark in report.remarks]
    text = "\n\n".join(parts) + "\n"
    return text.replace(".\n\n- ", ".\n- ")


def _words(figure: str, block: Block) -> str:
    """What stands under a figure: the words of its task, else those of all tasks."""
    return FIGURE_WORDS.get(f"{block.task.name}/{figure}") or FIGURE_WORDS.get(figure, figure)


def html_text(reports: Sequence[Report], title: str, suite: str) -> str:
    chapters = [
        page.Chapter(
            report.block, report.findings.sentences(), report.main, report.full, report.statistics,
            report.no_statistics, report.reproduced_full, report.explanations, report.tuning,
            {name: (plots.svg(figure), _words(name, report.block)) for name, figure in report.figures.items()},
            report.remarks,
        )
        for report in reports
    ]  # fmt: skip
    return page.render(chapters, title, suite)


def _csv_tables(report: Report) -> list[Table]:
    others = (report.statistics, report.reproduced_full, report.explanations, report.tuning)
    return [report.full, *(table for table in others if table)]
