"""The report as one HTML file that needs no network: tables, figures as inline SVG, style and script inside."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.records import Record
from llmrec.report.audit import Remark
from llmrec.report.evidence import Block, Line, Run
from llmrec.report.formats import bounds, figure, table_bounds
from llmrec.report.table import Cell, Table
from llmrec.report.words import (
    Column,
    cost_unit,
    display_name,
    protocol_words,
)

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Chapter:
    """What the page shows of one dataset."""

    block: Block
    sentences: Sequence[str]
    main: Table
    full: Table
    statistics: Table | None
    no_statistics: str  # why there is no table of statistics
    reproduced: Table | None  # published figures beside ours
    explanations: Table | None  # what share of what methods say about their items is true
    tuning: Table | None  # what the search for each row's parameters was given
    figures: dict[str, tuple[str, str]]  # name -> (svg, what it shows)
    remarks: Sequence[Remark]


def render(chapters: Sequence[Chapter], title: str, suite: str) -> str:
    """The page's HTML."""
    found = environment()
    found.globals |= {"facts": facts, "how_made": how_made, "cost_unit": cost_unit}
    return found.get_template("page.html.jinja").render(
        chapters=chapters, title=title, suite=suite, task=chapters[0].block.task
    )


def environment(*folders: Path) -> Environment:
    """What templates of ``folders``, then of this one, are rendered with: all text is escaped, nothing may be missing,
    and `sheet.jinja` finds the functions that it calls."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "figure": figure, "bounds": bounds, "shows_bounds": table_bounds, "sort_key": sort_key, "tip": tip,
    }  # fmt: skip
    made.filters["with_code"] = with_code
    return made


def with_code(text: str) -> str:
    """Text whose `quoted` parts are set as code; everything is escaped."""
    from markupsafe import Markup, escape

    parts = [
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def sort_key(cell: Cell) -> str:
    """What a column is sorted by; empty cells come last."""
    return "" if cell.value is None else repr(cell.value)


def tip(cell: Cell, column: Column) -> str:
    """A cell's figure in words, for readers who point at it."""
    if cell.value is None:
        return ""
    parts = [f"{column.heading}: {cell.value:.6g}"]
    if cell.spread is not None:
        parts.append(f"standard deviation over seeds {cell.spread:.2g}")
    if cell.low is not None:
        parts.append(f"95 % interval {bounds(cell, column)}")
    if cell.tied:
        parts.append("not distinguishable from the best")
    return ", ".join(parts)


def facts(block: Block) -> list[tuple[str, str]]:
    """What the table rests on: protocol, dataset, seeds, users, machine, code."""
    records = [record for line in block.lines if line.family != "external" for record in line.records]
    seeds = ", ".join(map(str, block.seeds))
    several = len(block.folds) > 1
    protocol = block.spec.protocol.model_copy(update={"fold": None}) if several else block.spec.protocol
    shown = [
        ("Task", f"{block.task.name}: {block.task.asks}"),
        ("Dataset", block.dataset),
        ("Protocol", protocol_words(protocol, block.spec.task)),
        (block.task.unit.capitalize(), _asked(block)),
        *([("Folds", f"{', '.join(map(str, block.folds))}; each tests in turn")] if several else []),
        ("Seeds", f"{seeds} (a method without random streams runs once)"),
    ]
    if not records:
        return shown
    targets = sorted({record.counts["targets"] for record in records if "targets" in record.counts})
    if targets:
        shown.append(("Targets", " or ".join(f"{n:,}" for n in targets) + (" in each fold" if several else "")))
    return [
        *shown,
        *_ties(records),
        ("Machine", "; ".join(dict.fromkeys(map(_machine, records)))),
        ("Code", "; ".join(dict.fromkeys(map(_code, records)))),
        ("Made", _when(records)),
    ]


def _ties(records: list[Record]) -> list[tuple[str, str]]:
    """How much the rule for equal times decides, where times are known; of several folds the one where it is most."""
    counts = [record.counts for record in records if "ties" in record.counts]
    if not counts:
        return []
    worst = max(counts, key=lambda count: count["tied_test_users"])
    users, touched = worst.get("users", 0), worst["tied_test_users"]
    said = f"{worst['ties']:,} events at the same time as another of their user; "
    if not touched:
        return [("Ties in time", said + "no target hangs on their order")]
    return [("Ties in time", f"{said}the targets of {touched:,} of {users:,} users hang on their order")]


def _asked(block: Block) -> str:
    if not block.n_users:
        return "none yet"
    return f"{block.n_users:,}" + (" with a target" if block.task.name == "topn" else "")


def how_made(block: Block) -> list[dict[str, Any]]:
    """For each row: its runs, how surely they repeat, and the command that makes it again."""
    return [
        {
            "name": display_name(line),
            "parameters": _parameters(line),
            "runs": [_run(run) for run in line.runs],
            "determinism": ", ".join(sorted({run.determinism for run in line.done})) or "—",
            "command": _command(block, line),
        }
        for line in block.lines
    ]


def _command(block: Block, line: Line) -> str:
    if line.family == "external":
        return f"llmrec score {block.suite} FILE --name {shlex.quote(line.label)} -d {block.dataset}"
    return f"llmrec run {block.suite} -m {shlex.quote(line.label)} -d {block.dataset}"


def _parameters(line: Line) -> str:
    """The parameters that differ from the method's defaults."""
    params = line.runs[0].spec.params
    return ", ".join(f"{key} = {value}" for key, value in params.items()) or "defaults"


def _run(run: Run) -> dict[str, str]:
    status = str(run.record.status) if run.record else "not yet run"
    return {"id": run.spec.run_id, "seed": str(run.spec.seed), "status": status if run.fresh or not run.ok else "stale"}


def _machine(record: Record) -> str:
    made = record.provenance
    parts = [made.cpu or "CPU not recorded", f"{made.threads} thread{'s' * (made.threads != 1)} a run"]
    parts += [made.gpu] if made.gpu else []
    return ", ".join([*parts, *([f"host {made.host}"] if made.host else [])])


def _code(record: Record) -> str:
    commit = record.provenance.commit[:12] or "commit not recorded"
    return f"{commit} + uncommitted changes" if record.provenance.dirty else commit


def _when(records: Sequence[Record]) -> str:
    times = sorted(record.provenance.finished[:10] for record in records if record.provenance.finished)
    if not times:
        return "date not recorded"
    return times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
