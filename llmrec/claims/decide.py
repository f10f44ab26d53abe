"""Verdicts. Each claim is taken apart into tests: one a dataset, metric and opponent.

A test is supported when a's lead over b (beyond the least effect that the claim names) is significant and its interval
lies on the claim's side; refuted when the same holds for the other side; else not decided. It takes the permutation
test over users, Holm-corrected over all tests of all claims, and the interval over users and seeds, which sees the
seeds' spread: both must agree. Metrics of a whole run (coverage, say) are compared over seeds by Welch's t-test.

A claim is refuted if one of its tests is; supported if all are; else not decided, or not yet run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from llmrec import stats
from llmrec.claims.read import Claim, Side, Verdict
from llmrec.errors import UserError
from llmrec.published.blocks import PublishedRun
from llmrec.published.parts import column
from llmrec.records import Protocol
from llmrec.report.evidence import Block, Line, check_same_users
from llmrec.report.significance import LEVEL
from llmrec.report.words import FAMILIES, display_name, listed
from llmrec.types import Floats


@dataclass(frozen=True)
class Test:
    """One comparison of a claim. Figures are None where nothing could be compared."""

    dataset: str
    metric: str
    a: str = ""
    b: str = ""
    difference: float | None = None  # a - b, positive where a's figure is higher
    low: float | None = None  # its 95 % interval
    high: float | None = None
    lead: tuple[float, float] | None = None  # decides: how far a passes the claim's bar (+: on its side), 95 % interval
    p: float | None = None
    corrected: float | None = None  # Holm, over all tests of all claims
    problem: str = ""  # why these figures decide nothing
    missing: str = ""  # why there are none
    runs: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        if self.missing:
            return "not yet run"
        if self.problem or self.lead is None or self.corrected is None:
            return "not decided"
        low, high = self.lead
        if self.corrected >= LEVEL or low <= 0 <= high:
            return "not decided"
        return "supported" if low > 0 else "refuted"


@dataclass(frozen=True)
class Decided:
    """A claim with what came of its tests."""

    claim: Claim
    tests: tuple[Test, ...]

    @property
    def verdict(self) -> Verdict:
        found = {test.verdict for test in self.tests}
        order: tuple[Verdict, ...] = ("refuted", "not yet run", "not decided", "supported")
        return next((verdict for verdict in order if verdict in found), "not yet run")

    @property
    def contradicted(self) -> bool:
        """Whether the paper says something else than the records."""
        return self.claim.says is not None and self.claim.says != self.verdict


def decide(claims: Sequence[Claim], blocks: dict[str, list[Block]]) -> list[Decided]:
    """The verdict of each claim. ``blocks``: those of each published suite.

    Raises:
        UserError: a claim could be answered from several suites.
    """
    found = [Decided(claim, tuple(_tests(claim, blocks))) for claim in claims]
    tested = [test for decided in found for test in decided.tests if test.p is not None]
    corrected = iter(stats.holm([test.p for test in tested if test.p is not None]))
    return [
        replace(
            decided,
            tests=tuple(t if t.p is None else replace(t, corrected=next(corrected)) for t in decided.tests),
        )
        for decided in found
    ]


def _tests(claim: Claim, blocks: dict[str, list[Block]]) -> list[Test]:
    if claim.not_yet:
        return [Test(dataset, ", ".join(claim.metrics), missing=claim.not_yet) for dataset in claim.datasets]
    return [test for dataset in claim.datasets for test in _on_dataset(claim, dataset, blocks)]


def _on_dataset(claim: Claim, dataset: str, blocks: dict[str, list[Block]]) -> list[Test]:
    block, missing = _block(claim, dataset, blocks)
    if block is None:
        return [Test(dataset, ", ".join(claim.metrics), missing=missing)]
    ours, problem = _best(claim.a, block)
    if ours is None:
        return [Test(dataset, metric, problem=problem) for metric in claim.metrics]
    tests = []
    for metric in claim.metrics:
        if claim.b.figure is not None:
            tests.append(_compare(claim, metric, ours, claim.b.figure))
        for part in _parts(claim.b):
            theirs, problem = _best(part, block)
            if theirs is None:
                tests.append(Test(dataset, metric, display_name(ours), problem=problem))
            else:
                tests.append(_compare(claim, metric, ours, theirs))
    return tests


def _block(claim: Claim, dataset: str, blocks: dict[str, list[Block]]) -> tuple[Block | None, str]:
    """What can answer: the block of one suite; where none has all that is needed, or the claim names several, the rows
    of several suites under one protocol. Or why nothing can."""
    fitting = {
        suite: block
        for suite, some in blocks.items()
        for block in some
        if block.dataset == dataset
        and block.spec.task == claim.task
        and (not claim.suites or suite in claim.suites)
        and all(getattr(block.spec.protocol, key) == value for key, value in claim.protocol.items())
    }
    if not fitting:
        absent = [suite for suite in claim.suites if suite not in blocks]
        if claim.suites and absent == claim.suites:
            return None, f"{listed(absent)} {'are' if len(absent) > 1 else 'is'} not published"
        who = listed(claim.suites) if claim.suites else "no published suite"
        asks = ("does not ask" if len(claim.suites) == 1 else "do not ask") if claim.suites else "asks"
        return None, f"{who} {asks} {claim.task} on {dataset}" + " under its protocol" * bool(claim.protocol)
    alone = {} if len(claim.suites) > 1 else fitting
    whole = {suite: block for suite, block in alone.items() if not _lacking(claim, block)}
    if not whole:
        fitting = _together(fitting)
        whole = {suites: block for suites, block in fitting.items() if not _lacking(claim, block)}
    if len(whole) > 1:
        raise UserError(
            f"claim {claim.id!r}: {listed(sorted(whole))} could all decide it on {dataset}. Name one: suite = "
            f"{sorted(whole)[0]!r}"
        )
    if whole:
        return next(iter(whole.values())), ""
    return None, f"no figures of {listed(min((_lacking(claim, block) for block in fitting.values()), key=len))}"


def _together(blocks: dict[str, Block]) -> dict[str, Block]:
    """The rows of all suites that have one protocol as one block, by the suites' names; a row that two suites share
    stands once.

    Raises:
        UserError: they were not asked about the same users.
    """
    found: dict[str, Block] = {}
    for protocol in dict.fromkeys(_protocol(block) for block in blocks.values()):
        some = {suite: block for suite, block in blocks.items() if _protocol(block) == protocol}
        lines: dict[tuple[str, ...], Line] = {}
        for line in (line for block in some.values() for line in block.finished):
            lines.setdefault(tuple(run.spec.run_id for run in line.runs), line)
        check_same_users([run for line in lines.values() for run in line.done])
        found[" + ".join(some)] = replace(next(iter(some.values())), lines=tuple(lines.values()))
    return found


def _protocol(block: Block) -> Protocol:
    return block.spec.protocol.model_copy(update={"fold": None})


def _parts(side: Side) -> list[Side]:
    """Each opponent by itself: each method, each family."""
    methods = [side.model_copy(update={"methods": [name]}) for name in side.methods]
    return methods + [Side(families=[name]) for name in side.families]


def _lacking(claim: Claim, block: Block) -> list[str]:
    """What a claim needs and a block has no figures of; of a's methods one is enough."""
    rivals = [part for part in _parts(claim.b) if not _lines(part, block)]
    sides = ([] if _lines(claim.a, block) else [claim.a]) + rivals
    return [name for side in sides for name in (*_named(side), *(FAMILIES[family] for family in side.families))]


