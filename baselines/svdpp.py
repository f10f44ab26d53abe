"""SVD++, through Surprise (its ``SVDpp``): biased matrix factorisation that also counts which items a user rated.

    predict(u, i) = mean + b_u + b_i + q_i . (p_u + |R_u|^-1/2 sum over j in R_u of y_j),   R_u = items that u rated

Stochastic gradient descent, rating by rating in the order of users, on the squared error with the same regularisation
of all parameters, from biases 0 and factors drawn from N(0, 0.1). A user without a rating has neither bias nor factors,
nor has an item. The gradient steps are one thread's work; the run's threads do not matter.

The defaults are Surprise's, whose README publishes them on ml-100k (5 random folds): RMSE .920, MAE .722. On the
validation ratings of the first official fold they reach RMSE .942; 40 epochs with learning rate .005 and regularization
.05 reach .939, with .1 .942.

Source: Koren, Factorization Meets the Neighborhood: A Multifaceted Collaborative Filtering Model, KDD 2008, section 4;
Hug, Surprise: A Python library for recommender systems, JOSS 5(52), 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.method import tune
from llmrec.surprise_data import trainset

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split


@dataclass
class SvdPp:
    """Factorises the ratings' matrix with biases, and with factors of the items that a user rated at all (Surprise)."""

    family: ClassVar[str] = "collaborative"
    requires: ClassVar[tuple[str, ...]] = ("surprise",)

    factors: int = tune(20, choices=(5, 10, 20, 50, 100))
    epochs: int = tune(20, low=5, high=100)
    learning_rate: float = tune(0.007, low=0.001, high=0.02, log=True)
    regularization: float = tune(0.02, low=0.005, high=0.2, log=True)

    def fit(self, split: Split, ctx: Context) -> None:
        from surprise import SVDpp

        model = SVDpp(
            n_factors=self.factors,
            n_epochs=self.epochs,
            lr_all=self.learning_rate,
            reg_all=self.regularization,
            random_state=ctx.seed_for("initialisation") % 2**32,
            cache_ratings=True,
        )
        model.fit(trainset(split.fit, split.scale))
        known_user = np.bincount(split.fit.user, minlength=split.n_users) > 0
        known_item = np.bincount(split.fit.item, minlength=split.n_items) > 0
        self.mean = float(model.trainset.global_mean)
        self.user, self.item = model.bu * known_user, model.bi * known_item
        rated = split.fit.matrix().astype(np.float64)  # [n_users, n_items]
        roots = np.sqrt(np.maximum(np.diff(rated.indptr), 1))
        self.user_factors = (model.pu + (rated @ model.yj) / roots[:, None]) * known_user[:, None]  # [n_users, factors]
        self.item_factors = model.qi * known_item[:, None]  # [n_items, factors]

    def predict(self, users: Int32, items: Int32) -> Floats:
        products = np.einsum("nf,nf->n", self.user_factors[users], self.item_factors[items])
        predicted: Floats = self.mean + self.user[users] + self.item[items] + products
        return predicted
