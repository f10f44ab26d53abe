"""Pages of methods: what each says of itself, its parameters, and all its results."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup

from llmrec.content import content_root
from llmrec.discover import MethodFile, Parameter
from llmrec.report.evidence import Line
from llmrec.report.formats import figure
from llmrec.report.memorised import memorised
from llmrec.report.table import Cell
from llmrec.report.words import (
    FAMILIES,
    count,
    display_name,
    fraction,
    gibibytes,
    metric_column,
    quantity,
)
from llmrec.site import charts, names
from llmrec.site.board_views import row_facts
from llmrec.site.catalogue import Site, Standing
from llmrec.site.write import Page

KINDS = {"items": "target item", "users": "user's history", "shown": "items shown", "requests": "request", "ties": ""}
"""What slices are of, in words; ties are no slice of the units."""


def method_pages(site: Site) -> Iterator[Page]:
    """The list of methods and a page for each."""
    listed = [_listed(site, name, found) for name, found in site.by_method.items()]
    yield Page("methods/index.html", "methods.html.jinja", {"methods": listed, "families": FAMILIES})
    for name, standings in site.by_method.items():
        yield Page(names.method_page(name), "method.html.jinja", _values(site, name, standings))


def _listed(site: Site, name: str, standings: list[Standing]) -> dict[str, Any]:
    file = site.file(name)
    return {
        "name": name,
        "family": _family(file, standings),
        "summary": (file.problem or file.summary) if file else "its file is gone",
        "rows": len(standings),
        "boards": len({standing.board.key for standing in standings}),
    }


def _family(file: MethodFile | None, standings: list[Standing]) -> str:
    return file.family if file and not file.problem else standings[0].line.family if standings else ""


def _values(site: Site, name: str, standings: list[Standing]) -> dict[str, Any]:
    file = site.file(name)
    results = [_result(standing) for standing in standings]
    models = [other for other in site.by_method if other.startswith(f"{name}:")]
    return {
        "name": name,
        "file": file,
        "where": _shown_path(file.path) if file else "",
        "family": FAMILIES.get(_family(file, standings), _family(file, standings)),
        "prose": [prose(text) for text in docstrings(file.path)] if file else [],
        "parameters": _parameters(file) if file else [],
        "results": results,
        "slices": [found for standing in standings if (found := _slices(standing))],
        "models": models,
        "memorised": list(dict.fromkeys(said for standing in standings for said in memorised(standing.line))),
        "suites": sorted({origin.suite for standing in standings for origin in standing.origins}),
    }


def _shown_path(path: Path) -> str:
    """A file as a reader of the repository finds it: no folder of this machine."""
    for root in (content_root(), Path(__file__).resolve().parents[2]):
        if path.resolve().is_relative_to(root):
            return path.resolve().relative_to(root).as_posix()
    return path.name


def docstrings(path: Path) -> list[str]:
    """The docstrings of a method's file and of its class; none where it cannot be read."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError):
        return []
    classes = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and any(isinstance(n, ast.FunctionDef) and n.name == "fit" for n in node.body)
    ]
    own = [_without_summary(text) for node in classes if (text := ast.get_docstring(node))]
    return [text for text in (*own, ast.get_docstring(tree)) if text]


def _without_summary(text: str) -> str:
    """A class's docstring without its first line, which heads the page."""
    return text.partition("\n")[2].strip("\n")


def prose(text: str) -> list[tuple[str, str]]:
    """A docstring as ("p", paragraph) and ("pre", indented block)."""
    parts: list[tuple[str, str]] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        for indented, some in _runs_of_lines(block):
            if indented:
                kept = textwrap.dedent(some)
                if parts and parts[-1][0] == "pre":
                    parts[-1] = ("pre", f"{parts[-1][1]}\n\n{kept}")
                else:
                    parts.append(("pre", kept))
            else:
                parts.append(("p", " ".join(some.split()).replace("``", "`")))
    return parts


def _runs_of_lines(block: str) -> list[tuple[bool, str]]:
    found: list[tuple[bool, list[str]]] = []
    for line in block.splitlines():
        indented = line.startswith("    ")
        if not found or found[-1][0] != indented:
            found.append((indented, []))
        found[-1][1].append(line)
    return [(indented, "\n".join(lines)) for indented, lines in found]


