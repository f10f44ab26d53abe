"""Reading results: the records of a suite, and one tidy table of all that they say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from llmrec.content import PACKAGE, results_folder
from llmrec.discover import MethodFile
from llmrec.errors import UserError
from llmrec.provenance import machine_class
from llmrec.records import Record, Status, read_record
from llmrec.staleness import state
from llmrec.suite import Planned, Suite, load_suite

if TYPE_CHECKING:
    import polars as pl


EXTERNAL = MethodFile("external", PACKAGE / "external.py", family="external", seeded=False)
"""What stands for the method of answers that another program made (see `llmrec.scoring`)."""


class SuiteRun(NamedTuple):
    """One planned run and its record, if there is one; ``fresh``: ok, and what today's code would give."""

    planned: Planned
    record: Record | None
    fresh: bool


def run_folder(run_id: str, machine: str, root: Path | None = None) -> Path:
    """Where the record of a run on a class of machines lies (see `llmrec.records`)."""
    return (root or results_folder()) / "runs" / run_id / machine


def find_record(planned: Planned, root: Path | None = None, *, elsewhere: bool = True) -> Record | None:
    """The record of a planned run: this machine class's, else (``elsewhere``) the newest ok one of another class.

    Raises:
        UserError: the record is corrupt or has another schema version.
    """
    home = run_folder(planned.spec.run_id, machine_class(planned.file), root)
    own = read_record(home) if home.is_dir() else None
    if not elsewhere or (own is not None and own.status == Status.OK):
        return own
    others = [read_record(folder) for folder in _record_folders(home.parent) if folder != home]
    ok = [record for record in others if record.status == Status.OK]
    return max(ok, key=lambda record: record.provenance.finished, default=own)


def read_suite(
    suite: Suite | str | Path,
    *,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    seeds: Sequence[int] = (),
    root: Path | None = None,
    extra: Path | None = None,
) -> list[SuiteRun]:
    """Every run that a suite plans, with its record and whether that is fresh. ``root``: the results folder.

    Raises:
        UserError: the suite has a mistake, or a record is corrupt.
    """
    suite = suite if isinstance(suite, Suite) else load_suite(suite, extra)
    found = []
    for planned in suite.runs(methods, datasets, seeds):
        record = find_record(planned, root)
        found.append(SuiteRun(planned, record, state(record, planned.file) == "fresh"))
    return found + [
        run
        for run in external_runs(suite, root)
        if (not methods or run.planned.label in methods)
        and (not datasets or run.planned.spec.dataset in datasets)
        and (not seeds or run.planned.spec.seed in seeds)
    ]


def external_runs(suite: Suite, root: Path | None = None) -> list[SuiteRun]:
    """Records of other programs' answers (`llmrec score`) to a suite's datasets under its protocol; of several files
    scored under one name and seed the newest."""
    newest: dict[tuple[str, str, int], Record] = {}
    for path in sorted(((root or results_folder()) / "runs").glob("[!.]*/*/record.json")):
        if b'"external:' not in path.read_bytes():
            continue
        record = read_record(path.parent)
        spec = record.spec
        if (spec.task, spec.protocol) == (suite.task, suite.protocol) and spec.dataset in suite.datasets:
            key = (spec.method, spec.dataset, spec.seed)
            newest[key] = max(newest.get(key, record), record, key=lambda r: r.provenance.finished)
    return [
        SuiteRun(
            Planned(record.spec.method.partition(":")[2], record.spec, EXTERNAL),
            record,
            state(record, EXTERNAL) == "fresh",
        )
        for record in newest.values()
    ]


def record_by_prefix(prefix: str, root: Path | None = None) -> tuple[Record, Path]:
    """The record whose run id begins with ``prefix``, and its folder; of several machine classes the newest.

    Raises:
        UserError: no run or more than one begins so.
    """
    runs = (root or results_folder()) / "runs"
    matches = sorted(p for p in runs.glob(f"{prefix}*") if p.is_dir() and not p.name.startswith("."))
    if not prefix or not matches:
        raise UserError(f"no run {prefix!r} in {runs}. `llmrec status SUITE` lists run ids.")
    if len(matches) > 1:
        raise UserError(f"{len(matches)} runs begin with {prefix!r}: {', '.join(m.name for m in matches[:5])}.")
    found = [(read_record(folder), folder) for folder in _record_folders(matches[0])]
    if not found:
        raise UserError(f"{matches[0]}: no record in it. Run the suite again.")
    return max(found, key=lambda pair: pair[0].provenance.finished)


def load_results(suite: Suite | str | Path, *, root: Path | None = None, extra: Path | None = None) -> pl.DataFrame:
    """All figures of a suite, one a row: run_id, suite, task, dataset, fold, label, method, family, control, seed,
    status, fresh, machine_class, slice, metric, value.

    ``slice`` is "all" for metrics over all users, "items:tail" and so on for parts of them, and "cost" for what the run
    used. A run without figures (failed, not yet run) has one row with metric and value null.
    """
    import polars as pl

    suite = suite if isinstance(suite, Suite) else load_suite(suite, extra)
    rows: list[tuple[object, ...]] = []
    for planned, record, fresh in read_suite(suite, root=root):
        head = (
            planned.spec.run_id, suite.name, planned.spec.task, planned.spec.dataset, planned.spec.protocol.fold,
            planned.label, planned.spec.method, planned.file.family, planned.control, planned.spec.seed,
            str(record.status) if record else "missing", fresh,
            record.machine_class if record else None,
        )  # fmt: skip
        figures = _figures(record) if record else []
        rows += [(*head, *figure) for figure in figures] or [(*head, None, None, None)]
    text, number = pl.String, pl.Float64
    schema = {
        "run_id": text, "suite": text, "task": text, "dataset": text, "fold": pl.Int64, "label": text, "method": text,
        "family": text, "control": pl.Boolean, "seed": pl.Int64, "status": text, "fresh": pl.Boolean,
        "machine_class": text,
        "slice": text, "metric": text, "value": number,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _figures(record: Record) -> list[tuple[str, str, float]]:
    """(slice, metric, value) of everything that a record has measured."""
    if record.status != Status.OK:
        return []
    found = [("all", metric, value) for metric, value in record.metrics.items()]
    found += [(name, metric, value) for name, part in record.slices.items() for metric, value in part.items()]
    cost = record.cost.model_dump()
    return found + [("cost", key, float(value)) for key, value in cost.items() if value is not None]


def _record_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if (p / "record.json").exists()) if folder.is_dir() else []
