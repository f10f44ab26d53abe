"""Pages of runs: what was run, its figures, with what it was made, and the commands that do it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from llmrec.records import Record
from llmrec.report.evidence import Run
from llmrec.report.words import count, gibibytes, metric_column, protocol_words, quantity
from llmrec.report.write import every_metric
from llmrec.seeds import canonical_json
from llmrec.site import charts, names
from llmrec.site.catalogue import Site, Standing
from llmrec.site.write import Page
from llmrec.tasks import TASKS


def run_pages(site: Site) -> Iterator[Page]:
    """The list of runs and a page for each that has a record."""
    runs = [_listed(run, standings) for run, standings in site.runs.values()]
    yield Page("runs/index.html", "runs.html.jinja", {"runs": sorted(runs, key=lambda run: run["order"])})
    for run_id, (run, standings) in site.runs.items():
        yield Page(names.run_page(run_id), "run.html.jinja", _values(run, standings))


def _listed(run: Run, standings: list[Standing]) -> dict[str, Any]:
    record = _of(run)
    primary = standings[0].board.block.task.primary
    return {
        "id": run.spec.run_id, "method": run.spec.method, "dataset": run.spec.dataset, "task": run.spec.task,
        "protocol": run.spec.protocol.name, "seed": run.spec.seed, "fold": run.fold, "state": state(run),
        "metric": primary, "value": record.metrics.get(primary), "commit": record.provenance.commit[:8],
        "order": (run.spec.task, run.spec.dataset, run.spec.method, run.spec.seed, run.fold or 0, run.spec.run_id),
        "determinism": run.determinism if run.ok else "",
    }  # fmt: skip


def state(run: Run) -> str:
    """How a run stands, in one word: ok, stale, or how it failed."""
    record = _of(run)
    return str(record.status) if not run.ok else "ok" if run.fresh else "stale"


def _of(run: Run) -> Record:
    assert run.record is not None
    return run.record


def _values(run: Run, standings: list[Standing]) -> dict[str, Any]:
    record = _of(run)
    block = standings[0].board.block
    metrics = [key for key in every_metric(block) if key in record.metrics]
    return {
        "run": run,
        "record": record,
        "state": state(run),
        "standings": standings,
        "figures": _figures(record, metrics),
        "primary": block.task.primary,
        "slices": _slices(record, block.task.primary),
        "settings": [
            (key, canonical_json(value), key in record.spec.params) for key, value in sorted(record.params.items())
        ],
        "protocol": protocol_words(record.spec.protocol, record.spec.task),
        "cost": _cost(record),
        "curve": _curve(run, block.task.primary, block.task.better),
        "commands": commands(run, standings),
        "verified": _verified(run),
        "specification": json.dumps(record.spec.model_dump(mode="json"), indent=1, ensure_ascii=False),
    }


def commands(run: Run, standings: list[Standing]) -> list[tuple[str, str]]:
    """(what it does, command) of everything that makes a run or its answers again."""
    origin = standings[0].origins[0]
    suite, label, dataset = (shlex.quote(text) for text in (origin.suite, origin.label, run.spec.dataset))
    if run.family == "external":
        return [("Scores another program's answers again", f"llmrec score {suite} FILE --name {label} -d {dataset}")]
    seeds = f" --seeds {run.spec.seed}"
    chosen = f"llmrec run {suite} -m {label} -d {dataset}{seeds}"
    found = [("Makes it anew, answers included, in a folder of your own", f"{chosen} --results my-results")]
    if run.ok and run.fresh:
        check = ("Runs it once more and compares", f"llmrec verify {run.spec.run_id}")
        return [check, *found]
    again = "--stale" if run.ok else "--retry"
    what = "Makes the stale record anew, in place" if run.ok else "Tries it again, in place"
    return [(what, f"{chosen} {again}"), *found]


def _figures(record: Record, metrics: list[str]) -> dict[str, Any]:
    """Metrics by name and cut-off: "rows" of (name, unit, {cut-off: text}) and the "cuts" there are, "" for none."""
    rows: dict[str, tuple[str, dict[str, str]]] = {}
    for key in metrics:
        name, _, cut = key.partition("@")
        column = metric_column(key)
        rows.setdefault(name, (column.unit, {}))[1][cut] = column.show(record.metrics[key])
    found = {cut for _, some in rows.values() for cut in some}
    return {"cuts": sorted(found, key=lambda cut: int(cut or 0)), "rows": rows}


def _slices(record: Record, primary: str) -> list[tuple[str, str, str]]:
    """(slice, figure, sizes) of every slice that has the primary metric."""
    show, measured = metric_column(primary).show, TASKS[record.spec.task].metrics
    found = []
    for name, part in record.slices.items():
        sizes = [f"{size:,.0f} {unit}" for unit, size in part.items() if unit not in measured]
        if primary in part:
            found.append((name, show(part[primary]), ", ".join(sizes)))
    return found


def _cost(record: Record) -> list[tuple[str, str]]:
    cost = record.cost
    alone = "nothing ran beside it" if cost.alone else "the machine was shared: wall-clock seconds are no measure"
    rows = [
        ("fit", f"{quantity(cost.fit_cpu_seconds)} CPU s, {quantity(cost.fit_seconds)} s"),
        ("answer", f"{quantity(cost.answer_cpu_seconds)} CPU s, {quantity(cost.answer_seconds)} s"),
        ("whole run", f"{quantity(cost.total_cpu_seconds)} CPU s, {quantity(cost.total_seconds)} s"),
        ("answers per second", f"{quantity(cost.answers_per_second)} (wall-clock)"),
        ("memory", f"{gibibytes(cost.peak_rss_bytes)} GiB"),
        ("GPU memory", f"{gibibytes(cost.peak_gpu_bytes)} GiB" if cost.peak_gpu_bytes else ""),
        ("parameters", count(cost.parameters)),
        ("epochs", str(cost.epochs) if cost.epochs is not None else ""),
        ("alone", alone),
    ]
    return [(name, text) for name, text in rows if text]


def _curve(run: Run, primary: str, better: int) -> Markup | None:
    """The learning curve on validation, where there is one; of a fit in several parts the first."""
    watched = [point for point in run.curve if primary in point]
    part = watched[0].get("part") if watched else None
    points = [(float(p["epoch"]), float(p[primary])) for p in watched if p.get("part") == part]
    return charts.curve(points, "epoch (count)", f"{primary} on validation", better) if len(points) > 1 else None


def _verified(run: Run) -> dict[str, Any] | None:
    """What `llmrec verify` wrote beside the record, if it speaks of these answers."""
    path = run.folder / "verify.json" if run.folder else None
    if path is None or not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found if found.get("answers") == _of(run).fingerprints.get("answers") else None
