"""``ratio``: the first 80 % of each user's events train, the next 10 % validate, the last 10 % test.

A boundary is the share of the user's events rounded down, but a user's first event always trains: so whoever has two
events has one to test. Targets are new items only; repeated events after the first boundary are left out.
"""

from __future__ import annotations

import numpy as np

from llmrec.records import Protocol
from llmrec.split.events import TEST, TRAIN, VALID, Events, Sides, settle
from llmrec.types import Int64


def sides(events: Events, protocol: Protocol) -> Sides:
    """Where each event goes [events]."""
    train, valid = (up_to(share, events.lengths) for share in protocol.cuts)
    train = np.minimum(np.maximum(train, 1), events.lengths)
    valid = np.maximum(valid, train)
    pieces = np.stack([train, valid - train, events.lengths - valid], axis=1).ravel()
    return settle(events, np.repeat(np.tile(np.array([TRAIN, VALID, TEST], np.uint8), events.n_users), pieces))


def up_to(share: float, counts: Int64) -> Int64:
    """``share`` of each count, rounded down: 0.7 of 10 is 7, though 0.7 * 10 may be a hair less in binary."""
    return np.asarray(np.floor(share * counts + 1e-9).astype(np.int64))
