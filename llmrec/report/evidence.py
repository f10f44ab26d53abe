"""What a report is made from: a suite's runs, row by row, and the figures of each user.

numpy and polars are imported where figures per user are read: the table that ends every `llmrec run` needs neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from llmrec.errors import UserError
from llmrec.literature import Published
from llmrec.records import Record, RunSpec, Status
from llmrec.results import SuiteRun, read_suite, run_folder
from llmrec.suite import Suite, suite_names
from llmrec.tasks import TASKS, Task
from llmrec.tuned import Tuned, by_other_code, space_of

if TYPE_CHECKING:
    import polars as pl

    from llmrec.types import Floats

LONGEST_REASON = 240  # characters
BASELINES = ("non-personal", "collaborative", "sequential", "content")
"""Families among which the best baseline is chosen; the others are language-model methods, or external."""


@dataclass(frozen=True)
class Run:
    """One planned run and what is there of it."""

    label: str
    spec: RunSpec
    family: str
    record: Record | None = None
    fresh: bool = False
    folder: Path | None = None
    control: bool = False

    @property
    def fold(self) -> int | None:
        return self.spec.protocol.fold

    @property
    def ok(self) -> bool:
        return self.record is not None and self.record.status == Status.OK

    @property
    def reason(self) -> str:
        """Why there is no figure; '' where there is one."""
        if self.record is None:
            return "not yet run"
        if self.ok:
            return ""
        return shorten(
            f"{self.record.status}: {self.record.error or 'no reason recorded'}", LONGEST_REASON, placeholder=" …"
        )

    @property
    def determinism(self) -> str:
        """The class that `llmrec verify` found, else the record's own word."""
        path = self.folder / "verify.json" if self.folder else None
        if self.record is None:
            return "unverified"
        if path is None or not path.exists():
            return self.record.determinism
        verified = json.loads(path.read_text("utf-8"))
        same = verified.get("answers") == self.record.fingerprints.get("answers")
        return str(verified["determinism"]) if same else "unverified"

    @cached_property
    def curve(self) -> list[dict[str, Any]]:
        """The learning curve's points, {"epoch": ..., "loss": ..., "ndcg@10": ...}; [] if there is none."""
        path = self.folder / "curve.jsonl" if self.folder else None
        if path is None or not path.exists():
            return []
        points = [json.loads(text) for text in path.read_text("utf-8").splitlines() if text.strip()]
        return [p for p in points if "epoch" in p]

    @cached_property
    def users(self) -> pl.DataFrame:
        """Figures per unit (user, impression, request): "user" and one column a metric, sorted by it.

        Raises:
            UserError: no file with them is there, or it is corrupt.
        """
        assert self.folder is not None
        return read_users(self.folder)


@dataclass(frozen=True)
class Line:
    """One row of a table: a method with its runs, one a seed; with several official folds one a seed and fold."""

    label: str
    family: str
    runs: tuple[Run, ...]
    tuned: Tuned | None = None  # the study that found its parameters; None: they were not searched
    tuned_by_other_code: bool = False  # than today's
    searchable: bool = True  # False: its method has no field to search, or the row sets them all

    @property
    def control(self) -> bool:
        """Whether the row stands apart and never competes."""
        return self.runs[0].control

    @property
    def task(self) -> Task:
        return TASKS[self.runs[0].spec.task]

    @cached_property
    def folds(self) -> tuple[int | None, ...]:
        return tuple(dict.fromkeys(run.fold for run in self.runs))

    @cached_property
    def by_seed(self) -> tuple[tuple[Run, ...], ...]:
        """Finished runs of each seed, in order; a seed of which a fold is missing does not count."""
        seeds = dict.fromkeys(run.spec.seed for run in self.runs)
        found = (tuple(run for run in self.runs if run.ok and run.spec.seed == seed) for seed in seeds)
        return tuple(runs for runs in found if len(runs) == len(self.folds))

    @cached_property
    def done(self) -> tuple[Run, ...]:
        """The finished runs that count."""
        return tuple(run for runs in self.by_seed for run in runs)

    @property
    def records(self) -> list[Record]:
        return [run.record for run in self.done if run.record]

    def figures(self, metric: str) -> list[float]:
        """A metric of every seed that has it: the mean over its folds, where there are several."""
        seeds = [[run.record.metrics.get(metric) for run in runs if run.record] for runs in self.by_seed]
        whole = [[value for value in values if value is not None] for values in seeds]
        return [fmean(values) for values in whole if len(values) == len(self.folds)]

    def spread(self, metric: str) -> float | None:
        """Standard deviation over seeds; over folds where there are several; None where there is one of each."""
        if len(self.folds) == 1:
            figures = self.figures(metric)
        else:
            runs = [[r.record.metrics.get(metric) for r in self.done if r.fold == f and r.record] for f in self.folds]
            figures = [fmean(known) for values in runs if (known := [v for v in values if v is not None])]
        return stdev(figures) if len(figures) > 1 else None

    def costs(self, key: str) -> list[float]:
        return [float(getattr(record.cost, key)) for record in self.records]

    def values(self, metric: str) -> Floats:
        """Figures per unit, float64 [seeds, units]; the same units in every line of a block."""
        import numpy as np

        return np.stack([units[metric].to_numpy() for units in self.units])

    @cached_property
    def units(self) -> tuple[pl.DataFrame, ...]:
        """Of each seed the figures per unit; a user's figures in several folds are averaged."""
        import polars as pl

        if len(self.folds) == 1:
            return tuple(runs[0].users for runs in self.by_seed)
        tables = (pl.concat([run.users for run in runs]) for runs in self.by_seed)
        return tuple(table.group_by("user").mean().sort("user") for table in tables)

    @property
    def per_unit(self) -> list[str]:
        """The metrics that are known of each unit, the primary one first."""
        columns = set(self.units[0].columns)
        return sorted((m for m in self.task.accuracy if m in columns), key=lambda m: m != self.task.primary)

    @property
    def baseline(self) -> bool:
        return self.family in BASELINES


