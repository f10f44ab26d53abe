"""Putting records in place: all that come are copied beside their places first, then each takes its own at once."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llmrec.errors import UserError
from llmrec.merging.incoming import Found, Key
from llmrec.publish import KEPT, check_writable, disk_errors, publish, staging_folder
from llmrec.results import run_folder


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
    staged: list[tuple[Path, Path]] = []
    try:
        with contextlib.ExitStack() as held, disk_errors(root):
            for (run_id, machine), one in last.items():
                held.enter_context(_alone(run_id, machine, root))
                staging = staging_folder(root, run_id, machine)
                staged.append((staging, run_folder(run_id, machine, root)))
                staging.mkdir(parents=True)
                for name in KEPT:
                    if (one.folder / name).is_file():
                        shutil.copyfile(one.folder / name, staging / name)
                advance(1)
            for staging, home in staged:
                publish(staging, home)
    finally:
        for staging, _ in staged:
            shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _alone(run_id: str, machine: str, root: Path) -> Iterator[None]:
    """Hold the lock that runners hold while they make the run."""
    from filelock import FileLock, Timeout

    folder = root / "locks"
    folder.mkdir(exist_ok=True)
    try:
        held = FileLock(folder / f"{run_id}-{machine}.lock").acquire(timeout=0)
    except Timeout:
        raise UserError(f"run {run_id} is being made in {root} at this moment. Merge when it is done.") from None
    with held:
        yield
