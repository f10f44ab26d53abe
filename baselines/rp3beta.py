"""RP3beta: a random walk of three steps from the user, item, user, item, with popular ends held back.

    S[j, i]     = sum over users v of P(v | j)^alpha * P(i | v)^alpha / popularity(i)^beta,  the k largest of each row j
    score(u, i) = sum over the user's items j of P(j | u)^alpha * S[j, i]

where P(v | j) = 1 / users of j and P(j | u) = 1 / items of u. With alpha = 1 and beta = 0 the score is the probability
that a walk from u ends at i after three steps (P3). The step back to where it came from, S[j, j], is left out, as it
is in the evaluation code that made the method known.

Defaults: ndcg@10 on validation items (leave-one-out) is .0691 on ml-100k and .0499 on amazon2014-beauty. Best of 15
tries on ml-100k .0705 (alpha .4, beta .5: .0442 on beauty), of 11 on beauty .0499. alpha = 1 gave .0294 to .0382 there.

Source: Paudel, Christoffel, Newell and Bernstein, Updatable, Accurate, Diverse, and Scalable Recommendations for
Interactive Applications, ACM TiiS 2017 (alpha: Cooper et al., Random Walks in Recommender Systems, WWW 2014); Ferrari
Dacrema et al., Are We Really Making Much Progress?, RecSys 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.method import tune
from llmrec.neighbours import nearest

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users

BLOCK = 1024
"""Items whose similarities are held at once before all but the nearest are dropped."""


@dataclass
class Rp3beta:
    """Walks at random from the user's items over other users to their items; popular items are held back."""

    family: ClassVar[str] = "collaborative"
    seeded: ClassVar[bool] = False

    alpha: float = tune(0.3, low=0.1, high=2.0)  # power of the probability of each step
    beta: float = tune(0.3, low=0.0, high=1.0)  # how much popular items are held back
    neighbours: int = tune(0, choices=(0, 20, 50, 100, 200, 500))  # nearest kept of each item; 0 keeps all

    def fit(self, split: Split, ctx: Context) -> None:
        from scipy.sparse import csr_matrix, diags_array, vstack

        seen = split.fit.matrix().astype(np.float64)  # [n_users, n_items]
        users_of = np.maximum(np.asarray(seen.sum(axis=0)).ravel(), 1.0)
        items_of = np.maximum(np.asarray(seen.sum(axis=1)).ravel(), 1.0)
        to_user = csr_matrix((seen @ diags_array(users_of**-self.alpha)).T)  # [n_items, n_users]
        to_item = csr_matrix(diags_array(items_of**-self.alpha) @ seen @ diags_array(users_of**-self.beta))
        blocks = range(0, split.n_items, BLOCK)
        self.similarity = vstack(
            [self._nearest(csr_matrix(to_user[start : start + BLOCK] @ to_item), start) for start in blocks],
            format="csr",
        )

    def score(self, users: Users) -> Floats:
        from scipy.sparse import diags_array

        lengths = np.maximum(users.histories.lengths, 1).astype(np.float64)
        steps = diags_array(lengths**-self.alpha) @ users.matrix().astype(np.float64)
        return (steps @ self.similarity).toarray()

    def _nearest(self, rows: csr_matrix, start: int) -> csr_matrix:
        """The rows of items ``start``, ``start + 1``, ... without themselves; of equals the smaller id stays."""
        places = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        rows.data[rows.indices == start + places] = 0.0
        return nearest(rows, self.neighbours)