@dataclass(frozen=True)
class Block:
    """One dataset of a suite: what one table shows."""

    suite: str  # as a command names it: a built-in suite's name, or the file's
    dataset: str
    metrics: tuple[str, ...]
    seeds: tuple[int, ...]
    lines: tuple[Line, ...]
    published: Mapping[str, Sequence[Published]] = field(default_factory=dict)  # label -> figures it is held against

    @property
    def task(self) -> Task:
        return TASKS[self.spec.task]

    @property
    def runs(self) -> list[Run]:
        return [run for line in self.lines for run in line.runs]

    @property
    def finished(self) -> list[Line]:
        """The finished rows that compete: all but controls."""
        return [line for line in self.lines if line.done and not line.control]

    @property
    def folds(self) -> tuple[int | None, ...]:
        return self.lines[0].folds

    @property
    def spec(self) -> RunSpec:
        return self.lines[0].runs[0].spec

    @property
    def n_users(self) -> int:
        """Units that were asked: users with a target, impressions, requests."""
        return len(self.finished[0].units[0]) if self.finished else 0

    @property
    def with_history(self) -> int | None:
        """Users asked of whom anything is known then; None where records do not say, or several folds say it."""
        known = [r.counts.get("test_users_with_history") for line in self.finished for r in line.records]
        return known[0] if known and len(self.folds) == 1 else None


def gather(suite: Suite, *, root: Path | None = None) -> list[Block]:
    """A suite's runs by dataset and row, with the records of other programs' answers (`llmrec score`) added.

    Raises:
        UserError: a corrupt record.
    """
    found = read_suite(suite, root=root)
    address = suite.name if suite_names().get(suite.name) == suite.path else suite.path.name
    blocks = []
    for dataset in suite.datasets:
        runs = [as_run(item, root) for item in found if item.planned.spec.dataset == dataset]
        labels = list(dict.fromkeys(run.label for run in runs))
        searches = _searches(suite, dataset)
        lines = [
            replace(_line([run for run in runs if run.label == label]), **searches.get(label, {})) for label in labels
        ]
        primary = TASKS[suite.task].primary
        metrics = suite.metrics if primary in suite.metrics else (primary, *suite.metrics)
        blocks.append(Block(address, dataset, metrics, suite.seeds, tuple(lines), suite.published(dataset)))
    return blocks


def as_run(item: SuiteRun, root: Path | None = None) -> Run:
    """A planned run with the folder of its record."""
    planned, record, fresh = item
    folder = run_folder(record.run_id, record.machine_class, root) if record else None
    return Run(planned.label, planned.spec, planned.file.family, record, fresh, folder, planned.control)


def read_users(folder: Path) -> pl.DataFrame:
    """Figures per unit from users.parquet or units.parquet, or computed again from ranks.parquet: user, then one column
    a metric.

    Raises:
        UserError: no such file is there, or it cannot be read.
    """
    import polars as pl

    files = (("users.parquet", pl.read_parquet), ("units.parquet", pl.read_parquet), ("ranks.parquet", _from_ranks))
    for name, read in files:
        path = folder / name
        if path.exists():
            try:
                return read(path).sort("user")
            except (pl.exceptions.PolarsError, OSError) as error:
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"{path}: cannot be read ({reason}). Delete {folder} and run the suite again."
                ) from None
    raise UserError(f"{folder}: no file with figures per user is there. Delete it and run the suite again.")


def _from_ranks(path: Path) -> pl.DataFrame:
    import numpy as np
    import polars as pl

    from llmrec.evaluate.metrics import per_user
    from llmrec.stored import read_ranks
    from llmrec.types import Targets

    frame = read_ranks(path.parent).sort("user", maintain_order=True)
    users, counts = np.unique(frame["user"].to_numpy(), return_counts=True)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    targets = Targets(users.astype(np.int32), indptr, frame["item"].to_numpy())
    return pl.DataFrame({"user": targets.users, **per_user(frame["rank"].to_numpy(), targets)})


def check_same_users(runs: Sequence[Run]) -> None:
    """Figures are paired over users, so all runs (of one fold) must have been asked the same ones.

    Raises:
        UserError: two runs were judged on different users.
    """
    first: dict[int | None, Run] = {}
    for run in runs:
        other = first.setdefault(run.fold, run)
        if not run.users["user"].equals(other.users["user"]):
            raise UserError(
                f"{other.label} (run {other.spec.run_id}) and {run.label} (run {run.spec.run_id}) were judged on "
                f"different users ({len(other.users)} and {len(run.users)}), so they cannot stand in one table. "
                "`llmrec run SUITE --stale` makes outdated runs again."
            )


def _searches(suite: Suite, dataset: str) -> dict[str, dict[str, Any]]:
    """Label -> what a line says of the search for its parameters."""
    studies, found = suite.studies(dataset), {}
    for entry in suite.entries:
        file, study = suite.file(entry), studies.get(entry.label)
        found[entry.label] = {
            "tuned": study,
            "tuned_by_other_code": study is not None and by_other_code(study, file),
            "searchable": bool(space_of(entry.name, file, entry.fixed)),
        }
    return found


def _line(runs: list[Run]) -> Line:
    return Line(runs[0].label, runs[0].family, tuple(sorted(runs, key=lambda run: (run.spec.seed, run.fold or 0))))
