"""Published figures as the rows and runs that tables, statistics and plots are made of: no record is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.errors import UserError
from llmrec.published.tables import Frozen, published_files, read_frozen
from llmrec.records import Cost, Protocol, Provenance, Record, RunSpec, Status
from llmrec.report.evidence import Block, Line, Run

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class PublishedRun(Run):
    """A run as it was published."""

    seeded: bool = True
    why: str = ""  # no figure
    verified: str = "unverified"
    points: tuple[tuple[str, int, str, float], ...] = ()  # part, epoch, key, value of the learning curve
    figures: pl.DataFrame | None = field(default=None, compare=False)  # per unit

    @property
    def reason(self) -> str:
        return self.why

    @property
    def determinism(self) -> str:
        return self.verified

    @cached_property
    def curve(self) -> list[dict[str, Any]]:
        found: dict[tuple[str, int], dict[str, Any]] = {}
        for part, epoch, key, value in self.points:
            found.setdefault((part, epoch), {"part": part, "epoch": epoch})[key] = value
        return list(found.values())

    @cached_property
    def users(self) -> pl.DataFrame:
        assert self.figures is not None
        return self.figures


def read_blocks(name: str, root: Path | None = None) -> list[Block]:
    """The blocks of a published suite, in the suite's order of datasets and rows.

    Raises:
        UserError: it is not published, or a file is corrupt or has another schema version.
    """
    frozen = read_frozen(name, root)
    try:
        return _blocks(frozen)
    except (KeyError, ValueError, TypeError) as error:
        path, _ = published_files(name, root)
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not as it was published ({reason}). Make it again: llmrec publish {name}") from None


def _blocks(frozen: Frozen) -> list[Block]:
    import polars as pl

    about = frozen.about
    users = {key[0]: part for key, part in frozen.users.partition_by("run_id", as_dict=True).items()}
    blocks = []
    for dataset in about["datasets"]:
        table = frozen.figures.filter(pl.col("dataset") == dataset)
        lines = [_line(part, users) for part in table.partition_by("label", maintain_order=True)]
        blocks.append(Block(about["address"], dataset, tuple(about["metrics"]), tuple(about["seeds"]), tuple(lines)))
    return blocks


def _line(table: pl.DataFrame, users: dict[Any, pl.DataFrame]) -> Line:
    runs = [_run(part, users) for part in table.partition_by("run_id", maintain_order=True)]
    return Line(runs[0].label, runs[0].family, tuple(runs))


def _run(table: pl.DataFrame, users: dict[Any, pl.DataFrame]) -> PublishedRun:
    head = table.row(0, named=True)
    spec = RunSpec(
        task=head["task"], dataset=head["dataset"], protocol=Protocol.model_validate_json(head["protocol"]),
        method=head["method"], params=json.loads(head["params"]), seed=head["seed"],
    )  # fmt: skip
    if spec.run_id != head["run_id"]:
        raise ValueError(f"run {head['run_id']} does not have the id of its own specification")
    rows = list(zip(table["slice"], table["metric"], table["value"], strict=True))
    record = None if head["status"] == "missing" else _record(spec, head, rows)
    figures = users.get(head["run_id"])
    if head["status"] == Status.OK:
        if figures is None:
            raise ValueError(f"run {head['run_id']} has no figures per user")
        keys = ("dataset", "fold", "run_id")  # a column that is empty here belongs to another dataset's runs
        known = [c for c in figures.columns if c not in keys and figures[c].null_count() < len(figures)]
        figures = figures.select(known).sort("user")
    curve = tuple(
        (part.split(":")[1], int(part.split(":")[2]), metric, value)
        for part, metric, value in rows
        if part.startswith("curve:")
    )
    return PublishedRun(
        head["label"], spec, head["family"], record, True, None, head["control"], seeded=head["seeded"],
        why=head["reason"] or "", verified=head["determinism"] or "unverified", points=curve, figures=figures,
    )  # fmt: skip


def _record(spec: RunSpec, head: dict[str, Any], rows: Sequence[tuple[str, str, float]]) -> Record:
    parts: dict[str, dict[str, float]] = {}
    for part, metric, value in rows:
        if metric is not None and not part.startswith("curve:"):
            parts.setdefault(part, {})[metric] = value
    cost = {key: _whole(value) for key, value in parts.pop("cost", {}).items()}
    counts = {key: int(value) for key, value in parts.pop("counts", {}).items()}
    prints = {key: head[f"{key}_hash"] for key in ("data", "split", "code", "evaluation", "answers")}
    kept = ("commit", "dirty", "lock", "host", "platform", "cpu", "gpu", "driver", "threads", "finished")
    texts = {key: json.loads(head[key]) for key in ("versions", "models")}
    return Record(
        run_id=spec.run_id, machine_class=head["machine_class"], spec=spec, params=json.loads(head["settings"]),
        family=head["family"], status=head["status"], error=head["reason"], metrics=parts.pop("all", {}), slices=parts,
        counts=counts, fingerprints={key: value for key, value in prints.items() if value},
        provenance=Provenance(**{key: head[key] for key in kept}, **texts),
        cost=Cost.model_validate({**cost, "alone": head["alone"]}),
    )  # fmt: skip


def _whole(value: float) -> float | int:
    """Counts and bytes are whole numbers; the tidy table has one type of number."""
    return int(value) if value.is_integer() else value
