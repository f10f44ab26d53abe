"""EASE's closed form, which every method of its kind ends with (Steck, WWW 2019, equation 8)."""

from __future__ import annotations

import numpy as np

from llmrec.types import Floats


def item_weights(gram: Floats, l2: float) -> Floats:
    """The weights B [n, n] that minimise |X - X B|^2 + l2 |B|^2 with a diagonal of zeros: B_ij = -P_ij / P_jj, where P
    is the inverse of X'X + l2. ``gram``: X'X in columns (Fortran order), overwritten.

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
    gram += np.tril(gram, -1).T
    weights: Floats = gram.T  # symmetric: the same numbers, now in rows, as sparse products want them
    weights /= -np.diag(weights).copy()  # by columns
    weights[np.diag_indices_from(weights)] = 0.0
    return weights