def _named(side: Side) -> list[str]:
    given = ", ".join(f"{key} {value}" for key, value in side.params.items())
    return [f"{name} with {given}" if given else name for name in side.methods]


def _lines(side: Side, block: Block) -> list[Line]:
    """The rows of a side. A name means the row that is called so, else all rows of the method of this name; with
    params it means those of the method's rows that have them."""
    labels = set() if side.params else {line.label for line in block.lines}
    return [
        line
        for line in block.finished
        if (line.label in side.methods and line.label in labels)
        or (line.runs[0].spec.method in side.methods and line.runs[0].spec.method not in labels)
        or line.family in side.families
        if all(line.records[0].params.get(key) == value for key, value in side.params.items())
    ]


def _best(side: Side, block: Block) -> tuple[Line | None, str]:
    """The best line of a side, chosen on validation; or why none could be chosen."""
    lines = _lines(side, block)
    if len(lines) == 1:
        return lines[0], ""
    task = block.task
    unrated = [display_name(line) for line in lines if not line.figures(task.validation)]
    if unrated:
        return (
            None,
            f"no choice on validation among {listed([display_name(x) for x in lines])}: no figure of {unrated[0]}",
        )
    return max(lines, key=lambda line: task.better * fmean(line.figures(task.validation))), ""


