"""How a finished run appears among the results: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llmrec.errors import UserError
from llmrec.records import Record, Status, write_record

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)

KEPT = (
    "record.json", "ranks.parquet", "curve.jsonl", "users.parquet", "units.parquet", "answers.parquet",
    "explanations.jsonl", "log.txt", "verify.json",
)  # fmt: skip
"""Files of a run's folder, see `llmrec.records`; what else lies in the staging folder is left behind."""


def staging_folder(root: Path, run_id: str, machine: str) -> Path:
    """Where a run is made. Whoever holds the run's lock owns it; what a killed runner left there is removed."""
    folder = root / "runs" / f".staging-{run_id}-{machine}"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def publish(staging: Path, home: Path) -> None:
    """Put a staging folder in its place, where an earlier record may lie."""
    for path in staging.iterdir():
        if path.name not in KEPT:
            path.unlink()
    home.parent.mkdir(parents=True, exist_ok=True)
    old = staging.with_name(staging.name + "-old")
    shutil.rmtree(old, ignore_errors=True)
    if home.exists():
        home.rename(old)
    staging.rename(home)
    _sync(home.parent)
    shutil.rmtree(old, ignore_errors=True)


def publish_failure(record: Record, staging: Path, home: Path) -> None:
    """Put the record of a run that gave no figures in place; only its log and a pruned trial's curve stay."""
    for path in staging.iterdir():
        if path.name != "log.txt" and (record.status, path.name) != (Status.PRUNED, "curve.jsonl"):
            path.unlink()
    write_record(record, staging)
    _sync(staging)
    publish(staging, home)


def check_writable(root: Path) -> None:
    """Raises UserError where the results folder cannot be written."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        raise UserError(disk_message(root, error.strerror or str(error))) from None


@contextlib.contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one clear message."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise UserError(disk_message(root, error.strerror or str(error))) from None


def disk_message(root: Path, reason: str) -> str:
    return (
        f"the results folder {root} cannot be written: {reason}. Nothing was left half-written. Make room, or choose "
        "another folder with --results DIR or $LLMREC_RESULTS."
    )


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
