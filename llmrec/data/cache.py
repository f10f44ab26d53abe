"""The cache of parsed datasets: one folder a recipe (card and readers), written whole, checked at every use.

Several processes share it: whoever comes second waits for the first to parse. A file that is not the one that was
written makes the folder void, and the dataset is parsed again. A file counts as the one that was written while the
system says that nothing has been written to it since (size and times of change, which no program can set back), else by
its SHA-256: a cache that was copied is good, too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
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
        paths = {name: folder / f"{name}.parquet" for name in note["tables"]}
        for name, path in paths.items():
            if _stamp(path) != note["stamps"][name] and _sum(path) != note["tables"][name]:
                return None
        frames = pl.collect_all([pl.scan_parquet(path) for path in paths.values()])
        return dict(zip(paths, frames, strict=True)), note["facts"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError):
        return None


def write(folder: Path, frames: Mapping[str, pl.DataFrame], facts: Mapping[str, Any]) -> None:
    """Put tables and facts in the folder's place, which they take as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".parsing-") as temporary:
        staged = Path(temporary) / "tables"
        staged.mkdir()
        paths = {name: staged / f"{name}.parquet" for name in frames}
        for name, frame in frames.items():
            frame.write_parquet(paths[name], compression="uncompressed", statistics=False)
        note: dict[str, Any] = {
            "tables": {name: _sum(path) for name, path in paths.items()},
            "stamps": {name: _stamp(path) for name, path in paths.items()},
            "facts": dict(facts),
        }
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


def _stamp(path: Path) -> list[int]:
    """Size, and when the file was last written to and last changed in any way."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _sum_of_note(note: Mapping[str, Any]) -> str:
    told = json.dumps([note["tables"], note["stamps"], note["facts"]], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()
