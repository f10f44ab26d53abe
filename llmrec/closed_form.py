"""EASE's closed form, which every method of its kind ends with (Steck, WWW 2019, equation 8), and its Gram matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llmrec.memory import require
from llmrec.types import Floats, Int64

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


BLOCK = 1024
"""Columns that are filled in at once."""

SPARE = 1.25
"""Memory at the peak, in sizes of the Gram matrix: itself, and the blocks that it is filled in with."""

DENSE_BYTES = 64 << 20
"""Of the histories that a dense product takes at once."""

DENSE_FLOPS, SPARSE_STEPS = 5e10, 2e8
"""What a core does in a second, roughly: dense float32 products; steps of scipy's sparse product. They decide how much
of a Gram matrix is computed in which way, and nothing of what it holds."""


def gram_matrix(seen: csr_matrix, precision: str = "float64") -> Floats:
    """X'X of a binary matrix [n_users, n_items], exact, in columns (Fortran order) [n_items, n_items].

    The popular items, which fill most of it, go through a dense product, the others through a sparse one, a block at a
    time: on ml-1m-noratings a third of the time that a sparse product of all takes.
    """
    from scipy.sparse import csr_matrix

    n = seen.shape[1]
    takers = csr_matrix(seen.T)  # [n_items, n_users]
    popular, others = _halves(seen, takers)
    gram = np.empty((n, n), precision, order="F")
    if len(popular):  # BLAS takes no empty matrix
        gram[np.ix_(popular, popular)] = _dense_gram(seen[:, popular])
    for start in range(0, len(others), BLOCK):
        some = others[start : start + BLOCK]
        block = (takers[some] @ seen).toarray()  # [items, n]: rows of the symmetric matrix, here its columns
        gram[:, some] = block.T
        gram[np.ix_(some, popular)] = block[:, popular]
    return gram


def _halves(seen: csr_matrix, takers: csr_matrix) -> tuple[Int64, Int64]:
    """Items for the dense product and for the sparse one, each ascending, so that the two together take least time."""
    users_of = np.diff(takers.indptr)
    by_users = np.argsort(-users_of, kind="stable")
    steps = (takers @ np.diff(seen.indptr).astype(np.float64))[by_users]  # of the sparse product, for each item
    sparse = np.concatenate([np.cumsum(steps[::-1])[::-1], [0.0]]) / SPARSE_STEPS
    dense = np.arange(len(by_users) + 1, dtype=np.float64) ** 2 * seen.shape[0] / DENSE_FLOPS
    cut = int(np.argmin((dense + sparse)[: len(by_users) // 2 + 1]))  # at most half: its result is held besides
    return np.sort(by_users[:cut]), np.sort(by_users[cut:])


def _dense_gram(seen: csr_matrix) -> Floats:
    """X'X of a matrix of few columns, float32 and exact (counts under 2^24)."""
    from scipy.linalg.blas import ssyrk

    n_users, n = seen.shape
    gram = np.zeros((n, n), np.float32, order="F")
    step = max(1, DENSE_BYTES // (4 * max(n, 1)))
    for start in range(0, n_users, step):
        some = np.asfortranarray(seen[start : start + step].toarray().T)  # [n, users]
        gram = ssyrk(1.0, some, beta=1.0, c=gram, lower=True, overwrite_c=True)
    fill_upper(gram)
    return gram


def fill_upper(matrix: Floats) -> None:
    """Make a square matrix in columns symmetric: its upper triangle becomes the mirror of its lower one."""
    n = len(matrix)
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        own = matrix[start:stop, start:stop]
        own[:] = np.tril(own) + np.tril(own, -1).T
        matrix[start:stop, stop:] = matrix[stop:, start:stop].T


def item_weights(gram: Floats, l2: float, relaxed: float = 0.0) -> Floats:
    """The weights B [n, n] that minimise |X - X B|^2 + l2 |B|^2 with a diagonal of zeros: B_ij = -P_ij / P_jj, where P
    is the inverse of X'X + l2. ``gram``: X'X in columns (Fortran order), overwritten.

    ``relaxed`` over 0: the diagonal may rise to it (RLAE: Moon, Kim and Lee, SIGIR 2023, arXiv 2305.12922). Then B_ij =
    -P_ij k_j with k_j = (1 - relaxed) / P_jj where that binds (1 - l2 P_jj > relaxed), else l2. The diagonal itself is
    left out here too: an item never recommends itself.

    Raises:
        ValueError: l2 is too small to invert the matrix in its precision.
    """
    from scipy.linalg import lapack

    precision = gram.dtype
    gram[np.diag_indices_from(gram)] += l2
    # The matrix is symmetric and positive definite: Cholesky's inverse, in place, with a third of the work of a
    # general one. LAPACK fills one triangle only.
    factor, invert = lapack.get_lapack_funcs(("potrf", "potri"), (gram,))
    gram, failed = factor(gram, lower=True, overwrite_a=True, clean=True)
    if not failed:
        gram, failed = invert(gram, lower=True, overwrite_c=True)
    if failed:
        raise ValueError(f"l2 = {l2} is too small to invert the Gram matrix in {precision}")
    fill_upper(gram)
    weights: Floats = gram.T  # symmetric: the same numbers, now in rows, as sparse products want them
    own = np.diag(weights).copy()
    if relaxed:
        weights *= -np.where(1 - l2 * own > relaxed, (1 - relaxed) / own, l2)  # by columns
    else:
        weights /= -own
    weights[np.diag_indices_from(weights)] = 0.0
    return weights


def require_gram(name: str, n_items: int, precision: str) -> None:
    """Nothing, where there is memory for a method's Gram matrix, which becomes its weights in place.

    Raises:
        MemoryError: there is not; nothing has been computed yet.
    """
    needed = n_items**2 * np.dtype(precision).itemsize
    what = f"{name} with the Gram matrix of {n_items:,} items in {precision}"
    half = (
        "precision = 'float32' takes half" if precision == "float64" else "take a smaller catalogue (a card's filters)"
    )
    require(int(needed * SPARE), what, f"{half}; or use a machine with more memory")
