"""Two runs, or two methods over all their seeds, user by user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmrec import stats
from llmrec.errors import UserError, nearest
from llmrec.report.evidence import Block, Line, Run, check_same_users, gather
from llmrec.report.significance import LEVEL, p_words
from llmrec.report.table import Cell, Notes, Row, Table
from llmrec.report.words import MINUS, Column, display_name, effect, fraction, p_value, signed
from llmrec.results import record_by_prefix
from llmrec.suite import load_suite


@dataclass(frozen=True)
class Duel:
    """A against B at one metric."""

    metric: str
    a: float
    b: float
    paired: stats.Comparison  # A minus B, turned where lower is better: positive means that A is better
    wins: int  # users for whom A is better
    ties: int
    losses: int


def duels(a: Line, b: Line) -> list[Duel]:
    """A against B at every accuracy metric, the primary one first; values per user are averaged over seeds first.

    Raises:
        UserError: different datasets, protocols or users.
    """
    _check_comparable(a, b)
    return [_duel(a, b, metric) for metric in a.per_unit if metric in b.per_unit]


def _duel(a: Line, b: Line, metric: str) -> Duel:
    ours, theirs = a.values(metric), b.values(metric)
    better = a.task.better  # every metric of a task that is known per unit points the way of the primary one
    gaps = better * (ours.mean(axis=0) - theirs.mean(axis=0))
    wins, losses = int((gaps > 1e-12).sum()), int((gaps < -1e-12).sum())
    compared = stats.compare_paired(better * ours, better * theirs)
    return Duel(metric, float(ours.mean()), float(theirs.mean()), compared, wins, len(gaps) - wins - losses, losses)


def sentence(a: Line, b: Line, found: Sequence[Duel]) -> str:
    """Who is better at the primary metric, and whether the difference can be told from chance: as in a report, the test
    over users and the interval over users and seeds must agree."""
    first = found[0]
    low, high = first.paired.low, first.paired.high
    if first.paired.p >= LEVEL or low <= 0 <= high:
        return (
            f"{display_name(a)} and {display_name(b)} cannot be told apart at {first.metric}: "
            f"{signed(first.paired.difference)} [{signed(low)}, {signed(high)}], p = {p_value(first.paired.p)}."
        )
    better, worse = (a, b) if first.paired.difference > 0 else (b, a)
    return (
        f"{display_name(better)} is better than {display_name(worse)} at {first.metric} by "
        f"{fraction(abs(first.paired.difference))}, p {p_words(first.paired.p)}."
    )


def table(a: Line, b: Line, found: Sequence[Duel]) -> Table:
    """The comparison as a table, one row a metric."""
    columns = (
        Column("difference", f"A {MINUS} B", "", 0, signed, accuracy=True),
        Column("a", "A", "", 0, fraction),
        Column("b", "B", "", 0, fraction),
        Column("p", "p", "", 0, p_value),
        Column("effect", "effect size", "Cohen's d", 0, effect),
        Column("users", "wins / ties / losses", a.task.unit, 0, str),
    )
    rows = []
    for duel in found:
        compared = duel.paired
        cells = {
            "difference": Cell(compared.difference, low=compared.low, high=compared.high),
            "a": Cell(duel.a),
            "b": Cell(duel.b),
            "p": Cell(compared.p),
            "effect": Cell(compared.effect),
            "users": Cell(float(duel.wins - duel.losses), word=f"{duel.wins} / {duel.ties} / {duel.losses}"),
        }
        rows.append(Row(duel.metric, duel.metric, cells))
    turned = "" if a.task.better > 0 else "Lower is better, so differences are turned: + means that A is better. "
    words = (
        f"A = {_described(a)}, B = {_described(b)}. Paired over {len(a.units[0]):,} {a.task.unit} on "
        f"{a.done[0].spec.dataset}; 95 % interval over {a.task.unit} and seeds; two-sided permutation test. "
        f"{turned}{a.task.primary} "
        "decides; the other rows are descriptive and their p-values uncorrected."
    )
    name = f"{display_name(a)} against {display_name(b)}"
    return Table(name, words, columns, (("", tuple(rows)),), Notes(), "metric")


def find(name: str, blocks: Sequence[Block], root: Path | None = None) -> Line:
    """A row of the suite by its label, else a run by the first characters of its id.

    Raises:
        UserError: nothing is called so, or it has no figures.
    """
    for block in blocks:
        for line in block.lines:
            if name in (line.label, display_name(line)):
                return _finished(line)
    try:
        record, folder = record_by_prefix(name, root)
    except UserError as error:
        labels = [line.label for block in blocks for line in block.lines]
        hint = f" No row of suite {blocks[0].suite!r} is called so either.{nearest(name, labels)}" if blocks else ""
        more = hint or " To compare methods over all their seeds, give their labels and --suite SUITE."
        raise UserError(f"{error}{more}") from None
    label = f"{record.spec.method} seed {record.spec.seed}"
    return _finished(Line(label, record.family, (Run(label, record.spec, record.family, record, True, folder),)))


def blocks_of(suite: str, dataset: str, methods: Path | None = None, root: Path | None = None) -> list[Block]:
    """A suite's blocks, of one dataset where it has several.

    Raises:
        UserError: the suite has several datasets and none is chosen, or has no such dataset.
    """
    loaded = load_suite(suite, methods)
    if dataset and dataset not in loaded.datasets:
        raise UserError(
            f"--dataset {dataset}: suite {loaded.name!r} has no such dataset.{nearest(dataset, loaded.datasets)}"
        )
    if not dataset and len(loaded.datasets) > 1:
        raise UserError(f"suite {loaded.name!r} has several datasets; choose one: -d {' | '.join(loaded.datasets)}")
    return [block for block in gather(loaded, root=root) if block.dataset == (dataset or loaded.datasets[0])]


def _finished(line: Line) -> Line:
    if not line.done:
        raise UserError(f"{line.label} has no figures to compare: {line.runs[0].reason}.")
    return line


def _check_comparable(a: Line, b: Line) -> None:
    one, other = a.done[0].spec, b.done[0].spec
    if one.task != other.task:
        raise UserError(f"{a.label} was asked for the task {one.task}, {b.label} for {other.task}: nothing to compare.")
    if one.dataset != other.dataset:
        raise UserError(f"{a.label} ran on {one.dataset}, {b.label} on {other.dataset}: nothing to compare.")
    if one.protocol != other.protocol:
        ours, theirs = one.protocol.model_dump(), other.protocol.model_dump()
        keys = [f"{key} = {ours[key]!r} and {theirs[key]!r}" for key in ours if ours[key] != theirs[key]]
        raise UserError(
            f"{a.label} and {b.label} ran under different protocols ({', '.join(keys)}): no fair comparison."
        )
    check_same_users([*a.done, *b.done])


def _described(line: Line) -> str:
    seeds = [str(runs[0].spec.seed) for runs in line.by_seed]
    return f"{display_name(line)} (seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})"
