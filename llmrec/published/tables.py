"""The two files of a published suite: their columns, their version, and how they are written and read.

Files carry no date and rows have one order: the same records give the same bytes (with the same release of polars).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.content import results_folder
from llmrec.errors import UserError, nearest

if TYPE_CHECKING:
    import polars as pl

SCHEMA_VERSION = 1
VERSION_KEY = "llmrec.published"

TEXT = (
    "run_id", "machine_class", "suite", "dataset", "task", "protocol", "label", "method", "family", "params_hash",
    "params", "settings", "status", "reason", "slice", "metric", "determinism", "commit", "lock", "host", "platform",
    "cpu", "gpu", "driver", "versions", "models", "finished", "data_hash", "split_hash", "code_hash",
    "evaluation_hash", "answers_hash",
)  # fmt: skip
"""Columns of text. ``protocol``, ``params`` (those that differ from the defaults), ``settings`` (all parameters in
force), ``versions`` and ``models`` are canonical JSON; ``params_hash`` is the hash of ``settings``."""

COLUMNS = (
    "run_id", "suite", "task", "dataset", "fold", "protocol", "label", "method", "family", "control", "seeded",
    "params_hash", "params", "settings", "seed", "status", "reason", "slice", "metric", "value", "low", "high", "units",
    "machine_class", "determinism", "commit", "dirty", "lock", "host", "platform", "cpu", "gpu", "driver", "threads",
    "alone", "versions", "models", "finished", "data_hash", "split_hash", "code_hash", "evaluation_hash",
    "answers_hash",
)  # fmt: skip
"""All columns, in order. ``slice``: "all"; a part such as "items:tail"; "cost" (seconds, bytes, counts); "counts";
"curve:fit:7" for the seventh epoch of fitting. ``low``, ``high``: 95 % bootstrap interval over the run's ``units``
(users, impressions or requests); null where a figure is no mean over units. A run without figures has one row whose
metric and value are null, and whose ``reason`` says why."""

NUMBERS = {"fold": "Int64", "seed": "Int64", "units": "Int64", "threads": "Int64"}
FLAGS = ("control", "seeded", "dirty", "alone")


@dataclass(frozen=True)
class Frozen:
    """What the two files of a suite hold. ``about``: the suite's title, task, datasets, metrics, seeds and the name by
    which a command knows it."""

    about: dict[str, Any]
    figures: pl.DataFrame  # the columns COLUMNS
    users: pl.DataFrame  # dataset, fold, user, run_id, then one column a metric


def published_files(name: str, root: Path | None = None) -> tuple[Path, Path]:
    """Where the figures of a suite and those of its users lie."""
    folder = (root or results_folder()) / "published"
    return folder / f"{name}.parquet", folder / f"{name}.users.parquet"


def published_names(root: Path | None = None) -> list[str]:
    """The published suites, in order of their names."""
    folder = (root or results_folder()) / "published"
    return sorted(p.stem for p in folder.glob("*.parquet") if not p.stem.endswith(".users"))


def figures_table(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    """The tidy table of rows with the fields COLUMNS."""
    import polars as pl

    return pl.DataFrame(rows, schema={name: _type(name) for name in COLUMNS}, orient="row")


def write_frozen(frozen: Frozen, name: str, root: Path | None = None) -> list[Path]:
    """Write both files, each whole or not at all, first that of the users."""
    about = {VERSION_KEY: str(SCHEMA_VERSION), "about": json.dumps(frozen.about, sort_keys=True, ensure_ascii=False)}
    figures, users = published_files(name, root)
    figures.parent.mkdir(parents=True, exist_ok=True)
    for table, path in ((frozen.users, users), (frozen.figures, figures)):
        partial = path.with_name(f".{path.name}.partial")
        table.write_parquet(
            partial, compression="zstd", compression_level=22, statistics=False, row_group_size=1 << 20, metadata=about
        )
        partial.replace(path)
    return [figures, users]


def read_frozen(name: str, root: Path | None = None) -> Frozen:
    """Read the two files of a published suite.

    Raises:
        UserError: the suite is not published, a file cannot be read, or has another schema version.
    """
    figures, users = published_files(name, root)
    if not figures.exists():
        known = published_names(root)
        hint = nearest(name, known) if known else " Nothing is published yet."
        raise UserError(f"{figures}: suite {name!r} is not published. Run: llmrec publish {name}.{hint}")
    tables: list[pl.DataFrame] = []
    about: dict[str, Any] = {}
    for path in (figures, users):
        table, about = _read(path, name)
        tables.append(table)
    return Frozen(about, *tables)


def _read(path: Path, name: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    import polars as pl

    again = f"`llmrec publish {name}` makes it again"
    try:
        told = pl.read_parquet_metadata(path)
        version = told.get(VERSION_KEY)
        if version != str(SCHEMA_VERSION):
            found = f"schema version {version}" if version else "no schema version"
            raise UserError(
                f"{path}: {found}, but this llmrec reads version {SCHEMA_VERSION}; {again}, or read it with the "
                "release that wrote it."
            )
        return pl.read_parquet(path), json.loads(told["about"])
    except FileNotFoundError:
        raise UserError(f"{path}: not here; {again}.") from None
    except (pl.exceptions.PolarsError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read ({reason}); {again}.") from None


def _type(name: str) -> Any:
    import polars as pl

    if name in NUMBERS:
        return pl.Int64
    return pl.Boolean if name in FLAGS else pl.String if name in TEXT else pl.Float64
