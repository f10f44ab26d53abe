"""EASE: a linear item-to-item model in closed form.

    P = (X'X + l2 I)^-1,   B = -P / diag(P) by columns, diag(B) = 0,   score(u, .) = x_u B

Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from llmrec.closed_form import item_weights
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
        seen = split.fit.matrix()  # [n_users, n_items]
        gram = (seen.T @ seen).toarray(order="F").astype(self.precision, order="F", copy=False)
        self.weights = item_weights(gram, self.l2)  # [n_items, n_items]

    def score(self, users: Users) -> Floats:
        return users.matrix() @ self.weights
