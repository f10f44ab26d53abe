"""Leaderboards: the rows of all suites that ask one task of one dataset under one protocol, in one table.

A row of two suites that says the same (method, parameters, protocol) is one row with the runs of both. One table never
mixes two protocols, what is fitted on included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from llmrec import stats
from llmrec.records import Protocol
from llmrec.report.evidence import Block, Line, Run
from llmrec.report.significance import LEVEL, Against, Findings
from llmrec.seeds import content_hash
from llmrec.site.names import slug
from llmrec.suite import Suite
from llmrec.tasks import TASKS


@dataclass(frozen=True)
class Origin:
    """Where a row stands: a suite as a command names it, and the row's label there."""

    suite: str
    label: str


@dataclass(frozen=True)
class Board:
    """One leaderboard. ``block`` has the merged rows, finished or not, controls last."""

    key: str  # names its files
    protocol: Protocol  # without a fold
    block: Block
    origins: dict[str, tuple[Origin, ...]]  # row's label -> where it stands, the first one first
    apart: tuple[str, ...]  # rows that were judged on another split, so that they cannot stand here

    @property
    def suites(self) -> list[str]:
        return list(dict.fromkeys(origin.suite for origins in self.origins.values() for origin in origins))

    @property
    def words(self) -> str:
        """The protocol in a few words: its name, and the options that are not the default."""
        return ", ".join(
            [self.protocol.name, *(_option(name, value) for name, value in options(self.protocol).items())]
        )

    @cached_property
    def findings(self) -> Standings:
        return Standings(self.block)


@dataclass
class Standings(Findings):
    """The statistics of a board, in which every two rows are compared once and for all."""

    @cached_property
    def pairs(self) -> dict[tuple[str, str], stats.Comparison]:
        """(label of A, label of B) -> A minus B at the primary metric, turned where lower is better; p uncorrected."""
        lines = self.block.finished
        found = stats.compare_each_with_each([self.block.task.better * line.values(self.primary) for line in lines])
        return {(lines[i].label, lines[j].label): comparison for (i, j), comparison in found.items()}

    @cached_property
    def corrected(self) -> dict[tuple[str, str], float]:
        """Of every pair the p-value, Holm-corrected over all pairs of the board."""
        keys = [key for key in self.pairs if key[0] < key[1]]
        p_values = stats.holm([self.pairs[key].p for key in keys])
        both = dict(zip(keys, p_values, strict=True))
        return both | {(b, a): p for (a, b), p in both.items()}

    def wanted(self, metric: str) -> bool:
        return metric in self.block.metrics

    def against(self, reference: Line) -> list[Against]:
        """Every other row against one, Holm-corrected over the others."""
        return self._against(reference)

    def _against(self, reference: Line | None) -> list[Against]:
        if reference is None:
            return []
        others = [line for line in self.block.finished if line.label != reference.label]
        raw = [self.pairs[line.label, reference.label] for line in others]
        corrected = stats.holm([found.p for found in raw])
        return [
            Against(line, reference, found.difference, found.low, found.high, float(p), found.effect)
            for line, found, p in zip(others, raw, corrected, strict=True)
        ]

    def distinct(self, a: str, b: str) -> bool:
        """Whether two rows differ: Holm-corrected over all pairs, and not a matter of seeds."""
        found = self.pairs[a, b]
        return self.corrected[a, b] < LEVEL and not found.low <= 0 <= found.high


def boards(gathered: Sequence[tuple[Suite, Sequence[Block]]]) -> list[Board]:
    """The leaderboards of some suites (each with its blocks) by task, dataset and protocol; what has no record at all
    is left out."""
    groups: dict[tuple[str, str, str], list[tuple[Suite, Block]]] = {}
    for suite, blocks in gathered:
        for block in blocks:
            if any(run.record for run in block.runs):
                key = (suite.task, block.dataset, suite.protocol.model_dump_json())
                groups.setdefault(key, []).append((suite, block))
    order = list(TASKS)
    return [_merged(groups[key]) for key in sorted(groups, key=lambda key: (order.index(key[0]), *key[1:]))]


def board_key(task: str, dataset: str, protocol: Protocol) -> str:
    """A leaderboard's name in addresses: task, dataset, protocol, and the options that are not the default."""
    said = [f"{name}-{_plain(value)}".replace("_", "-") for name, value in options(protocol).items()]
    return "-".join([task, slug(dataset), protocol.name, *(slug(text.replace("+", "-and-")) for text in said)])


