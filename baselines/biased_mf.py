"""Biased matrix factorisation, through Surprise (its ``SVD``): the method that the Netflix Prize made the standard.

    predict(u, i) = mean + b_u + b_i + p_u . q_i

Stochastic gradient descent, rating by rating in the order of users, on

    (r_ui - predict(u, i))^2 + regularization (b_u^2 + b_i^2 + |p_u|^2 + |q_i|^2)

from biases 0 and factors drawn from N(0, 0.1). A user without a rating has neither bias nor factors, nor has an item.
The gradient steps are one thread's work; the run's threads do not matter.

The defaults are Surprise's, whose README publishes them on ml-100k (5 random folds): RMSE .934, MAE .737.

Source: Koren, Bell and Volinsky, Matrix Factorization Techniques for Recommender Systems, IEEE Computer 42(8), 2009;
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
class BiasedMf:
    """Factorises the ratings' matrix with user and item biases by gradient descent (Surprise)."""

    family: ClassVar[str] = "collaborative"
    requires: ClassVar[tuple[str, ...]] = ("surprise",)

    factors: int = tune(100, choices=(10, 20, 50, 100, 200))
    epochs: int = tune(20, low=5, high=100)
    learning_rate: float = tune(0.005, low=0.001, high=0.02, log=True)
    regularization: float = tune(0.02, low=0.005, high=0.2, log=True)

    def fit(self, split: Split, ctx: Context) -> None:
        from surprise import SVD

        model = SVD(
            n_factors=self.factors,
            n_epochs=self.epochs,
            lr_all=self.learning_rate,
            reg_all=self.regularization,
            random_state=ctx.seed_for("initialisation") % 2**32,
        )
        model.fit(trainset(split.fit, split.scale))
        known_user = np.bincount(split.fit.user, minlength=split.n_users) > 0
        known_item = np.bincount(split.fit.item, minlength=split.n_items) > 0
        self.mean = float(model.trainset.global_mean)
        self.user, self.item = model.bu * known_user, model.bi * known_item
        self.user_factors = model.pu * known_user[:, None]  # [n_users, factors]
        self.item_factors = model.qi * known_item[:, None]  # [n_items, factors]

    def predict(self, users: Int32, items: Int32) -> Floats:
        products = np.einsum("nf,nf->n", self.user_factors[users], self.item_factors[items])
        predicted: Floats = self.mean + self.user[users] + self.item[items] + products
        return predicted
