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

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from llmrec.memory import require
from llmrec.method import tune
from llmrec.neighbours import DENSE_FROM, Weighting, fill, in_threads, nearest, nearest_of_dense, product

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users

BLOCK = 512
"""Items whose similarities are computed at once."""

SQUARE_BYTES = 2 << 30
"""Up to this size the similarities of all items may stand in memory at once while the nearest are chosen."""


@dataclass
class ItemKnn:
    """Recommends the items that share most users with the user's own (cosine; tf-idf and BM25 weights)."""

    family: ClassVar[str] = "collaborative"
    seeded: ClassVar[bool] = False

    neighbours: int = tune(0, choices=(0, 20, 50, 100, 200, 500))  # nearest kept of each item; 0 keeps all
    # draws similarities that rest on few users towards 0; searched by orders of magnitude
    shrink: float = tune(0.0, choices=(0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0))
    weighting: Literal["binary", "tf-idf", "bm25"] = tune(
        "binary", choices=("binary", "tf-idf", "bm25")
    )  # how much a user says

    def fit(self, split: Split, ctx: Context) -> None:
        """Compute the similarities, a block of items at a time.

        Raises:
            ValueError: an unknown weighting. MemoryError: most similarities are over 0, and a full matrix does not fit.
        """
        from scipy.sparse import csr_matrix

        n = split.n_items
        takers = csr_matrix(split.fit.matrix().T).astype(np.float64)  # [n_items, n_users]
        weights = Weighting.learn(self.weighting, takers, smooth=False).of(takers)
        like = Like(weights, csr_matrix(weights.T), takers, csr_matrix(takers.T), self.shrink)
        first = like.block(0)
        full = first.nnz > DENSE_FROM * first.shape[0] * n  # ids are in random order: the others are like it
        if full and not self.neighbours:
            require(
                8 * n**2, f"item-knn with the similarities of all {n:,} items", "set neighbours, for example to 200"
            )
            self.similarity = like.square(first)
        elif full and 8 * n**2 <= SQUARE_BYTES:
            square, k = like.square(first), self.neighbours
            chosen = in_threads(lambda start: nearest_of_dense(square[start : start + BLOCK], k), range(0, n, BLOCK))
            self.similarity = _compact(chosen)
        else:
            others = (like.block(i) for i in range(BLOCK, n, BLOCK))
            self.similarity = _compact(nearest(block, self.neighbours) for block in chain([first], others))

    def score(self, users: Users) -> Floats:
        asking, similarity = users.matrix(), self.similarity
        if isinstance(similarity, np.ndarray):
            return asking @ similarity
        scores = np.empty((len(users), similarity.shape[1]))
        return fill(len(users), lambda some: product(asking[some], similarity), scores)


@dataclass(frozen=True)
class Like:
    """Similarities of items, 0 to themselves, computed from their weighted users."""

    weights: csr_matrix  # float64 [n_items, n_users]
    across: csr_matrix  # the same, [n_users, n_items]
    takers: csr_matrix  # 1 where the weights are not 0
    seen: csr_matrix  # the same, [n_users, n_items]
    shrink: float

    def block(self, start: int, left: int = 0) -> csr_matrix:
        """Those of ``BLOCK`` items from ``start`` on to the items from ``left`` on, float64 [items, n_items - left]."""
        some = slice(start, start + BLOCK)
        found = product(self.weights[some], self.across[:, left:])
        if self.shrink:
            common = product(self.takers[some], self.seen[:, left:])
            common.data /= common.data + self.shrink
            found = found.multiply(common).tocsr()
        rows = np.repeat(np.arange(found.shape[0], dtype=np.int32), np.diff(found.indptr))
        found.data[found.indices == rows + (start - left)] = 0.0
        return found

    def square(self, first: csr_matrix) -> Floats:
        """All of them, float64 [n_items, n_items]; ``first``: the first block.

        Each pair is computed once and written twice: the products of both orders are the same to the last bit.
        """
        n = self.weights.shape[0]
        whole = np.empty((n, n))

        def put(start: int) -> None:
            stop = min(start + BLOCK, n)
            block = (self.block(start, left=start) if start else first).toarray()
            whole[start:stop, start:] = block
            whole[stop:, start:stop] = block[:, stop - start :].T

        in_threads(put, range(0, n, BLOCK))
        return whole


def _compact(blocks: Iterable[csr_matrix]) -> csr_matrix | Floats:
    """All blocks under one another, dense where that is faster."""
    from scipy.sparse import vstack

    whole = vstack(list(blocks), format="csr")
    return whole.toarray() if whole.nnz > DENSE_FROM * np.prod(whole.shape) else whole
