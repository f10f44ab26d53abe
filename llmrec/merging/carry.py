"""Putting records in place: all that come are copied beside their places first, then each takes its own at once."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from llmrec.errors import UserError
from llmrec.merging.incoming import Found, Key
from llmrec.publish import KEPT, check_writable, disk_errors, publish, staging_folder
from llmrec.results import run_folder
from llmrec.stored import read_ranks


def carry(found: Sequence[Found], root: Path, advance: Callable[[int], None] = lambda count: None) -> None:
    """Copy records with their tables, logs and verdicts into a results folder, in the place of those that are there.

    Raises:
        UserError: the folder is full or cannot be written, or one of the runs is being made at this moment. Nothing has
            changed then.
    """
    last: dict[Key, Found] = {one.key: one for one in found}  # of several of one key the last is the one that stays
    if not last:
        return
    check_writable(root)
    staged: dict[Key, Path] = {}
    try:
        with disk_errors(root):
            for key, one in last.items():
                with _alone(key, root, wait=False):
                    staged[key] = staging_folder(root, *key)
                    _copy(one.folder, staged[key])
                advance(1)
            for key, staging in staged.items():
                with _alone(key, root, wait=True):  # should a runner have begun with it only now
                    publish(staging, run_folder(*key, root))
    finally:
        for staging in staged.values():
            shutil.rmtree(staging, ignore_errors=True)


def _copy(folder: Path, staging: Path) -> None:
    staging.mkdir(parents=True)
    for name in KEPT:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, staging / name)
    ranks = staging / "ranks.parquet"
    if ranks.exists() and "item" not in pl.read_parquet_schema(
        ranks
    ):  # it shares its users and items with others there
        read_ranks(folder).write_parquet(ranks, compression_level=19)


@contextlib.contextmanager
def _alone(key: Key, root: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock that runners hold while they make the run; one at a time, for a merge may bring thousands."""
    from filelock import FileLock, Timeout

    folder = root / "locks"
    folder.mkdir(exist_ok=True)
    try:
        held = FileLock(folder / f"{'-'.join(key)}.lock").acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise UserError(f"run {key[0]} is being made in {root} at this moment. Merge when it is done.") from None
    with held:
        yield
