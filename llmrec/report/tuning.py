"""That nobody was starved: what each row's search was given, and its best validation figure after every trial.

All of it comes from the studies that are frozen beside the suite (`llmrec.tuned`); no test figure is in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmrec.report import plots
from llmrec.report.table import Cell, Notes, Row, Table
from llmrec.report.words import Column, fraction, quantity, signed
from llmrec.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from llmrec.records import TaskName
    from llmrec.tuned import Trial, Tuned

TOGETHER = "all rows"
NOT_SEARCHED = "not searched"
NOTHING_TO_SEARCH = "nothing to search"
"""Stand where a row's parameters are what the suite's file or the method's own defaults say: the row was left out of
the search, or has no field that a search could set."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1c1d1f", "#8a8d93")
MARKS = "osD^vP*X<>ph"
AXES_SHARE = 0.78
"""Of a figure's height that the axes have, roughly: how far names must stand apart is known before the layout."""


@dataclass(frozen=True)
class Budget:
    """What the search for one row was given, and what came of it."""

    label: str
    metric: str  # the validation figure that decides
    better: int  # 1: higher is better, -1: lower is
    epochs: str  # of every trial; "" where the method does not train by epochs
    fields: Mapping[str, str]  # searched field -> its space in words
    trials: Sequence[Trial]

    @property
    def best_so_far(self) -> list[float]:
        """The best figure of a whole trial after each trial; NaN before the first."""
        best, found = math.nan, []
        for trial in self.trials:
            if trial.status == "ok" and trial.value is not None:
                better = math.isnan(best) or self.better * trial.value > self.better * best
                best = trial.value if better else best
            found.append(best)
        return found

    @property
    def best(self) -> Trial | None:
        """The first trial that reached the best figure."""
        reached = [t for t in self.trials if t.status == "ok" and t.value == self.best_so_far[-1]]
        return reached[0] if reached else None

    @property
    def default(self) -> float | None:
        """The figure of trial 0, which has the row's own defaults."""
        return self.trials[0].value if self.trials and self.trials[0].status == "ok" else None

    @property
    def cpu_seconds(self) -> float:
        """Of all trials; two with equal parameters are one run."""
        return sum({trial.run: trial.cpu_seconds for trial in self.trials}.values())

    def count(self, *statuses: str) -> int:
        return sum(trial.status in statuses for trial in self.trials)

    @property
    def failed(self) -> int:
        """Trials that gave no figure and were not pruned."""
        return len(self.trials) - self.count("ok", "pruned")


def budget(
    label: str, task: TaskName, space: Mapping[str, str], fixed: Mapping[str, Any], epochs: int | None,
    trials: Sequence[Trial],
) -> Budget:  # fmt: skip
    """The budget of one row, from what its study was made of."""
    given = epochs if epochs is not None else fixed.get("epochs", space.get("epochs", ""))
    return Budget(label, TASKS[task].validation, TASKS[task].better, str(given), space, trials)


def frozen(studies: Mapping[str, Tuned]) -> list[Budget]:
    """The budgets of a suite's rows on one dataset; ``studies``: label -> frozen study."""
    return [
        budget(label, one.study.task, one.study.space, one.study.fixed, one.study.epochs, one.trials)
        for label, one in studies.items()
    ]


def tuning_table(dataset: str, budgets: Sequence[Budget], others: Mapping[str, str] | None = None) -> Table:
    """The budget of every row and of all together. ``others``: rows that nothing was searched for -> why, in words."""
    metric = budgets[0].metric
    whole: Any = "{:.0f}".format
    columns = (
        Column("fields", "fields", "", 0, whole),
        Column("trials", "trials", "", 0, whole),
        Column("pruned", "pruned", "", 0, whole),
        Column("failed", "failed", "", 0, whole),
        Column("epochs", "epochs", "", 0, whole),
        Column("tuning_cpu_seconds", "cost", "CPU s", 0, quantity),
        Column("default", "defaults", "", 0, fraction),
        Column("best", "best", "", 0, fraction),
        Column("gain", "gain", "", 0, signed),
        Column("at", "at trial", "", 0, whole),
    )
    rows = [Row(one.label, one.label, _cells(one)) for one in budgets]
    sums = {"trials": 0.0, "pruned": 0.0, "failed": 0.0, "tuning_cpu_seconds": 0.0}
    total = {key: Cell(sum(row.cells[key].value or 0.0 for row in rows)) for key in sums}
    none = {column.key: Cell() for column in columns}
    rows += [Row(name, name, {**none, "trials": Cell(word=why)}) for name, why in (others or {}).items()]
    rows += [Row(TOGETHER, TOGETHER, {**none, **total})] if len(budgets) > 1 else []
    caption = (
        f"What each row's search was given: fields searched, trials, epochs of every trial. Figures are {metric}, of "
        "the validation part, with the row's own defaults (trial 0) and at best; no trial sees the test part. A trial "
        "is pruned at an epoch at which it is behind the median of the trials before it. Costs hold all trials, "
        "reading the data and splitting it included; a killed trial counts with its wall-clock seconds."
    )
    return Table(f"{dataset}: tuning", caption, columns, (("", tuple(rows)),), Notes())