def _parameters(file: MethodFile) -> list[dict[str, str]]:
    said = comments(file.path)
    return [
        {
            "name": name, "type": found.annotation, "default": found.source or "required", "space": space(found),
            "comment": said.get(name, ""),
        }
        for name, found in file.params.items()
    ]  # fmt: skip


def space(parameter: Parameter) -> str:
    """A parameter's search space in words: "1 to 5000, log scale", "one of 20, 50"; '' if it is not searched."""
    if parameter.tune is None:
        return ""
    told = parameter.tune
    if "choices" in told:
        return "one of " + ", ".join(map(str, told["choices"]))
    if "low" in told and "high" in told:
        return f"{told['low']:g} to {told['high']:g}" + (", log scale" if told.get("log") else "")
    return "declared in the file"


def comments(path: Path) -> dict[str, str]:
    """What stands behind # on the line of each field of a file's classes, with the comment lines that go on below."""
    try:
        source = path.read_text("utf-8")
        tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, UnicodeDecodeError, OSError, tokenize.TokenError):
        return {}
    at = {token.start[0]: token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT}
    fields = [n for c in tree.body if isinstance(c, ast.ClassDef) for n in c.body if isinstance(n, ast.AnnAssign)]
    return {
        node.target.id: at[node.end_lineno]
        for node in fields
        if isinstance(node.target, ast.Name) and node.end_lineno in at and not at[node.end_lineno].startswith("fmt:")
    }


def _result(standing: Standing) -> dict[str, Any]:
    """A row of the table of results."""
    board, line = standing.board, standing.line
    task = board.block.task
    column = metric_column(task.primary)
    figures = line.figures(task.primary)
    bounds = board.findings.interval(line, task.primary)
    cell = Cell(fmean(figures), line.spread(task.primary), *(bounds or (None, None))) if figures else Cell()
    return {
        **row_facts(board, line),
        "board": board,
        "metric": task.primary,
        "figure": figure(cell, column),
        "value": cell.value,
        "bounds": f"[{fraction(cell.low)}, {fraction(cell.high)}]"
        if cell.low is not None and cell.high is not None
        else "",
        "best": board.findings.best is line,
        "reason": "" if line.done else line.runs[0].reason,
        "params": parameters_in_words(line),
        "cost": _cost(line),
        "runs": [run.spec.run_id for run in line.runs if run.record],
    }


def parameters_in_words(line: Line) -> str:
    """The parameters that differ from the method's defaults."""
    return ", ".join(f"{key} = {value}" for key, value in line.runs[0].spec.params.items()) or "defaults"


def _cost(line: Line) -> dict[str, tuple[float, str]]:
    """Mean cost of one run: name -> (value to sort by, text)."""
    if not line.done:
        return {}
    shows = {
        "fit_cpu_seconds": quantity, "answer_cpu_seconds": quantity, "parameters": count, "peak_rss_bytes": gibibytes,
    }  # fmt: skip
    return {key: (value := fmean(line.costs(key)), show(value)) for key, show in shows.items()}


def _slices(standing: Standing) -> dict[str, Any] | None:
    """A row's primary metric on each slice, beside that of the best baseline."""
    board, line = standing.board, standing.line
    if not line.done or line.control:
        return None
    baseline = board.findings.baseline
    reference = baseline if baseline is not None and baseline.label != line.label else None
    groups: dict[str, list[charts.Bar]] = {}
    unit = board.block.task.unit
    for name in dict.fromkeys(name for record in line.records for name in record.slices):
        kind, _, part = name.partition(":")
        size = line.records[0].slices.get(name, {}).get(unit, 0.0)
        if not KINDS.get(kind) or not size:
            continue
        theirs = _slice(reference, name) if reference else None
        groups.setdefault(KINDS[kind], []).append(
            charts.Bar(part, _slice(line, name), theirs, f" ({size:,.0f} {unit})")
        )
    if not groups:
        return None
    metric = board.block.task.primary
    chart: Markup = charts.bars([*groups.items()], metric, reference.label if reference else "")
    return {
        "board": board,
        "name": display_name(line),
        "chart": chart,
        "reference": reference.label if reference else "",
    }


def _slice(line: Line, name: str) -> float | None:
    metric = line.task.primary
    figures = [record.slices[name][metric] for record in line.records if metric in record.slices.get(name, {})]
    return fmean(figures) if figures else None
