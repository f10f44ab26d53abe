"""Pages of leaderboards: one a board, and a matrix and a page for every two of its rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from markupsafe import Markup

from llmrec.report import page
from llmrec.report.audit import audit
from llmrec.report.evidence import Line
from llmrec.report.reproduced import reproduced_table
from llmrec.report.significance import LEVEL
from llmrec.report.table import main_table
from llmrec.report.words import (
    FAMILIES,
    cost_columns,
    cost_unit,
    display_name,
    fraction,
    metric_column,
    p_value,
    protocol_words,
    signed,
)
from llmrec.report.write import caption
from llmrec.seeds import canonical_json
from llmrec.site import charts, names
from llmrec.site.boards import Board
from llmrec.site.catalogue import Site
from llmrec.site.names import Place
from llmrec.site.write import Page
from llmrec.types import Floats


def board_pages(site: Site) -> Iterator[Page]:
    """The leaderboards."""
    for board in site.boards:
        yield Page(names.board_page(board.key), "board.html.jinja", _board_values(site, board))


def _board_values(site: Site, board: Board) -> dict[str, Any]:
    block, findings = board.block, board.findings
    columns = [*(metric_column(key) for key in block.metrics), *cost_columns(block)]
    tied = {line.label for line in findings.tied}
    table = main_table(block, columns, caption(block), findings.interval, tied)
    lines = {line.label: line for line in block.lines}
    accuracy = [c.key for c in columns if c.accuracy and c.better]
    return {
        "board": board,
        "block": block,
        "table": table,
        "rows": {label: row_facts(board, line) for label, line in lines.items()},
        "facts": [fact for fact in page.facts(block) if fact[0] not in ("Task", "Dataset")],
        "sentences": findings.sentences(),
        "suites_of": board.suites,
        "baselines": [line.label for line in block.finished],
        "chosen": _first_baseline(board),
        "gain_metrics": accuracy,
        "gains": Markup(_script_json(_gains(board, accuracy))),
        "scatter": _scatter(board),
        "families": [
            (key, words) for key, words in FAMILIES.items() if any(line.family == key for line in block.lines)
        ],
        "others": [other for other in site.by_dataset[block.dataset] if other is not board],
        "published": reproduced_table(block),
        "remarks": audit(block),
        "protocol": protocol_words(board.protocol, block.spec.task),
    }


def row_facts(board: Board, line: Line) -> dict[str, Any]:
    """What a row of the leaderboard says beside its figures."""
    stale = any(run.ok and not run.fresh for run in line.runs)
    done, planned = len(line.by_seed), len(dict.fromkeys(run.spec.seed for run in line.runs))
    return {
        "line": line,
        "name": display_name(line),
        "method": line.runs[0].spec.method,
        "external": line.family == "external",
        "family": line.family,
        "suites": [origin.suite for origin in board.origins[line.label]],
        "stale": stale,
        "seeds": f"{done} of {planned}" if done < planned else str(done),
        "done": done,
    }


def _first_baseline(board: Board) -> str:
    """What gains are shown against until a reader chooses: the best baseline, else the best row."""
    chosen = board.findings.baseline or board.findings.best
    return chosen.label if chosen else ""


def _gains(board: Board, metrics: list[str]) -> dict[str, Any]:
    """What the page's script needs: each row's figures, and every baseline's verdict on every row."""
    finished = board.block.finished
    verdicts: dict[str, dict[str, str]] = {}
    signs = {"better": "+", "worse": "-", "not distinguishable": "="}
    for line in finished:
        verdicts[line.label] = {found.line.label: signs[found.verdict] for found in board.findings.against(line)}
    return {
        "primary": board.block.task.primary,
        "better": {metric: metric_column(metric).better for metric in metrics},
        "figures": {
            line.label: {m: fmean(values) for m in metrics if (values := line.figures(m))}
            for line in board.block.lines
            if line.done
        },
        "verdicts": verdicts,
    }


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    return canonical_json(value).replace("<", "\\u003c")


def _scatter(board: Board) -> Markup | None:
    block, unit = board.block, cost_unit(board.block)
    key = f"fit_{unit.replace(' ', '_').lower()}"
    root = Place(names.board_page(board.key)).root
    points = [
        charts.Point(
            display_name(line), line.family, fmean(line.costs(key)), fmean(figures),
            root + names.method_page(line.runs[0].spec.method),
        )
        for line in block.finished
        if line.family != "external" and (figures := line.figures(block.task.primary))
    ]  # fmt: skip
    if not points:
        return None
    return charts.cost_scatter(points, block.task.primary, block.task.better, f"cost of one fit ({unit}, log scale)")


