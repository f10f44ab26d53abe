"""The cache of parsed datasets: one folder a recipe (card and readers), written whole, checked at every use.

Several processes share it: whoever comes second waits for the first to parse. A file that is not the one that was
written, whatever happened to it, makes the folder void, and the dataset is parsed again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

_NOTE = "note.json"


def read(folder: Path) -> tuple[dict[str, pl.DataFrame], dict[str, Any]] | None:
    """The tables and the facts that `write` left, or None where there are none or a file is not as it was written."""
    try:
        note = json.loads((folder / _NOTE).read_text("utf-8"))
        if note["sum"] != _sum_of_note(note):
            return None
        with ThreadPoolExecutor(1) as pool:  # sums are taken while tables are read
            sums = pool.submit(lambda: {name: _sum(folder / f"{name}.parquet") for name in note["tables"]})
            frames = {name: pl.read_parquet(folder / f"{name}.parquet") for name in note["tables"]}
            return (frames, note["facts"]) if sums.result() == note["tables"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError):
        return None


def write(folder: Path, frames: Mapping[str, pl.DataFrame], facts: Mapping[str, Any]) -> None:
    """Put tables and facts in the folder's place, which they take as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".parsing-") as temporary:
        staged = Path(temporary) / "tables"
        staged.mkdir()
        sums = {}
        for name, frame in frames.items():
            path = staged / f"{name}.parquet"
            frame.write_parquet(path, compression="uncompressed", statistics=False)
            sums[name] = _sum(path)
        note: dict[str, Any] = {"tables": sums, "facts": dict(facts)}
        note["sum"] = _sum_of_note(note)
        (staged / _NOTE).write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        staged.rename(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While one process is in here for a folder, every other waits."""
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        yield


def _sum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sum_of_note(note: Mapping[str, Any]) -> str:
    told = json.dumps([note["tables"], note["facts"]], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()
