"""Whom the order of equal times touches: that is how much the tie rule decides."""

from __future__ import annotations

import numpy as np

from llmrec.data.ties import Times
from llmrec.types import Bools, Int32

ORDER_DECIDES = ("leave-one-out", "ratio")
"""Protocols whose targets depend on the order of a user's events. The others look at times or at the events' own hash,
so that ties only change the order within histories."""


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