@dataclass(frozen=True)
class Duel:
    """One metric of a pair."""

    metric: str
    a: str
    b: str
    difference: str
    wins: int
    ties: int
    losses: int


def pair_pages(site: Site) -> Iterator[Page]:
    """Of every board with two finished rows or more the matrix of differences, and a page for every two."""
    for board in site.boards:
        finished = board.block.finished
        if len(finished) < 2:
            continue
        yield Page(names.pairs_page(board.key), "pairs.html.jinja", _matrix_values(board))
        metrics = _metrics(board)
        means = {
            line.label: {metric: line.values(metric).mean(axis=0) for metric in metrics} for line in finished
        }  # per unit, [units]
        for a, b in itertools.combinations(finished, 2):
            path = names.pair_page(board.key, a.label, b.label)
            yield Page(path, "pair.html.jinja", _pair_values(board, a, b, means))


def _metrics(board: Board) -> list[str]:
    """Metrics that are known of each unit in every finished row: the primary one, then those of the table."""
    known = [set(line.per_unit) for line in board.block.finished]
    wanted = dict.fromkeys([board.block.task.primary, *board.block.metrics])
    return [metric for metric in wanted if all(metric in some for some in known)]


def _matrix_values(board: Board) -> dict[str, Any]:
    findings, task = board.findings, board.block.task
    order = sorted(board.block.finished, key=lambda line: -task.better * fmean(line.figures(task.primary) or [0.0]))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for a, b in itertools.permutations(order, 2):
        found, p = findings.pairs[a.label, b.label], findings.corrected[a.label, b.label]
        apart = findings.distinct(a.label, b.label)
        kind = ("better" if found.difference > 0 else "worse") if apart else "tied"
        words = f"{a.label} minus {b.label}: {signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]"
        cells[a.label, b.label] = {
            "text": signed(found.difference), "kind": kind, "tip": f"{words}, corrected p {p_value(p)}",
            "page": _page_of(board, a.label, b.label),
        }  # fmt: skip
    return {"board": board, "block": board.block, "order": order, "cells": cells, "level": LEVEL}


def _page_of(board: Board, a: str, b: str) -> str:
    """The one page of two rows, whichever comes first."""
    labels = [line.label for line in board.block.finished]
    first, second = sorted((a, b), key=labels.index)
    return names.pair_page(board.key, first, second)


def _pair_values(board: Board, a: Line, b: Line, means: dict[str, dict[str, Floats]]) -> dict[str, Any]:
    block, task, findings = board.block, board.block.task, board.findings
    ours, theirs = means[a.label], means[b.label]
    duels = [_duel(metric, ours[metric], theirs[metric], task.better) for metric in ours]
    primary = task.primary
    found = findings.pairs[a.label, b.label]
    gaps = task.better * (ours[primary] - theirs[primary])
    metric = primary if task.better > 0 else f"{primary}, turned: + is better"
    p, apart = findings.corrected[a.label, b.label], findings.distinct(a.label, b.label)
    ahead, behind = (a, b) if found.difference > 0 else (b, a)
    verdict = (
        f"{display_name(ahead)} beats {display_name(behind)} at {primary} by {fraction(abs(found.difference))}."
        if apart
        else f"{display_name(a)} and {display_name(b)} cannot be told apart at {primary}."
    )
    return {
        "board": board, "block": block, "a": a, "b": b, "duels": duels, "found": found, "corrected": p,
        "verdict": verdict, "units": len(gaps), "first": duels[0],
        "others": [line for line in block.finished if line not in (a, b)],
        "page_of": lambda one, other: _page_of(board, one.label, other.label),
        "outcome": charts.outcome(duels[0].wins, duels[0].ties, duels[0].losses, task.unit),
        "histogram": charts.histogram(gaps, a.label, b.label, metric, task.unit),
        "bubbles": charts.bubbles(ours[primary], theirs[primary], a.label, b.label, primary, task.unit),
        "origin_a": board.origins[a.label][0], "origin_b": board.origins[b.label][0],
        "show": {"signed": signed, "p": p_value, "name": display_name},
    }  # fmt: skip


def _duel(metric: str, ours: Floats, theirs: Floats, better: int) -> Duel:
    gaps = better * (ours - theirs)
    wins, losses = int((gaps > 1e-12).sum()), int((gaps < -1e-12).sum())
    a, b = float(np.mean(ours)), float(np.mean(theirs))
    return Duel(metric, fraction(a), fraction(b), signed(better * (a - b)), wins, len(gaps) - wins - losses, losses)
