"""Markov-1: what followed a user's last item before.

score(u, i) = how often i came right after u's last item, over all sequences + 1e-6 * popularity(i)

The popularity term only orders items with equal counts, and answers for users without a history.

Source: the first-order chain that Rendle, Freudenthaler and Schmidt-Thieme, Factorizing Personalized Markov Chains for
Next-basket Recommendation, WWW 2010, set out from, estimated by counting, the same for all users.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users

POPULARITY_WEIGHT = 1e-6


@dataclass
class Markov:
    """Counts which item followed which, and asks for the user's last one; nothing is learnt."""

    family: ClassVar[str] = "sequential"
    seeded: ClassVar[bool] = False

    def fit(self, split: Split, ctx: Context) -> None:
        from scipy.sparse import csr_matrix

        events = split.fit
        together = events.user[1:] == events.user[:-1]
        before, after = events.item[:-1][together], events.item[1:][together]
        shape = (split.n_items, split.n_items)
        self.follows = csr_matrix((np.ones(len(before)), (before, after)), shape)  # counts add up; float64
        self.popularity = np.bincount(events.item, minlength=split.n_items).astype(np.float64)

    def score(self, users: Users) -> Floats:
        scores = np.tile(POPULARITY_WEIGHT * self.popularity, (len(users), 1))
        some = np.flatnonzero(users.histories.lengths)
        scores[some] += self.follows[users.histories.take(some).last(1)[:, 0]].toarray()
        return scores
