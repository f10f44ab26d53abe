"""Who is best, who cannot be told from it, and how each method stands against the best baseline.

Figures per user are paired; seeds are the outer level of every interval. P-values come from a paired permutation test
at the primary metric and are Holm-corrected over the table's methods. The best baseline is chosen on validation, never
on the figures that it is then compared by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from llmrec import stats
from llmrec.report.evidence import Block, Line
from llmrec.report.words import display_name, fraction, listed, p_value, signed

LEVEL = 0.05
SMALL = 300
"""Under so many users a table is marked small and decides no claim."""

SEEDS_FOR_A_CLAIM = 5


@dataclass(frozen=True)
class Against:
    """One method against a reference at the primary metric. Differences are turned where lower is better: positive
    means that the method is better."""

    line: Line
    reference: Line
    difference: float
    low: float  # 95 % interval of the difference
    high: float
    p: float  # Holm-corrected over the table
    effect: float  # Cohen's d of the paired differences

    @property
    def distinct(self) -> bool:
        """Significant over users, and not a matter of seeds: the permutation test does not see the seeds' spread, the
        interval does, so both must agree."""
        return self.p < LEVEL and not self.low <= 0 <= self.high

    @property
    def verdict(self) -> str:
        if not self.distinct:
            return "not distinguishable"
        return "better" if self.difference > 0 else "worse"


@dataclass
class Findings:
    """The statistics of one block, computed when asked for and once."""

    block: Block

    def interval(self, line: Line, metric: str) -> tuple[float, float] | None:
        """95 % interval of a line's metric over users and seeds; None where there are no figures per user."""
        return self._intervals.get((line.label, metric))

    def wanted(self, metric: str) -> bool:
        """Whether intervals of a metric are asked for; here of all."""
        return True

    @cached_property
    def _intervals(self) -> dict[tuple[str, str], tuple[float, float]]:
        """Of every line and every metric per user, all resampled together."""
        keys = [
            (line, metric)
            for line in self.block.finished
            for metric in line.per_unit
            if line.figures(metric) and not line.task.pooled and self.wanted(metric)
        ]
        if not keys:
            return {}
        found = stats.bootstrap_intervals([line.values(metric) for line, metric in keys])
        return {(line.label, metric): (one.low, one.high) for (line, metric), one in zip(keys, found, strict=True)}

    @cached_property
    def best(self) -> Line | None:
        """The method with the best primary metric on test."""
        rated = [line for line in self.block.finished if line.figures(self.primary)]
        return max(rated, key=lambda line: self._goodness(line, self.primary), default=None)

    @property
    def primary(self) -> str:
        return self.block.task.primary

    def _goodness(self, line: Line, metric: str) -> float:
        return self.block.task.better * float(np.mean(line.figures(metric)))

    @cached_property
    def baseline(self) -> Line | None:
        """The baseline with the best primary metric on validation; None where the records cannot say.

        Methods fitted on train + validation keep a validation figure only if they stopped early on it: a choice among
        those would pass over the counting methods, so there is none.
        """
        validation = self.block.task.validation
        rated = [line for line in self.block.finished if line.baseline and line.figures(validation)]
        refitted = bool(self.block.lines) and self.block.spec.protocol.fit_data != "train"
        if refitted and left_out_of_choice(self.block.finished):
            return None
        return max(rated, key=lambda line: self._goodness(line, validation), default=None)

    @cached_property
    def against_best(self) -> list[Against]:
        return self._against(self.best)

    @cached_property
    def against_baseline(self) -> list[Against]:
        return self._against(self.baseline)

    @property
    def tied(self) -> list[Line]:
        """Methods that cannot be told from the best."""
        return [found.line for found in self.against_best if not found.distinct]

    def _against(self, reference: Line | None) -> list[Against]:
        if reference is None:
            return []
        others = [line for line in self.block.finished if line.label != reference.label]
        turned = {
            line.label: self.block.task.better * line.values(self.primary) for line in self.block.finished
        }  # so that higher is better
        raw = stats.compare_with([turned[line.label] for line in others], turned[reference.label])
        corrected = stats.holm([found.p for found in raw])
        return [
            Against(line, reference, found.difference, found.low, found.high, float(p), found.effect)
            for line, found, p in zip(others, raw, corrected, strict=True)
        ]

    def sentences(self) -> list[str]:
        """Who wins, in honest sentences; the first names the best and all that cannot be told from it."""
        if self.best is None:
            return ["No run of this table has finished: there is nothing to compare yet."]
        best = self.best
        figure = fraction(float(np.mean(best.figures(self.primary))))
        tied = [display_name(line) for line in self.tied]
        rest = f"not distinguishable from it: {listed(tied)}" if tied else "every other finished method is behind it"
        if len(self.block.finished) == 1:
            rest = "no other method has finished"
        said = [f"Best: {display_name(best)}, {self.primary} {figure}; {rest}."]
        said += self._baseline_sentence()
        return said + self.caveats()

    def _baseline_sentence(self) -> list[str]:
        if self.baseline is None:
            return []
        name = display_name(self.baseline)
        ours = [found for found in self.against_baseline if not found.line.baseline]
        if not ours:
            return [f"The best baseline, chosen on validation, is {name}."]
        top = max(ours, key=lambda found: found.difference)
        how = {"better": "beats it", "worse": "is behind it", "not distinguishable": "cannot be told from it"}
        return [
            f"The best baseline, chosen on validation, is {name}; the strongest method outside the baselines, "
            f"{display_name(top.line)}, {how[top.verdict]} ({signed(top.difference)} [{signed(top.low)}, "
            f"{signed(top.high)}], corrected p {p_words(top.p)})."
        ]

    def caveats(self) -> list[str]:
        """What the figures do not allow to say."""
        said = []
        missing = [display_name(line) for line in self.block.lines if not line.done]
        if missing:
            said.append(f"Without figures, so not in the comparison: {listed(missing)}.")
        if self.block.n_users and self.block.n_users < SMALL:
            unit = self.block.task.unit
            said.append(f"Small: {self.block.n_users} {unit} are fewer than {SMALL}, so this table decides no claim.")
        if (warm := self.block.with_history) is not None and warm < self.block.n_users:
            said.append(
                f"Of {self.block.n_users:,} {self.block.task.unit} {warm:,} have a history when they are asked; of the "
                "others nothing is known."
            )
        if len(self.block.seeds) < SEEDS_FOR_A_CLAIM:
            seeds = len(self.block.seeds)
            said.append(
                f"{seeds} seed{'s' * (seeds > 1)}: enough for a table, not for a claim ({SEEDS_FOR_A_CLAIM} seeds)."
                if seeds >= 3
                else f"{seeds} seed{'s' * (seeds > 1)}: a first look, not a table (three seeds) or a claim (five)."
            )
        return said


def why_no_baseline(block: Block) -> str:
    """Why no method is compared with a best baseline."""
    if not any(line.baseline for line in block.finished):
        return "No baseline has finished, so there is nothing to compare with."
    if len(block.finished) == 1:
        return "No other method has finished, so there is nothing to compare the baseline with."
    if block.spec.protocol.fit_data == "train+valid":
        return "Methods were fitted on train and validation, so no validation figures are left to choose a baseline by."
    return f"No baseline's record holds {block.task.validation}, so the best baseline cannot be chosen on validation."


def p_words(p: float) -> str:
    return p_value(p) if p < 0.001 else f"= {p_value(p)}"


def left_out_of_choice(lines: Sequence[Line]) -> list[str]:
    """Baselines without a validation figure: they could not be chosen."""
    baselines = (line for line in lines if line.baseline and line.done)
    return [display_name(line) for line in baselines if not line.figures(line.task.validation)]
