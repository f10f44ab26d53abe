"""Equal times: how many events of a user happened at the same moment as another, so that no clock tells their order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.types import Bools, Int32, Interactions

Times = npt.NDArray[np.integer[Any]]


def tied(user: Int32, time: Times) -> Bools:
    """Which events share their time with another event of the same user [events]; sorted by user and time."""
    as_before = np.zeros(len(user), bool)
    np.logical_and(user[1:] == user[:-1], time[1:] == time[:-1], out=as_before[1:])
    out = as_before.copy()
    out[:-1] |= as_before[1:]
    return out


def tie_share(interactions: Interactions) -> dict[str, float]:
    """How much the order of equal times matters, as shares from 0 to 1.

    ``events``: events that share their time with another event of the same user; ``last_items``: users whose last item
    is one of several at the same time (their leave-one-out target is a matter of the tie rule). 0 without times.
    """
    user, time = interactions.user, interactions.frame["time"]
    if time.null_count() or not len(user):
        return {"events": 0.0, "last_items": 0.0}
    ties = tied(user, time.to_numpy())
    last = np.append(user[1:] != user[:-1], True)
    return {"events": float(ties.mean()), "last_items": float(ties[last].mean())}
