"""EASE: a linear item-to-item model in closed form.

    P = (X'X + l2 I)^-1,   B = -P / diag(P) by columns, diag(B) = 0,   score(u, .) = x_u B

With ``relaxed`` over 0 an item may rebuild itself up to that share (RLAE): B = -P diag(k), diag(B) = 0, where
k_j = (1 - relaxed) / P_jj for the items that would rebuild themselves more than that, the popular ones, and l2 for the
others. It holds popular items back. Validation items (leave-one-out), relaxed = 0 and .3:

                           ndcg@10          coverage@10
    ml-100k, l2 100        .0930  .0947     .33  .38
    ml-1m-noratings, 200   .0526  .0527     .42  .44
    beauty, l2 50          .0519  .0526     .81  .96

On ml-100k .5 does better still: .0951 with l2 100, .1003 with l2 200.

Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019; Moon, Kim and Lee, It's Enough: Relaxing
Diagonal Constraints in Linear Autoencoders for Recommendation, SIGIR 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from llmrec.closed_form import gram_matrix, item_weights, require_gram
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
    relaxed: float = tune(0.0, low=0.0, high=0.8)  # up to which an item may rebuild itself; lifts rare items
    precision: Literal["float32", "float64"] = "float64"  # of the inverse; float32 takes half the time and memory

    def fit(self, split: Split, ctx: Context) -> None:
        """Invert the Gram matrix.

        Raises:
            MemoryError: it does not fit. ValueError: l2 is too small to invert it.
        """
        require_gram("ease", split.n_items, self.precision)
        gram = gram_matrix(split.fit.matrix(), self.precision)
        self.weights = item_weights(gram, self.l2, self.relaxed)  # [n_items, n_items]

    def score(self, users: Users) -> Floats:
        return users.matrix() @ self.weights
