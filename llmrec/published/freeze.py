"""From records to the published files of a suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec import stats
from llmrec.published.checks import check_block
from llmrec.published.parts import with_parts
from llmrec.published.tables import COLUMNS, Frozen, figures_table
from llmrec.records import Record, Status
from llmrec.report.evidence import Block, Run, gather
from llmrec.results import EXTERNAL
from llmrec.seeds import canonical_json, content_hash
from llmrec.suite import Suite

if TYPE_CHECKING:
    import polars as pl

Interval = tuple[float, float] | tuple[None, None]

NONE = (None, None)


def freeze(suite: Suite, *, root: Path | None = None, partial: bool = False) -> Frozen:
    """Everything that a suite's ok records say, as two tables; with ``partial`` of the datasets that have any.

    Raises:
        UserError: something in them must not be published (see `llmrec.published.checks`), or a record is corrupt.
    """
    blocks = gather(suite, root=root)
    begun = [block for block in blocks if any(run.ok for run in block.runs)]
    blocks = begun if partial and begun else blocks
    for block in blocks:
        check_block(block, suite, partial=partial, root=root)
    rows = [row for block in blocks for row in _block_rows(block, suite)]
    about = {
        "address": blocks[0].suite, "title": suite.title, "task": suite.task,
        "datasets": [name for name in suite.datasets if any(block.dataset == name for block in blocks)],
        "metrics": list(blocks[0].metrics), "seeds": list(suite.seeds), "threads": suite.threads,
    }  # fmt: skip
    return Frozen(about, figures_table(rows), _users(blocks, suite.slices))


def _block_rows(block: Block, suite: Suite) -> Iterator[tuple[object, ...]]:
    intervals = _intervals(block)
    for run in block.runs:
        file = suite.files.get(run.spec.method, EXTERNAL)
        head = _head(run, suite, file.seeded)
        bounds = intervals.get(run.spec.run_id, {})
        for part, metric, value in _figures(run):
            low, high = bounds.get(metric or "", NONE) if part == "all" else NONE
            units = len(run.users) if low is not None else None
            here = {"slice": part, "metric": metric, "value": value, "low": low, "high": high, "units": units}
            yield tuple({**head, **here}.get(name) for name in COLUMNS)


def _head(run: Run, suite: Suite, seeded: bool) -> dict[str, Any]:
    """What stands in every row of a run."""
    spec, record = run.spec, run.record
    protocol = spec.protocol.model_dump(mode="json")
    head = {
        "run_id": spec.run_id, "suite": suite.name, "task": spec.task, "dataset": spec.dataset, "fold": run.fold,
        "protocol": canonical_json(protocol), "label": run.label, "method": spec.method, "family": run.family,
        "control": run.control, "seeded": seeded, "params": canonical_json(spec.params), "seed": spec.seed,
        "status": str(record.status) if record else "missing", "reason": run.reason or None, "slice": "all",
    }  # fmt: skip
    return head | (_made(run, record) if record else {})


def _made(run: Run, record: Record) -> dict[str, Any]:
    """With what, where and from what a record was made."""
    made, prints = record.provenance, record.fingerprints
    return {
        "params_hash": content_hash(record.params), "settings": canonical_json(record.params),
        "machine_class": record.machine_class, "determinism": run.determinism, "commit": made.commit,
        "dirty": made.dirty, "lock": made.lock, "host": made.host, "platform": made.platform, "cpu": made.cpu,
        "gpu": made.gpu, "driver": made.driver, "threads": made.threads, "alone": record.cost.alone,
        "versions": canonical_json(made.versions), "models": canonical_json(made.models), "finished": made.finished,
        "data_hash": prints.get("data"), "split_hash": prints.get("split"), "code_hash": prints.get("code"),
        "evaluation_hash": prints.get("evaluation"), "answers_hash": prints.get("answers"),
    }  # fmt: skip


def _figures(run: Run) -> Iterator[tuple[str, str | None, float | None]]:
    """(slice, metric, value) of all that a run has measured; one empty figure where it has none."""
    record = run.record
    if record is None or record.status != Status.OK:
        yield "all", None, None
        return
    yield from (("all", metric, value) for metric, value in record.metrics.items())
    for part, figures in record.slices.items():
        yield from ((part, metric, value) for metric, value in figures.items())
    cost = record.cost.model_dump(exclude={"alone"}, exclude_none=True)
    yield from (("cost", key, float(value)) for key, value in cost.items())
    yield from (("counts", key, float(value)) for key, value in record.counts.items())
    for point in run.curve:
        part = f"curve:{point.get('part', 'fit')}:{point['epoch']}"
        yield from ((part, key, float(value)) for key, value in point.items() if key not in ("part", "epoch"))


def _intervals(block: Block) -> dict[str, dict[str, Interval]]:
    """95 % intervals over units of each run's own metrics; none where metrics are no means over units."""
    if block.task.pooled:
        return {}
    runs = {run.spec.run_id: run for run in block.runs if run.ok}
    sizes = {len(run.users) for run in runs.values()}
    found: dict[str, dict[str, Interval]] = {}
    for size in sorted(sizes):  # users are drawn once for all runs of one size
        keys = [
            (run, metric)
            for run in runs.values()
            if len(run.users) == size
            for metric in block.task.accuracy
            if metric in run.users.columns and run.record and metric in run.record.metrics
        ]
        some = stats.bootstrap_intervals([run.users[metric].to_numpy() for run, metric in keys])
        for (run, metric), interval in zip(keys, some, strict=True):
            found.setdefault(run.spec.run_id, {})[metric] = (interval.low, interval.high)
    return found


def _users(blocks: list[Block], slices: tuple[str, ...]) -> pl.DataFrame:
    """The figures of each unit: dataset, fold, user, run_id, then the task's metrics and those on slices. Rows of one
    user lie together, because runs agree about most users: that is what makes the file small."""
    import polars as pl

    tables = []
    for block in blocks:
        for run in {run.spec.run_id: run for run in block.runs if run.ok}.values():
            table = with_parts(run, slices)
            on_slices = (name for name in table.columns if name.startswith(slices)) if slices else ()
            kept = ["user", *(metric for metric in block.task.accuracy if metric in table.columns), *on_slices]
            about = {"dataset": run.spec.dataset, "fold": run.fold, "run_id": run.spec.run_id}
            columns = [
                pl.lit(value, pl.Int64 if key == "fold" else pl.String).alias(key) for key, value in about.items()
            ]
            tables.append(table.select(kept).with_columns(columns))
    keys = ["dataset", "fold", "user", "run_id"]
    table = pl.concat(tables, how="diagonal")
    return table.select(*keys, pl.exclude(keys)).sort(keys)
