r"""Every number that prose may need, under a name: ``\N{ml-100k/sasrec/ndcg@10}`` in main.tex.

    SUITE/ROW/METRIC, with /low, /high (95 % interval) and /spread (over seeds); SUITE/ROW/fit-cpu-seconds, ...
    ("(not yet run)" where a row has no figures)
    SUITE/ROW/gain, /gain-low, /gain-high, /gain-relative, /p   against the best baseline
    SUITE/best and SUITE/baseline (names), SUITE/best/figure, ...
    claim/ID/verdict, claim/ID/effect, claims/total, claims/supported, ...
    data/NAME/users, data/NAME/items, ...

A suite of several datasets has SUITE/DATASET where others have SUITE.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from llmrec.cardfiles import raw_card
from llmrec.claims.decide import Decided
from llmrec.claims.show import effect
from llmrec.manuscript.results import Results
from llmrec.report.evidence import Block, Line
from llmrec.report.formats import latex_text
from llmrec.report.significance import Findings
from llmrec.report.words import (
    count,
    display_name,
    fraction,
    gibibytes,
    listed,
    metric_column,
    p_value,
    quantity,
    signed,
)
from llmrec.report.words import effect as effect_size

HEAD = r"""% Made by `llmrec paper`; not to be edited.
\newcommand{\N}[1]{\ifcsname n:#1\endcsname\csname n:#1\endcsname\else
  \PackageError{llmrec}{there is no number called `#1'}{generated/numbers.tex lists all of them.}\fi}
"""
NOT_YET = "(not yet run)"
COSTS = {
    "fit_cpu_seconds": quantity, "answer_cpu_seconds": quantity, "fit_seconds": quantity, "answer_seconds": quantity,
    "answers_per_second": quantity, "parameters": count, "peak_rss_bytes": gibibytes,
}  # fmt: skip


def all_numbers(results: Results) -> dict[str, str]:
    """Name -> figure as prose shows it, in a fixed order."""
    found: dict[str, str] = {}
    datasets: set[str] = set()
    for suite in results.suites:
        blocks = results.blocks(suite)
        for block in blocks:
            place = suite if len(blocks) == 1 else f"{suite}/{block.dataset}"
            found.update((f"{place}/{key}", value) for key, value in _of_block(block, results.findings(block)))
            datasets.add(block.dataset)
    for dataset in sorted(datasets):
        told = raw_card(dataset).get("statistics", {})
        found.update((f"data/{dataset}/{key}", f"{value:,}") for key, value in told.items())
    found.update(_of_claims(results))
    return found


def latex(numbers: dict[str, str]) -> str:
    r"""numbers.tex: the macro ``\N`` and what it knows."""
    lines = [rf"\expandafter\def\csname n:{key}\endcsname{{{latex_text(value)}}}" for key, value in numbers.items()]
    return HEAD + "\n".join(lines) + "\n"


def slug(label: str) -> str:
    """A row's label as part of a name: small letters, digits, hyphens."""
    kept = "".join(c if c.isalnum() and c.isascii() else "-" for c in label.lower())
    return "-".join(part for part in kept.split("-") if part)


def _of_block(block: Block, findings: Findings) -> Iterator[tuple[str, str]]:
    yield "units", f"{block.n_users:,}"
    yield "rows", str(len(block.finished))
    yield "seeds", str(len(block.seeds))
    yield "runs", str(sum(run.ok for run in block.runs))
    for line in block.lines:
        for key, value in _of_line(line, block, findings) if line.done else _of_none(block):
            yield f"{slug(line.label)}/{key}", value
    if findings.best:
        yield "best", display_name(findings.best)
        yield "best/figure", fraction(fmean(findings.best.figures(block.task.primary)))
        if bounds := findings.interval(findings.best, block.task.primary):
            yield "best/low", fraction(bounds[0])
            yield "best/high", fraction(bounds[1])
        yield "tied", listed([display_name(line) for line in findings.tied]) or "none"
    if findings.baseline is None:
        return
    yield "baseline", display_name(findings.baseline)
    base = fmean(findings.baseline.figures(block.task.primary))
    for found in findings.against_baseline:
        name = slug(found.line.label)
        yield f"{name}/gain", signed(found.difference)
        yield f"{name}/gain-low", signed(found.low)
        yield f"{name}/gain-high", signed(found.high)
        if not block.task.pooled:
            yield f"{name}/gain-relative", f"{100 * found.difference / base:+.0f} %"
        yield f"{name}/p", p_value(found.p)
        yield f"{name}/effect", effect_size(found.effect)


def _of_line(line: Line, block: Block, findings: Findings) -> Iterator[tuple[str, str]]:
    for metric in dict.fromkeys((*block.metrics, *block.task.accuracy, "coverage@10", "popularity@10", "tail@10")):
        figures = line.figures(metric)
        if not figures:
            continue
        show = metric_column(metric).show
        yield metric, show(fmean(figures))
        if (spread := line.spread(metric)) is not None:
            yield f"{metric}/spread", show(spread)
        if (bounds := findings.interval(line, metric)) and not line.control:
            yield f"{metric}/low", show(bounds[0])
            yield f"{metric}/high", show(bounds[1])
    for key, show in COSTS.items():
        yield key.replace("_", "-"), show(fmean(line.costs(key)))


def _of_none(block: Block) -> Iterator[tuple[str, str]]:
    """Of a row without figures: the text stays true, and is built, while runs are missing."""
    for key in (*dict.fromkeys((*block.metrics, *block.task.accuracy)), *(key.replace("_", "-") for key in COSTS)):
        yield key, NOT_YET


def _of_claims(results: Results) -> Iterator[tuple[str, str]]:
    claims = results.claims
    yield "claims/total", str(len(claims))
    for verdict in ("supported", "refuted", "not decided", "not yet run"):
        yield f"claims/{slug(verdict)}", str(sum(decided.verdict == verdict for decided in claims))
    for decided in claims:
        yield from _of_claim(decided)


def _of_claim(decided: Decided) -> Iterator[tuple[str, str]]:
    name = f"claim/{decided.claim.id}"
    yield f"{name}/verdict", decided.verdict
    measured = [test for test in decided.tests if test.difference is not None]
    for number, test in enumerate(measured, 1):
        place = name if len(measured) == 1 else f"{name}/{number}"
        yield f"{place}/effect", effect(test)
        if test.corrected is not None:
            yield f"{place}/p", p_value(test.corrected)
