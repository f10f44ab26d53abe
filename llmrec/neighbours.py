"""What the neighbourhood methods share: how much an entry of a binary matrix says, and the k nearest of each row.

Rows are what is compared (documents), columns are what they are compared by (terms): for item-knn rows are items and
columns are users, for user-knn the other way round. The similarity of two rows is the inner product of their weights

    binary   w_dt = 1,                                                                     rows of unit length
    tf-idf   w_dt = idf(t),                                                                rows of unit length
    bm25     w_dt = idf(t) * (K1 + 1) / (1 + K1 * (1 - B + B * terms of d / mean terms of a document))

where d has t, and 0 elsewhere, so that "binary" is the cosine. With N documents, n(t) of them with the term t,

    idf(t) = log(N / (1 + n(t)))     as `implicit` has it, whose CosineRecommender, TFIDFRecommender and BM25Recommender
                                     give the same similarities; a term of every document counts a little below 0
    idf(t) = log(1 + N / n(t))       smooth: never below 0, and no term is lost

Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from llmrec.types import Floats

Name = Literal["binary", "tf-idf", "bm25"]

WEIGHTINGS: tuple[Name, ...] = ("binary", "tf-idf", "bm25")

K1, B = 1.2, 0.75
"""BM25's usual constants: how soon a repeated term stops counting, how much long documents are held back."""


@dataclass(frozen=True)
class Weighting:
    """A weighting with what it has learnt from some documents."""

    name: Name
    idf: Floats  # [terms]
    mean: float  # terms of a document

    @classmethod
    def learn(cls, name: Name, documents: csr_matrix, *, smooth: bool) -> Weighting:
        """``documents``: binary, [documents, terms]; ``smooth``: which idf.

        Raises:
            ValueError: an unknown name.
        """
        if name not in WEIGHTINGS:
            raise ValueError(f"weighting = {name!r}: expected one of {', '.join(WEIGHTINGS)}")
        rows, terms = documents.shape
        having = np.bincount(documents.indices, minlength=terms)  # documents of each term
        idf = np.ones(terms)
        if name != "binary":
            idf = np.log1p(rows / np.maximum(having, 1)) if smooth else np.log(rows) - np.log1p(having)
        return cls(name, idf, documents.nnz / rows or 1.0)

    def of(self, documents: csr_matrix) -> csr_matrix:
        """The weights of some documents, the ones learnt from or others, float64 [documents, terms]."""
        from scipy.sparse import csr_matrix

        lengths = np.diff(documents.indptr)
        if self.name == "bm25":
            scale = (K1 + 1) / (1 + K1 * (1 - B + B * lengths / self.mean))
        else:
            norms = np.sqrt(documents.astype(np.float64) @ self.idf**2)
            scale = 1.0 / np.where(norms > 0, norms, 1.0)
        weights = np.repeat(scale, lengths) * self.idf[documents.indices]
        return csr_matrix((weights, documents.indices, documents.indptr), documents.shape)


def nearest(similarity: csr_matrix, k: int) -> csr_matrix:
    """The k largest of each row, all if k is 0; of equals the smaller id stays. The matrix given is overwritten."""
    similarity.sort_indices()
    if k:
        for row in range(similarity.shape[0]):
            values = similarity.data[similarity.indptr[row] : similarity.indptr[row + 1]]  # a view
            if len(values) > k:
                least = np.partition(values, -k)[-k]
                ties = np.flatnonzero(values == least)
                values[ties[k - int((values > least).sum()) :]] = 0.0
                values[values < least] = 0.0
    similarity.eliminate_zeros()
    return similarity
