"""Events of one user at one time: the order that a seeded hash gives them, and whom this order touches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from llmrec.data.ties import Times, tied
from llmrec.seeds import hash64
from llmrec.split.blocks import bits_for, blocks
from llmrec.types import Bools, Floats, Int32, Int64

Hashes = npt.NDArray[np.uint64]

ORDER_DECIDES = ("leave-one-out", "ratio")
"""Protocols whose targets depend on the order of a user's events. The others look at times or at the events' own hash,
so that ties only change the order within histories."""


def by_hash(
    seed: int, users: pl.Series, items: pl.Series, values: pl.Series, times: pl.Series | None
) -> tuple[Int64, Int64]:
    """The rows that are tied, ascending, and the row that comes in the place of each.

    The columns are sorted by user and time; without times all events of a user are tied. A seeded hash of user, item
    and time orders events at one time, and the value those that are equal in all of it.
    """
    user, item, value = users.to_numpy(), items.to_numpy(), values.to_numpy()
    time = np.zeros_like(user) if times is None else times.to_numpy()
    rows = np.flatnonzero(tied(user, time))
    source = np.empty_like(rows)
    bounds = _runs(user[rows], time[rows])
    for runs, part in blocks(bounds):
        some, lengths = rows[part], np.diff(bounds[runs.start : runs.stop + 1])
        run = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
        drawn = hash64(seed, user[some], item[some], time[some])
        source[part] = some[_order(run, drawn, item[some], value[some])]
    return rows, source


def _runs(user: Int32, time: Times) -> Int64:
    """Bounds of the runs of one user and one time, int64 [runs + 1]."""
    if not len(user):
        return np.zeros(1, np.int64)
    begins = np.concatenate([[True], (user[1:] != user[:-1]) | (time[1:] != time[:-1])])
    return np.append(np.flatnonzero(begins), len(user))


def _order(run: Hashes, drawn: Hashes, item: Int32, value: Floats) -> Int64:
    """Places by run, hash, item and value, int64 [rows].

    The run, as many first bits of the hash as there is room for and the place are one number, which sorts ten times as
    fast as four keys. Only runs in which two hashes begin alike, as those of equal events do, are sorted by all four.
    """
    for_place, for_run = bits_for(len(run)), bits_for(int(run[-1]) + 1)
    keys = drawn >> np.uint64(for_run + for_place) << np.uint64(for_place)
    keys |= run << np.uint64(64 - for_run) | np.arange(len(run), dtype=np.uint64)
    keys.sort()
    begins = keys >> np.uint64(for_place)
    order = (keys & np.uint64((1 << for_place) - 1)).astype(np.int64)
    alike = np.zeros(int(run[-1]) + 1, bool)  # runs, which have the same places before and after
    alike[run[order[1:][begins[1:] == begins[:-1]]]] = True
    rest = np.flatnonzero(alike[run])
    order[rest] = rest[np.lexsort((value[rest], item[rest], drawn[rest], run[rest]))]
    return order


def touched_users(user: Int32, time: Times, eligible: Bools, target: Bools) -> Int32:
    """Users who might be asked for something else if ties were settled otherwise, ascending.

    They have a target at the same time as another event that might have been one (``eligible``) but is none.
    """
    if not len(user):
        return np.empty(0, np.int32)
    starts = _runs(user, time)[:-1]
    chosen = np.logical_or.reduceat(target, starts)
    passed_over = np.logical_or.reduceat(eligible & ~target, starts)
    return np.unique(user[starts[chosen & passed_over]])
