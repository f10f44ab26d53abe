"""``leave-one-out``: a user's last new item tests, the last but one validates, all before it trains.

Repeated events before the validation item train like any other; later ones are left out, for validation and test hold
targets only.
"""

from __future__ import annotations

import numpy as np

from llmrec.records import Protocol
from llmrec.split.events import LEFT_OUT, TEST, TRAIN, VALID, Events, Sides

MIN_ITEMS = 3
"""Users with fewer distinct items (``repeats = "target"``: events) only train."""


def sides(events: Events, protocol: Protocol) -> Sides:
    """Where each event goes [events]."""
    eligible = np.flatnonzero(events.eligible)
    bounds = np.searchsorted(eligible, events.indptr)  # user u's are eligible[bounds[u]:bounds[u + 1]]
    asked = np.flatnonzero(np.diff(bounds) >= MIN_ITEMS)
    last, last_but_one = eligible[bounds[asked + 1] - 1], eligible[bounds[asked + 1] - 2]
    kept = events.lengths.copy()
    kept[asked] = last_but_one - events.indptr[asked]
    pieces = np.stack([kept, events.lengths - kept], axis=1).ravel()
    out = np.repeat(np.tile(np.array([TRAIN, LEFT_OUT], np.uint8), events.n_users), pieces)
    out[last_but_one], out[last] = VALID, TEST
    return out
