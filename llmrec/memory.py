"""How much memory this process may still take, and the refusal of work that would not fit, before it is begun.

What is free is the least of what the machine, the process's control groups (containers, cluster jobs) and the suite's
``limits.memory_gib`` leave. Caches that the kernel gives back when asked count as free.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil

LIMIT_VARIABLE = "LLMREC_MEMORY_GIB"
"""The suite's limit, as the runner tells its workers."""

GIB = 2**30


def require(needed: int, what: str, remedy: str) -> None:
    """Nothing, where so many bytes are free.

    Args:
        what: who needs them and for what, "ease ... for the Gram matrix of 20,000 items".
        remedy: what to do about it, without a full stop.

    Raises:
        MemoryError: one sentence that says how much is needed, how much is free and by whose word, and the remedy.
    """
    left, says = free()
    if needed > left:
        raise MemoryError(f"{what} needs {needed / GIB:.1f} GiB, and {left / GIB:.1f} GiB are free ({says}): {remedy}")


def free(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> tuple[int, str]:
    """Bytes that may still be taken, and what sets the bound. ``proc``, ``groups``: where the kernel tells of them."""
    bounds = [(psutil.virtual_memory().available, "of this machine's memory")]
    bounds += [(left, "within this process's control group") for left in _left_in_groups(proc, groups)]
    if limit := os.environ.get(LIMIT_VARIABLE):
        own = psutil.Process().memory_info().rss
        bounds.append((int(float(limit) * GIB) - own, f"within the suite's limits.memory_gib = {float(limit):g}"))
    left, says = min(bounds)
    return max(0, left), says


def _left_in_groups(proc: Path, groups: Path) -> Iterator[int]:
    """Bytes left within each control group of this process that has a limit (Linux; versions 2 and 1)."""
    try:
        lines = (proc / "self" / "cgroup").read_text("ascii").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, limit, used, cache = groups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, cache = groups / "memory", "total_inactive_file"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):  # a parent's limit holds too
            try:
                most, taken = (int((folder / name).read_text("ascii")) for name in (limit, used))
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
            except (OSError, ValueError):  # no limit ("max"), no such group, or another kind of folder
                statistics = {}
            if statistics:
                yield most - taken + int(statistics.get(cache, 0))
            if folder == root:
                break
