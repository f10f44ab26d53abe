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

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from llmrec.types import Floats

T = TypeVar("T")

Name = Literal["binary", "tf-idf", "bm25"]

WEIGHTINGS: tuple[Name, ...] = ("binary", "tf-idf", "bm25")

DENSE_FROM = 0.1
"""From this share of nonzero similarities a full matrix is faster than a sparse one."""

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
"""Of this run; they change the seconds, and no figure."""

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


def product(left: csr_matrix, right: csr_matrix) -> csr_matrix:
    """``left @ right``, the same to the last bit, in two thirds of the time, or rows x columns x 12 bytes of addresses.

    scipy goes through all pairs twice, first to see how long the result will be. Here that is bounded beforehand, and
    memory which is never written is never taken; the second pass is scipy's own (`csr_matmat`, Gustavson's algorithm).
    """
    from scipy.sparse import _sparsetools, csr_matrix

    shape = (left.shape[0], right.shape[1])
    if shape[0] * shape[1] > np.iinfo(np.int32).max or not left.indices.dtype == right.indices.dtype == np.int32:
        return csr_matrix(left @ right)
    kind = np.result_type(left.dtype, right.dtype)
    pairs = int(np.diff(right.indptr).astype(np.int64)[left.indices].sum())
    room = min(shape[0] * shape[1], pairs)
    starts, ids, values = np.empty(shape[0] + 1, np.int32), np.empty(room, np.int32), np.empty(room, kind)
    both = [(m.indptr, m.indices, m.data.astype(kind, copy=False)) for m in (left, right)]
    _sparsetools.csr_matmat(*shape, *both[0], *both[1], starts, ids, values)
    return csr_matrix((values[: starts[-1]], ids[: starts[-1]], starts), shape)


def in_threads(work: Callable[[int], T], parts: Iterable[int]) -> list[T]:
    """What ``work`` gives for each part, in order. As many threads as the run has: scipy and numpy let others go on."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, parts))


def fill(rows: int, work: Callable[[slice], csr_matrix], out: Floats) -> Floats:
    """``out`` [rows, n], filled by what ``work`` gives for some of its rows; each thread has a share of them."""
    share = -(-rows // THREADS)

    def one(start: int) -> None:
        some = slice(start, min(start + share, rows))
        work(some).toarray(out=out[some])

    in_threads(one, range(0, rows, share or 1))
    return out


def nearest(similarity: csr_matrix, k: int) -> csr_matrix:
    """The k largest of each row, all if k is 0; of equals the smaller id stays. No value is below 0; zeros go.

    The matrix given is overwritten. Where few of its values are zeros it is made dense for the choice: to put ids in
    order takes scipy longer than all the rest.
    """
    if k and similarity.nnz > DENSE_FROM * similarity.shape[0] * similarity.shape[1]:
        return nearest_of_dense(similarity.toarray(), k)
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


def nearest_of_dense(similarity: Floats, k: int) -> csr_matrix:
    """The same, of a dense matrix [rows, n], which is left as it is; k is 1 or more."""
    from scipy.sparse import csr_matrix

    n = similarity.shape[1]
    least = np.partition(similarity, n - min(k, n), axis=1)[:, n - min(k, n), None]
    kept = similarity >= least
    kept &= similarity > 0
    for row in np.flatnonzero(np.count_nonzero(kept, axis=1) > k):
        values = similarity[row]
        ties = np.flatnonzero(values == least[row])
        kept[row, ties[k - int((values > least[row]).sum()) :]] = False
    lengths = np.count_nonzero(kept, axis=1)
    places = np.flatnonzero(kept)
    ids = places - np.repeat(np.arange(len(kept)) * n, lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return csr_matrix((similarity.ravel()[places], ids.astype(np.int32), starts.astype(np.int32)), similarity.shape)
