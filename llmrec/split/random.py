"""``random``: by default 80 % of all events train, 10 % validate, 10 % test, drawn by a seeded hash.

The hash is of user and item, so that all events of a pair stay in one part; of a pair under test the first event is
the target and the others are left out. The shares are those of all events, exact up to the last pair.
"""

from __future__ import annotations

import numpy as np

from llmrec.records import Protocol
from llmrec.seeds import axis_seed, hash64
from llmrec.split.events import Events, Sides, settle
from llmrec.split.ratio import up_to


def sides(events: Events, protocol: Protocol) -> Sides:
    """Where each event goes [events]."""
    if not len(events):
        return np.empty(0, np.uint8)
    drawn = hash64(axis_seed(protocol.seed, "random split"), events.user, events.item)
    train, valid = (int(up_to(share, np.array(len(drawn)))) for share in protocol.cuts)
    first, second = np.partition(drawn, [train, valid])[[train, valid]]
    return settle(events, (drawn >= first).astype(np.uint8) + (drawn >= second))
