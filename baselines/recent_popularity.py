"""Recent popularity: what most people took lately; the same list for everybody.

score(u, i) = number of events with item i among the newest ``share`` of the training data + 1e-6 * all its events

Newest in time where the data have times: everything from the moment on that leaves ``share`` of the events, so that
events of one moment are never parted. Without times nothing says what all users did lately, and the newest
``share`` of every user's own events (at least one) stand in. The second term only orders items with equal counts.

Default: ndcg@10 on validation items (leave-one-out) is .0422 on ml-100k (share .2: .0427, all: .0417) and .0102 on
amazon2014-beauty, which has no times (share .2: .0096, all: .0078); five tries each.

Source: Ji et al., A Re-visit of the Popularity Baseline in Recommender Systems, SIGIR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.method import tune

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Bools, Floats, Interactions, Split, Users

ALL_TIME_WEIGHT = 1e-6


@dataclass
class RecentPopularity:
    """Recommends what most people took lately."""

    family: ClassVar[str] = "non-personal"
    seeded: ClassVar[bool] = False

    share: float = tune(0.1, low=0.005, high=1.0, log=True)  # of the training events that count as recent

    def fit(self, split: Split, ctx: Context) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share = {self.share}: expected a share of the events, over 0 and at most 1")
        events = split.fit
        recent, ever = (
            np.bincount(items, minlength=split.n_items).astype(np.float64)
            for items in (events.item[_recent(events, self.share)], events.item)
        )
        self.counts = recent + ALL_TIME_WEIGHT * ever  # [n_items]

    def score(self, users: Users) -> Floats:
        return np.tile(self.counts, (len(users), 1))


def _recent(events: Interactions, share: float) -> Bools:
    """Which events are among the newest, [n]."""
    time = events.frame["time"]
    if time.null_count():
        histories = events.histories
        kept = np.maximum(np.round(histories.lengths * share), 1)
        return histories.ages < np.repeat(kept, histories.lengths)
    times = time.to_numpy()
    if not len(times):
        return np.zeros(0, bool)
    kept = max(round(len(times) * share), 1)
    return times >= np.partition(times, -kept)[-kept]