def _compare(claim: Claim, metric: str, ours: Line, theirs: Line | float) -> Test:
    rivals = [theirs] if isinstance(theirs, Line) else []
    lines = [ours, *rivals]
    name = display_name(theirs) if isinstance(theirs, Line) else f"published {theirs:g}"
    runs = tuple(run.spec.run_id for line in lines for run in line.done)
    dataset = ours.runs[0].spec.dataset
    told = f"{metric}, {claim.slice}" if claim.slice else metric
    key = column(claim.slice, metric) if claim.slice else metric
    test = Test(dataset, told, display_name(ours), name, runs=runs)
    if all(key in line.units[0].columns for line in lines):
        a = _asked(ours.values(key))
        b = _asked(theirs.values(key)) if isinstance(theirs, Line) else np.full_like(a[:1], theirs)
        return _over_users(claim, replace(test, problem=_problem(claim, lines, a.shape[1])), a, b)
    if claim.slice or not all(line.figures(metric) for line in lines):
        return replace(test, problem=f"{told} was not measured")
    a = np.array(ours.figures(metric))
    b = np.array(theirs.figures(metric)) if isinstance(theirs, Line) else np.array([theirs])
    return _over_seeds(claim, replace(test, problem=_problem(claim, lines, len(ours.units[0]))), a, b)


def _asked(values: Floats) -> Floats:
    """Without the users to whom nothing of a slice is relevant: NaN, in every row the same ones."""
    return values[:, ~np.isnan(values[0])]


def _problem(claim: Claim, lines: Sequence[Line], units: int) -> str:
    """Why figures would decide nothing: too few users or seeds."""
    said = [f"{units} of {claim.users} {lines[0].task.unit}"] if units < claim.users else []
    for line in lines:
        seeded = any(run.seeded for run in line.done if isinstance(run, PublishedRun))
        if seeded and len(line.by_seed) < claim.seeds:
            said.append(f"{display_name(line)} has {len(line.by_seed)} of {claim.seeds} seeds")
    return "; ".join(said)


def _sign(claim: Claim) -> float:
    return 1.0 if claim.direction == "higher" else -1.0


def _bar(claim: Claim, b: Floats) -> Floats:
    """What a must pass: b's values, moved by the least effect."""
    return b * (1 + _sign(claim) * claim.least_relative) + _sign(claim) * claim.least


def _over_users(claim: Claim, test: Test, a: Floats, b: Floats) -> Test:
    plain = stats.compare_paired(a, b)
    decisive = plain if not (claim.least or claim.least_relative) else stats.compare_paired(a, _bar(claim, b))
    low, high = sorted((_sign(claim) * decisive.low, _sign(claim) * decisive.high))
    return replace(test, difference=plain.difference, low=plain.low, high=plain.high, lead=(low, high), p=decisive.p)


def _over_seeds(claim: Claim, test: Test, a: Floats, b: Floats) -> Test:
    difference, half, _ = _welch(a, b)
    if half == 0:
        why = test.problem or f"{test.metric} is one figure of each run, without an interval"
        return replace(test, difference=difference, problem=why)
    ahead, around, p = _welch(a, _bar(claim, b))
    low, high = sorted((_sign(claim) * (ahead - around), _sign(claim) * (ahead + around)))
    return replace(test, difference=difference, low=difference - half, high=difference + half, lead=(low, high), p=p)


def _welch(a: Floats, b: Floats) -> tuple[float, float, float]:
    """Difference of means, half of its 95 % interval and two-sided p over seeds; a method that runs once is a constant
    (Welch, Biometrika 34, 1947). Half is 0 where neither side has a spread."""
    from scipy.stats import t as student

    difference = float(a.mean() - b.mean())
    parts = [(float(x.var(ddof=1)) / len(x), len(x) - 1) for x in (a, b) if len(x) > 1]
    variance = sum(part for part, _ in parts)
    if not variance:
        return difference, 0.0, 1.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    p = 2 * float(student.sf(abs(difference) / variance**0.5, freedom))
    return difference, float(student.ppf(0.975, freedom)) * variance**0.5, p
