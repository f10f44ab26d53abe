"""Item-based nearest neighbours: items like those that the user had.

    similarity(j, i) = (w_j . w_i) * n / (n + shrink),   n = users of both
    score(u, i)      = sum of similarity(j, i) over the user's items j that count i among their k nearest

where w_i [users] weighs the users of item i (`llmrec.neighbours`, with the idf of `implicit`): "binary" gives the
cosine, "tf-idf" and "bm25" count users who took few items for more.

Defaults: the plainest form, which published figures are of; ndcg@10 on validation items (leave-one-out) is .0734 on
ml-100k and .0404 on amazon2014-beauty. Of 36 and 18 tries the best are .0778 (tf-idf, 200 neighbours) and .0426
(tf-idf, all neighbours).

Source: Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, TOIS 2004; the shrinkage as in Bell
and Koren, Scalable Collaborative Filtering with Jointly Derived Neighborhood Interpolation Weights, ICDM 2007.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from llmrec.memory import require
from llmrec.method import tune
from llmrec.neighbours import Weighting, nearest

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users

DENSE_FROM = 0.1
"""From this share of nonzero similarities a full matrix is faster than a sparse one."""

BLOCK = 1024
"""Items whose similarities are computed at once."""


@dataclass
class ItemKnn:
    """Recommends the items that share most users with the user's own (cosine; tf-idf and BM25 weights)."""

    family: ClassVar[str] = "collaborative"
    seeded: ClassVar[bool] = False

    neighbours: int = tune(0, choices=(0, 20, 50, 100, 200, 500))  # nearest kept of each item; 0 keeps all
    shrink: float = tune(0.0, low=0.0, high=500.0)  # draws similarities that rest on few users towards 0
    weighting: Literal["binary", "tf-idf", "bm25"] = tune(
        "binary", choices=("binary", "tf-idf", "bm25")
    )  # how much a user says

    def fit(self, split: Split, ctx: Context) -> None:
        """Compute the similarities, a block of items at a time.

        Raises:
            ValueError: an unknown weighting. MemoryError: most similarities are over 0, and a full matrix does not fit.
        """
        from scipy.sparse import vstack

        n = split.n_items
        blocks = self._blocks(split)
        first = next(blocks)
        if first.nnz <= DENSE_FROM * first.shape[0] * n:  # ids are in random order: the others are like it
            self.similarity = vstack([first, *blocks], format="csr")
            return
        require(8 * n**2, f"item-knn with the similarities of all {n:,} items", "set neighbours, for example to 200")
        self.similarity = np.empty((n, n))
        for number, block in enumerate(chain([first], blocks)):
            block.toarray(out=self.similarity[number * BLOCK : number * BLOCK + block.shape[0]])

    def _blocks(self, split: Split) -> Iterator[csr_matrix]:
        """Similarities of ``BLOCK`` items after another to all items, float64 [items, n_items], 0 to themselves."""
        from scipy.sparse import csr_matrix

        takers = csr_matrix(split.fit.matrix().T)  # [n_items, n_users]
        weights = Weighting.learn(self.weighting, takers, smooth=False).of(takers)
        across, seen = csr_matrix(weights.T), csr_matrix(takers.T)
        for start in range(0, split.n_items, BLOCK):
            some = slice(start, start + BLOCK)
            found = csr_matrix(weights[some] @ across)
            if self.shrink:
                common = csr_matrix(takers[some].astype(np.float64) @ seen)
                common.data /= common.data + self.shrink
                found = found.multiply(common).tocsr()
            rows = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
            found.data[found.indices == start + rows] = 0.0
            yield nearest(found, self.neighbours)

    def score(self, users: Users) -> Floats:
        scores = users.matrix() @ self.similarity
        return scores if isinstance(scores, np.ndarray) else scores.toarray()