def options(protocol: Protocol) -> dict[str, Any]:
    """The options of a protocol that are not the default, as JSON has them."""
    usual = Protocol(name=protocol.name).model_dump(mode="json")  # type: ignore[call-arg]
    return {name: value for name, value in protocol.model_dump(mode="json").items() if value != usual[name]}


def _option(name: str, value: Any) -> str:
    known = {("fit_data", "train+valid"): "fitted on train + validation", ("ties", "file"): "ties as in the file"}
    return known.get((name, _plain(value))) or f"{name.replace('_', ' ')} {_plain(value)}"


def _plain(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def _merged(group: Sequence[tuple[Suite, Block]]) -> Board:
    """One board from the blocks of suites that ask the same."""
    rows: dict[str, Line] = {}  # what a row says -> the row
    origins: dict[str, list[Origin]] = {}
    for _, block in group:
        for line in block.lines:
            said = _says(line)
            rows[said] = _joined(rows[said], line) if said in rows else line
            origins.setdefault(said, []).append(Origin(block.suite, line.label))
    labels = _labels(rows, origins)
    rows = {said: _called(line, labels[said]) for said, line in rows.items()}
    suite, first = group[0]
    lines, apart = _on_one_split([*rows.values()])
    by_label = {rows[_says(line)].label: published for _, block in group for line in block.lines
                if (published := block.published.get(line.label))}  # fmt: skip
    block = Block(
        suite=first.suite if len(group) == 1 else "SUITE",
        dataset=first.dataset,
        metrics=tuple(dict.fromkeys(metric for _, block in group for metric in block.metrics)),
        seeds=tuple(sorted({seed for _, block in group for seed in block.seeds})),
        lines=tuple(sorted(lines, key=lambda line: line.control)),
        published=by_label,
    )
    key = board_key(suite.task, first.dataset, suite.protocol)
    stands = {labels[said]: tuple(found) for said, found in origins.items()}
    return Board(key, suite.protocol, block, stands, tuple(apart))


def _labels(rows: Mapping[str, Line], origins: Mapping[str, Sequence[Origin]]) -> dict[str, str]:
    """Every row's name: its label, which of several so called the one with most seeds keeps; the others say their
    suite, and where even that is taken a piece of what they say. Among rows of several suites a label that does not
    name the method says it: "random" may be ids of a generator."""
    mixed = len({origin.suite for found in origins.values() for origin in found}) > 1
    given: dict[str, str] = {}
    for said in sorted(rows, key=lambda said: -len(rows[said].by_seed)):
        method, labels = rows[said].runs[0].spec.method, [origin.label for origin in origins[said]]
        label = method if method in labels else labels[0]
        if mixed and method.rpartition(":")[2].lower() not in label.lower():
            label = f"{label} · {method}"
        for name in (label, f"{label} · {origins[said][0].suite}", f"{label} · {said[:6]}"):
            if name not in given.values():
                given[said] = name
                break
    return given


def _says(line: Line) -> str:
    """What makes two rows one: everything of their runs but seed and fold."""
    spec = line.runs[0].spec
    protocol = spec.protocol.model_copy(update={"fold": None})
    return content_hash([spec.method, spec.params, protocol.model_dump(mode="json"), line.control])


def _called(line: Line, label: str) -> Line:
    return replace(line, label=label, runs=tuple(replace(run, label=label) for run in line.runs))


def _joined(line: Line, other: Line) -> Line:
    """The runs of both, each once; of a run that only one has a record of, that one."""
    runs: dict[str, Run] = {run.spec.run_id: run for run in line.runs}
    for run in other.runs:
        known = runs.get(run.spec.run_id)
        if known is None or known.record is None:
            runs[run.spec.run_id] = replace(run, label=line.label)
    ordered = sorted(runs.values(), key=lambda run: (run.spec.seed, run.fold or 0))
    return replace(line, runs=tuple(ordered), tuned=line.tuned or other.tuned)


def _on_one_split(lines: list[Line]) -> tuple[list[Line], list[str]]:
    """Rows that can be paired over users, and the labels of those that were judged on another split (stale ones)."""
    first: dict[int | None, str] = {}
    kept, apart = [], []
    for line in sorted(lines, key=lambda line: not all(run.fresh for run in line.done)):  # today's split decides
        prints = {run.fold: run.record.fingerprints.get("split", "") for run in line.done if run.record}
        if line.control or all(first.setdefault(fold, found) == found for fold, found in prints.items()):
            kept.append(line)
        else:
            apart.append(line.label)
    return [line for line in lines if line in kept], apart
