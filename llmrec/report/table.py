"""The one table object that terminal, Markdown, LaTeX, CSV and the page are written from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from llmrec.report.evidence import Block, Line, Run
from llmrec.report.memorised import memorised
from llmrec.report.words import FAMILIES, Column, display_name, fraction

CONTROLS = "Controls: shown, never compared"

TIES = "ties:shuffled"
"""The slice of records that has the figures of all impressions with tied candidates in random order."""

WORTH_SAYING = 0.005
"""How far a figure moves with the rule for ties before a row says so."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Cell:
    """One figure, or the reason why there is none."""

    value: float | None = None  # mean over seeds
    spread: float | None = None  # standard deviation over seeds; None for a single run
    low: float | None = None  # 95 % interval over users and seeds
    high: float | None = None
    word: str = ""  # stands instead of a figure
    best: bool = False
    tied: bool = False  # not distinguishable from the best
    notes: tuple[str, ...] = ()  # letters of footnotes


@dataclass(frozen=True)
class Row:
    name: str
    label: str
    cells: dict[str, Cell]  # column key -> cell
    notes: tuple[str, ...] = ()


@dataclass
class Notes:
    """Footnotes by letter; the same sentence has one letter."""

    texts: list[str] = field(default_factory=list)

    def letter(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        index = self.texts.index(text)
        return LETTERS[index] if index < len(LETTERS) else LETTERS[index // 26 - 1] + LETTERS[index % 26]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((self.letter(text), text) for text in self.texts)


@dataclass(frozen=True)
class Table:
    """Rows grouped by family, quantities as columns. ``caption`` says what is shown and how to read the marks."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    notes: Notes
    head: str = "method"  # what the rows are

    @property
    def rows(self) -> list[Row]:
        return [row for _, rows in self.groups for row in rows]


Interval = Callable[[Line, str], tuple[float, float] | None]
"""95 % interval of a line's metric over users and seeds; None where there are no figures per user."""


def main_table(block: Block, columns: Sequence[Column], caption: str, interval: Interval, tied: set[str]) -> Table:
    """A block's figures. ``tied``: labels not distinguishable from the best at the primary metric."""
    notes = Notes()
    groups: list[tuple[str, tuple[Row, ...]]] = []
    for family, title in FAMILIES.items():
        lines = [line for line in block.lines if line.family == family and not line.control]
        groups.append((title, _rows(lines, block, columns, interval, notes)))
    groups.append((CONTROLS, _rows([line for line in block.lines if line.control], block, columns, interval, notes)))
    groups = [(title, rows) for title, rows in groups if rows]
    table = Table(block.dataset, caption, tuple(columns), tuple(groups), notes)
    return _mark_best(table, block, tied)


def _rows(
    lines: Sequence[Line], block: Block, columns: Sequence[Column], interval: Interval, notes: Notes
) -> tuple[Row, ...]:
    rows = []
    for line in lines:
        said = _row_notes(line, block, notes)
        cells = {column.key: _cell(line, column, interval, notes) for column in columns}
        rows.append(Row(display_name(line), line.label, cells, said))
    return tuple(rows)


def _cell(line: Line, column: Column, interval: Interval, notes: Notes) -> Cell:
    if not line.done:
        return Cell()  # the reason stands at the row's name
    figures = line.costs(column.key) if column.cost else line.figures(column.key)
    if column.cost and line.family == "external":
        return Cell(notes=(notes.letter("Made by another program: its cost was not measured."),))
    if not figures:
        return Cell(notes=(notes.letter("Not measured for this method."),))
    bounds = interval(line, column.key) if column.accuracy else None
    spread = None if column.cost else line.spread(column.key)
    return Cell(fmean(figures), spread, *(bounds or (None, None)))


def _row_notes(line: Line, block: Block, notes: Notes) -> tuple[str, ...]:
    """Why a row has no figures, or what must be said of them: another protocol, missing seeds, stale code, ties."""
    said = []
    if options := _own_options(line, block):
        said.append(f"Control, under {', '.join(f'{key} = {value}' for key, value in options.items())}.")
    missing = [run for run in line.runs if not run.ok]
    if not line.done:
        said += [_sentence(reason) for reason in dict.fromkeys(run.reason for run in line.runs)]
    elif missing:
        what = "seeds" if len(line.folds) == 1 else "runs"
        places = "; ".join(f"{_place(run)} {run.reason}" for run in missing)
        said.append(_sentence(f"{len(line.runs) - len(missing)} of {len(line.runs)} {what}: {places}"))
    if any(not run.fresh for run in line.done):
        said.append("Stale: the code has changed since these figures were made.")
    if changed := _without_ties(line):
        figures = ", ".join(f"{metric} {fraction(value)}" for metric, value in changed.items())
        said.append(f"Ties count against the clicked items; tied candidates in random order would give {figures}.")
    said += memorised(line)
    return tuple(sorted(notes.letter(text) for text in said))


def _own_options(line: Line, block: Block) -> dict[str, Any]:
    """The protocol options of a control row that differ from those of the other rows."""
    usual = next((other for other in block.lines if not other.control), line).runs[0].spec.protocol
    own = line.runs[0].spec.protocol.model_dump()
    return {key: value for key, value in own.items() if value != getattr(usual, key)} if line.control else {}


def _without_ties(line: Line) -> dict[str, float]:
    """Metrics of impressions that would be another figure if ties were broken at random."""
    records = [record for record in line.records if TIES in record.slices]
    changed = {}
    for metric in line.task.accuracy:
        pairs = [(r.slices[TIES][metric], r.metrics[metric]) for r in records if metric in r.slices[TIES]]
        if pairs and abs(fmean(shuffled - ours for shuffled, ours in pairs)) >= WORTH_SAYING:
            changed[metric] = fmean(shuffled for shuffled, _ in pairs)
    return changed


def _place(run: Run) -> str:
    return f"seed {run.spec.seed}" + (f" fold {run.fold}" if run.fold else "")


def _mark_best(table: Table, block: Block, tied: set[str]) -> Table:
    """Bold figures. Outside accuracy, rows that are not personal do not compete: random covers everything at once."""
    rivals_of_all = {line.label for line in block.lines if not line.control}
    personal = {line.label for line in block.lines if line.family != "non-personal" and not line.control}
    best: dict[str, float] = {}
    for column in table.columns:
        allowed = rivals_of_all if column.accuracy else personal
        rivals = [row for row in table.rows if row.label in allowed]
        values = [v for row in rivals if (v := row.cells[column.key].value) is not None]
        if values and column.better:
            best[column.key] = max(values) if column.better > 0 else min(values)

    def marked(row: Row) -> Row:
        cells = {}
        for column in table.columns:
            cell = row.cells[column.key]
            rival = row.label in (rivals_of_all if column.accuracy else personal)
            top = rival and cell.value is not None and cell.value == best.get(column.key)
            close = column.key == block.task.primary and row.label in tied and not top
            cells[column.key] = replace(cell, best=top, tied=close)
        return replace(row, cells=cells)

    return replace(table, groups=tuple((title, tuple(map(marked, rows))) for title, rows in table.groups))


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
