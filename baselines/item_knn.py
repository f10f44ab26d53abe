"""Item-based nearest neighbours: items like those that the user had.

    similarity(j, i) = n / sqrt(users of j * users of i) * n / (n + shrink),   n = users of both   (binary cosine)
    score(u, i)      = sum of similarity(j, i) over the user's items j that count i among their k nearest

Source: Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, TOIS 2004; the shrinkage as in Bell
and Koren, Scalable Collaborative Filtering with Jointly Derived Neighborhood Interpolation Weights, ICDM 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.method import tune

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users

DENSE_FROM = 0.1
"""From this share of nonzero similarities a full matrix is faster than a sparse one."""


@dataclass
class ItemKnn:
    """Recommends the items that share most users with the user's own (binary cosine)."""

    family: ClassVar[str] = "collaborative"
    seeded: ClassVar[bool] = False

    neighbours: int = tune(0, choices=(0, 20, 50, 100, 200, 500))  # nearest kept of each item; 0 keeps all
    shrink: float = tune(0.0, low=0.0, high=500.0)  # draws similarities that rest on few users towards 0

    def fit(self, split: Split, ctx: Context) -> None:
        from scipy.sparse import csr_matrix, diags_array

        seen = split.fit.matrix().astype(np.float64)  # [n_users, n_items]
        roots = np.sqrt(np.maximum(np.asarray(seen.sum(axis=0)).ravel(), 1.0))
        unit = seen @ diags_array(1.0 / roots)
        cosine = csr_matrix(unit.T @ unit)
        if self.shrink:
            common = csr_matrix(seen.T @ seen)
            common.data /= common.data + self.shrink
            cosine = cosine.multiply(common).tocsr()
        cosine.setdiag(0.0)
        cosine.eliminate_zeros()
        cosine.sort_indices()
        similarity = _nearest(cosine, self.neighbours) if self.neighbours else cosine
        dense = similarity.nnz > DENSE_FROM * split.n_items**2
        self.similarity = similarity.toarray() if dense else similarity

    def score(self, users: Users) -> Floats:
        scores = users.matrix() @ self.similarity
        return scores if isinstance(scores, np.ndarray) else scores.toarray()


def _nearest(similarity: csr_matrix, k: int) -> csr_matrix:
    """The k largest of each row; of equals the smaller id stays."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(np.arange(similarity.shape[0]), np.diff(similarity.indptr))
    by_size = np.lexsort((similarity.indices, -similarity.data, rows))
    place = np.arange(len(rows)) - np.repeat(similarity.indptr[:-1], np.diff(similarity.indptr))
    kept = by_size[place < k]
    return csr_matrix((similarity.data[kept], (rows[kept], similarity.indices[kept])), similarity.shape)
