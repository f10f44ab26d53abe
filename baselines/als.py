"""ALS: matrix factorisation of implicit feedback by alternating least squares, through the `implicit` package.

    minimise  sum over all (u, i) of c_ui (p_ui - x_u . y_i)^2 + regularization (sum |x_u|^2 + sum |y_i|^2)

with p = 1 and c = alpha where the user had the item, p = 0 and c = 1 elsewhere. A user is answered from the history at
hand, by solving for x_u with the items fixed: so what came after the fit (the validation item) counts at test time.

The defaults did best on the validation items of ml-100k (leave-one-out).

Source: Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.method import tune

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users


@dataclass
class Als:
    """Factorises the user-item matrix by alternating least squares (implicit)."""

    family: ClassVar[str] = "collaborative"
    requires: ClassVar[tuple[str, ...]] = ("implicit",)

    factors: int = tune(64, choices=(16, 32, 64, 128, 256))
    regularization: float = tune(10.0, low=0.001, high=100.0, log=True)
    alpha: float = tune(5.0, low=1.0, high=100.0, log=True)  # weight of what the user had, against 1 for all else
    iterations: int = tune(15, low=5, high=50)

    def fit(self, split: Split, ctx: Context) -> None:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        self.model = AlternatingLeastSquares(
            factors=self.factors,
            regularization=self.regularization,
            alpha=self.alpha,
            iterations=self.iterations,
            num_threads=int(os.environ.get("OMP_NUM_THREADS", "1")),
            random_state=ctx.seed_for("initialisation") % 2**32,
        )
        with threadpool_limits(1, "blas"):  # implicit has threads of its own, and warns where BLAS has some too
            self.model.fit(
                split.fit.matrix(),
                show_progress=False,
                callback=lambda done, *_: ctx.log("fit", epoch=done + 1, epochs=self.iterations),
            )
        self.item_factors = self.model.item_factors.astype(np.float64)  # [n_items, factors]

    def score(self, users: Users) -> Floats:
        own = self.model.recalculate_user(np.arange(len(users)), users.matrix())  # [b, factors]
        return own.astype(np.float64) @ self.item_factors.T