def tuning_curves(budgets: Sequence[Budget], dataset: str) -> Figure:
    """The best validation figure after every trial, one line a row, named at its end.

    Lines differ in colour, in dash and in the mark at the trial that was the best, and names stand where lines end: a
    greyscale print reads the same.
    """
    from matplotlib.ticker import MaxNLocator

    drawn = [one for one in budgets if one.best is not None]
    height = max(3.3, 1.0 + 0.155 * len(drawn))
    with plots.panel(f"Tuning on {dataset}", (4.2, height)) as (figure, axes):
        ends: list[tuple[float, float, str, str]] = []
        for place, one in enumerate(drawn):
            colour = COLOURS[place % len(COLOURS)]
            numbers, curve = [trial.number for trial in one.trials], one.best_so_far
            dash = plots.DASHES[place // 2 % len(plots.DASHES)]
            axes.step(numbers, curve, where="post", color=colour, linestyle=dash, linewidth=1.0)
            assert one.best is not None
            axes.plot(
                one.best.number, curve[-1], MARKS[place % len(MARKS)], color=colour, markersize=4.5,
                markeredgecolor=plots.INK, markeredgewidth=0.5, zorder=3,
            )  # fmt: skip
            ends.append((numbers[-1], curve[-1], one.label, colour))
        axes.set_xlabel("Trial (0: the row's own defaults; mark: the best)")
        axes.set_ylabel(f"Best {budgets[0].metric.removeprefix('valid/')} on validation so far")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _name_ends(axes, ends, height)
    return figure


def _name_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], height: float) -> None:
    """Names right of the axes at the heights of the ends, moved apart where they would touch, with thin leaders.

    Args:
        ends: x, y, name and colour of every line's end.
        height: the figure's, in inches.
    """
    low, high = axes.get_ylim()
    apart = (high - low) * 8.4 / (72 * AXES_SHARE * height)  # lines of small print
    order = sorted(range(len(ends)), key=lambda i: ends[i][1])
    heights = spread([ends[i][1] for i in order], apart)
    span = max([end[0] for end in ends] + [1])
    for place, index in zip(heights, order, strict=True):
        x, y, name, colour = ends[index]
        axes.plot([x, 1.05 * span], [y, place], color=colour, linewidth=0.5, alpha=0.8, clip_on=False)
        axes.text(1.06 * span, place, name, fontsize=7, va="center", clip_on=False)
    axes.set_xlim(-0.03 * span, 1.03 * span)
    axes.set_ylim(low, high)


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Rising heights, moved as little as needed (least squares) to stand ``apart``: pool adjacent violators."""
    blocks: list[tuple[float, int]] = []  # mean of what is left when all had stood `apart`, number
    for place, height in enumerate(heights):
        mean, size = height - place * apart, 1
        while blocks and blocks[-1][0] > mean:
            before, number = blocks.pop()
            mean, size = (before * number + mean * size) / (number + size), number + size
        blocks.append((mean, size))
    means = [mean for mean, size in blocks for _ in range(size)]
    return [mean + place * apart for place, mean in enumerate(means)]


def _cells(one: Budget) -> dict[str, Cell]:
    best = one.best
    reached = best.value if best else None
    gain = None if reached is None or one.default is None else one.better * (reached - one.default)
    return {
        "fields": Cell(len(one.fields)),
        "trials": Cell(len(one.trials)),
        "pruned": Cell(one.count("pruned")),
        "failed": Cell(one.failed),
        "epochs": Cell(float(one.epochs)) if one.epochs.isdigit() else Cell(word=one.epochs),
        "tuning_cpu_seconds": Cell(one.cpu_seconds),
        "default": Cell(one.default),
        "best": Cell(reached),
        "gain": Cell(gain),
        "at": Cell(best.number if best else None),
    }
