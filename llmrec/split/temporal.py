"""``temporal``: two moments for everybody, by default the 80 % and 90 % quantiles of all times.

Everything up to the first trains; what a user takes for the first time after it validates, and after the second tests.
"""

from __future__ import annotations

import numpy as np

from llmrec.records import Protocol
from llmrec.split.events import Events, Sides, settle


def sides(events: Events, protocol: Protocol) -> Sides:
    """Where each event goes [events]."""
    time = events.frame["time"].to_numpy()
    first, second = np.quantile(time, protocol.cuts, method="lower") if len(time) else (0, 0)
    return settle(events, (time > first).astype(np.uint8) + (time > second))
