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


def leading_parts(vectors: Floats, dims: int) -> Floats:
    """The parts of vectors [n, d] along their ``dims`` leading directions, float32 [n, dims], with a standard deviation
    of 1 over all; zeros behind where d or n is smaller."""
    centred = np.asarray(vectors, np.float64) - vectors.mean(0)
    directions = np.linalg.eigh(centred.T @ centred).eigenvectors  # of ascending variance
    directions *= np.where(directions.sum(0) < 0, -1, 1)  # a direction's sign is arbitrary
    leading = directions[:, ::-1][:, :dims]
    parts = np.zeros((len(vectors), dims), np.float32)
    parts[:, : leading.shape[1]] = centred @ leading
    return parts / max(float(parts.std()), 1e-12)


def unit_rows(vectors: Floats) -> Floats:
    """Each row divided by its length; zero rows stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)
