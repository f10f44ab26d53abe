"""Decayed transitions: what followed any of a user's items before, the newer and the nearer the more it counts.

    T[j, i]     = sum over gaps g = 1..8 of .7^(g-1) * how often i came g places after j,  divided by popularity(i)^nu
    score(u, i) = sum over k >= 0 of alpha^k * T[h(u, k), i] + 1e-7 * popularity(i)

where h(u, k) is the user's k-th last item; terms with alpha^k under 1e-4 are dropped. Nothing is learnt, yet on the
sequences that much of the literature uses it stands beside its best models (see arXiv 2605.07125).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.method import tune

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from llmrec.context import Context
    from llmrec.types import Floats, Histories, Split, Users

GAPS = 8
GAP_DECAY = 0.7
SMALLEST_TERM = 1e-4
POPULARITY_WEIGHT = 1e-7


@dataclass
class DecayedTransitions:
    """Counts which items followed which at a distance, with weights that decay; nothing is learnt."""

    family: ClassVar[str] = "sequential"
    seeded: ClassVar[bool] = False

    alpha: float = tune(0.7, low=0.1, high=0.99)  # how much each step back into the history counts less
    nu: float = tune(0.3, low=0.0, high=1.0)  # how much popular followers are held back

    def fit(self, split: Split, ctx: Context) -> None:
        from scipy.sparse import csr_matrix, diags_array

        events = split.fit
        shape = (split.n_items, split.n_items)
        transitions = csr_matrix(shape, dtype=np.float64)
        for gap in range(1, GAPS + 1):
            together = events.user[gap:] == events.user[:-gap]
            before, after = events.item[:-gap][together], events.item[gap:][together]
            transitions += csr_matrix((np.full(len(before), GAP_DECAY ** (gap - 1)), (before, after)), shape)
        self.popularity = np.bincount(events.item, minlength=split.n_items).astype(np.float64)
        held_back = np.maximum(self.popularity, 1.0) ** -self.nu
        self.transitions = csr_matrix(transitions @ diags_array(held_back))

    def score(self, users: Users) -> Floats:
        scores = (self._weights(users.histories) @ self.transitions).toarray()
        return scores + POPULARITY_WEIGHT * self.popularity

    def _weights(self, histories: Histories) -> csr_matrix:
        """alpha^k at the k-th last item, float64 [b, n_items]; a repeated item's weights add up."""
        from scipy.sparse import csr_matrix

        back = np.repeat(histories.indptr[1:], histories.lengths) - 1 - np.arange(len(histories.items))
        weights = self.alpha ** back.astype(np.float64)
        kept = weights >= SMALLEST_TERM
        shape = (len(histories), histories.n_items)
        return csr_matrix((weights[kept], (histories.rows[kept], histories.items[kept])), shape)
