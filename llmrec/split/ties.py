"""Equal times of one user: how many there are, and whom their order touches. That is how much the tie rule decides."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmrec.types import Bools, Int32

Times = npt.NDArray[np.integer]

ORDER_DECIDES = ("leave-one-out", "ratio")
"""Protocols whose targets depend on the order of a user's events. The others look at times or at the events' own hash,
so that ties only change the order within histories."""


def tied(user: Int32, time: Times) -> Bools:
    """Which events share their time with another event of the same user [events]; sorted by user and time."""
    as_before = np.zeros(len(user), bool)
    np.logical_and(user[1:] == user[:-1], time[1:] == time[:-1], out=as_before[1:])
    out = as_before.copy()
    out[:-1] |= as_before[1:]
    return out


def touched_users(user: Int32, time: Times, eligible: Bools, target: Bools) -> Int32:
    """Users who might be asked for something else if ties were settled otherwise, ascending.

    They have a target at the same time as another event that might have been one (``eligible``) but is none.
    """
    if not len(user):
        return np.empty(0, np.int32)
    starts = np.flatnonzero(np.concatenate([[True], (user[1:] != user[:-1]) | (time[1:] != time[:-1])]))
    chosen = np.logical_or.reduceat(target, starts)
    passed_over = np.logical_or.reduceat(eligible & ~target, starts)
    return np.unique(user[starts[chosen & passed_over]])
