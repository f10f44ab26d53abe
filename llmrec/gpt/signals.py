"""What item ids can be made of besides text: who is consumed beside whom, in the training data alone."""

from __future__ import annotations

import numpy as np

from llmrec.types import Floats, Histories


def neighbour_factors(histories: Histories, *, reach: int, dims: int) -> Floats:
    """Item vectors from co-occurrence, rows of unit length, float32 [n_items, dims]; a zero row for an unseen item.

    The positive pointwise mutual information of items at most ``reach`` apart in a history, nearer pairs counting more
    (weight 1 / distance), factorised by SVD: what word2vec approximates (Levy and Goldberg, 2014).
    """
    import scipy.sparse
    import scipy.sparse.linalg

    n, items, rows = histories.n_items, histories.items, histories.rows
    counts = scipy.sparse.csr_matrix((n, n), dtype=np.float64)
    for gap in range(1, reach + 1):
        same = rows[gap:] == rows[:-gap]
        pair = items[:-gap][same], items[gap:][same]
        counts = counts + scipy.sparse.csr_matrix((np.full(same.sum(), 1.0 / gap), pair), shape=(n, n))
    counts = (counts + counts.T).tocoo()
    total, margin = counts.sum(), np.asarray(counts.sum(axis=0)).ravel()
    if total == 0:
        return np.zeros((n, dims), np.float32)
    information = np.log(counts.data * total / (margin[counts.row] * margin[counts.col]))
    positive = scipy.sparse.csr_matrix((np.maximum(information, 0), (counts.row, counts.col)), shape=(n, n))
    if positive.nnz == 0 or positive.max() == 0:  # everything beside everything: nothing to tell apart
        return np.zeros((n, dims), np.float32)
    rank = min(dims, n - 1)
    left, values, _ = scipy.sparse.linalg.svds(positive, k=rank, v0=np.full(n, n**-0.5))  # v0: no random start
    vectors = np.zeros((n, dims))
    vectors[:, :rank] = left * np.sqrt(values)
    return unit_rows(vectors).astype(np.float32)


def for_unseen(factors: Floats, texts: Floats, nearest: int = 10) -> Floats:
    """Factors [n, dims] in which a zero row, an item that nobody took in training, has become the mean of the rows of
    the ``nearest`` items by text [n, d] that are not zero, brought to unit length.

    Without it new items are alike in that part, and tend to share codes with one another and not with trained items:
    codes that training has seldom or never written.
    """
    known = factors.any(1)
    unseen = np.flatnonzero(~known)
    some = np.flatnonzero(known)
    if not len(unseen) or not len(some):
        return factors
    filled = factors.copy()
    for start in range(0, len(unseen), 1024):  # bounds the memory
        rows = unseen[start : start + 1024]
        likeness = texts[rows] @ texts[some].T  # [rows, known]
        near = np.argsort(-likeness, axis=1, kind="stable")[:, :nearest]
        filled[rows] = unit_rows(factors[some[near]].mean(1))
    return filled


def unit_rows(vectors: Floats) -> Floats:
    """Each row divided by its length; zero rows stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)
