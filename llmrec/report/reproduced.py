"""Published figures beside ours: what each paper reports, what came out here, and how the protocols differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from llmrec.literature import WITHIN, Published
from llmrec.report.evidence import Block, Line
from llmrec.report.table import Cell, Notes, Row, Table
from llmrec.report.words import MINUS, Column, display_name, fraction, listed, metric_column

EXACTLY, NEAR, BETTER, WORSE = "exactly", f"within {100 * WITHIN:g} %", "no: better", "no: worse"
"""What a row's figure is to the published one."""

MARKS = {"read": "read in the source", "computed": "computed independently", "memory": "from memory"}


def reproduced_table(block: Block, metrics: Sequence[str] | None = None) -> Table | None:
    """One row a published figure; None where the suite names none. ``metrics``: which to show, by default all."""
    notes = Notes()
    groups: dict[str, list[Row]] = {}
    for line in block.lines:
        for entry in block.published.get(line.label, ()):
            rows = groups.setdefault(entry.name.partition("/")[0], [])
            for metric in _shown(entry, metrics):
                rows.append(_row(line, entry, metric, notes))
    if not groups:
        return None
    counted = Counter(row.cells["reproduced"].word for rows in groups.values() for row in rows)
    columns = (
        Column("method", "as published", "", 0, str),
        Column("metric", "metric", "", 0, str),
        Column("published", "published", "", 0, fraction),
        Column("ours", "ours", "", 0, fraction),
        Column("difference", "difference", "%", 0, percent),
        Column("reproduced", "reproduced", "", 0, str),
    )
    over = "folds and seeds ± standard deviation over folds" if len(block.folds) > 1 else "seeds ± standard deviation"
    caption = (
        f"Published figures beside ours, by source ({listed([f'{n} {word}' for word, n in counted.items()])}). "
        f"Ours are means over {over}. 'Exactly' is asked where no seed is involved: the same to the places that are "
        f"published. Others count as reproduced {NEAR} of the published figure. The notes say where a figure stands "
        "and how its protocol differs."
    )
    shown = tuple((source, tuple(rows)) for source, rows in groups.items())
    return Table(f"{block.dataset}: published figures", caption, columns, shown, notes, "row")


def percent(value: float) -> str:
    """A relative difference in percent with its sign: +1.2, of a figure in percent."""
    return f"{value:+.1f}".replace("-0.0", "+0.0").replace("-", MINUS)


def _shown(entry: Published, metrics: Sequence[str] | None) -> list[str]:
    """The published metrics to show; where none of them is wanted, the first."""
    if metrics is None:
        return list(entry.metrics)
    return [metric for metric in metrics if metric in entry.metrics] or list(entry.metrics)[:1]


def _row(line: Line, entry: Published, metric: str, notes: Notes) -> Row:
    published = entry.metrics[metric]
    figures = line.figures(metric)
    why_not = "not measured" if line.done else str(line.runs[0].record.status) if line.runs[0].record else "not yet run"
    cells = {
        "method": Cell(word=entry.method),
        "metric": Cell(word=metric),
        "published": Cell(published),
        "ours": Cell(word=why_not),
        "difference": Cell(),
        "reproduced": Cell(word=why_not),
    }
    if figures:
        ours = fmean(figures)
        cells["ours"] = Cell(ours, line.spread(metric))
        cells["difference"] = Cell(100 * (ours - published) / published)
        cells["reproduced"] = Cell(word=verdict(ours, entry, metric))
    return Row(display_name(line), line.label, cells, _notes(line, entry, notes))


def verdict(ours: float, entry: Published, metric: str) -> str:
    """What our figure is to the published one."""
    published = entry.metrics[metric]
    if entry.exact is not None and abs(ours - published) <= entry.exact + 1e-9:
        return EXACTLY
    if entry.exact is None and abs(ours - published) <= WITHIN * abs(published):
        return NEAR
    return BETTER if (ours - published) * metric_column(metric).better > 0 else WORSE


def _notes(line: Line, entry: Published, notes: Notes) -> tuple[str, ...]:
    """Where the figure stands, how its protocol differs, and what else is to be known."""
    runs = f", mean of {entry.runs} runs" if entry.runs > 1 else ""
    said = [f"{entry.paper}: {entry.table} ({MARKS[entry.mark]}{runs}), {entry.where}. Protocol: {entry.protocol}."]
    if told := entry.differences(line.runs[0].spec.protocol):
        said.append(f"Protocol: {'; '.join(told)}.")
    if entry.note:
        said.append(entry.note)
    if any(not run.fresh for run in line.done):
        said.append("Stale: the code has changed since our figures were made.")
    return tuple(dict.fromkeys(notes.letter(text) for text in said))
