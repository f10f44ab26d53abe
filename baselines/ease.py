"""EASE: a linear item-to-item model in closed form.

    P = (X'X + l2 I)^-1,   B = -P / diag(P) by columns, diag(B) = 0,   score(u, .) = x_u B

Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from llmrec.method import tune

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users


@dataclass
class Ease:
    """Linear item-to-item weights that best rebuild every history from its other items, in closed form."""

    family: ClassVar[str] = "collaborative"
    seeded: ClassVar[bool] = False

    l2: float = tune(100.0, low=1.0, high=5000.0, log=True)  # the default did best on ml-100k's validation items
    precision: Literal["float32", "float64"] = "float64"  # of the inverse; float32 takes half the time and memory

    def fit(self, split: Split, ctx: Context) -> None:
        from scipy.linalg import lapack

        seen = split.fit.matrix()  # [n_users, n_items]
        gram = (seen.T @ seen).toarray(order="F").astype(self.precision, order="F", copy=False)
        gram[np.diag_indices_from(gram)] += self.l2
        # The matrix is symmetric and positive definite: Cholesky's inverse, in place, with a third of the work of a
        # general one. LAPACK fills one triangle only.
        factor, invert = lapack.get_lapack_funcs(("potrf", "potri"), (gram,))
        gram, failed = factor(gram, lower=True, overwrite_a=True, clean=True)
        if not failed:
            gram, failed = invert(gram, lower=True, overwrite_c=True)
        if failed:
            raise ValueError(f"l2 = {self.l2} is too small to invert the Gram matrix in {self.precision}")
        gram += np.tril(gram, -1).T
        gram = gram.T  # symmetric: the same numbers, now in rows, as sparse products want them
        gram /= -np.diag(gram).copy()  # by columns
        self.weights = gram  # [n_items, n_items]
        self.weights[np.diag_indices_from(self.weights)] = 0.0

    def score(self, users: Users) -> Floats:
        return users.matrix() @ self.weights
