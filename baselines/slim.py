"""SLIM: sparse item-to-item weights that are at least 0, one elastic net an item.

    minimise  1/2 |X - X W|^2 + l2/2 |W|^2 + l1 |W|_1   over W >= 0, diag(W) = 0;     score(u, .) = x_u W

Each column is solved by coordinate descent on the Gram matrix G = X'X (scikit-learn's solver). As W and G are at least
0, the weight of item i for item j can be over 0 only where G[i, j] > l1: the other rows are left out beforehand, which
changes no answer, and no dense Gram matrix is needed where the data are sparse. Of what is left only the ``neighbours``
items with the largest binary cosine may speak for an item (fsSLIM in the paper); 0 takes all.

Defaults: ndcg@10 on validation items (leave-one-out) is .0924 on ml-100k and .0520 on amazon2014-beauty. The best of 13
tries on ml-100k has .0932 (l2 50), of 4 on beauty .0522 (200 neighbours, l2 10). All neighbours with l1 1, l2 30 give
.0931 on ml-100k: little is lost by leaving most of them out. (Tries but these of ml-100k: at most 100 sweeps.)

Source: Ning and Karypis, SLIM: Sparse Linear Methods for Top-N Recommender Systems, ICDM 2011.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.memory import require
from llmrec.method import tune

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split, Users

SWEEPS = 1000
"""Passes over the coordinates after which a column is left as it is."""

DENSE_FROM = 0.1
"""From this share of nonzero entries the Gram matrix is held as an array."""

WHOLE_FROM = 0.5
"""From this share of rows an item's problem is solved on the whole Gram matrix."""

LOG_EVERY = 500


@dataclass
class Slim:
    """Sparse weights between items, none negative, that best rebuild every history from its other items."""

    family: ClassVar[str] = "collaborative"
    seeded: ClassVar[bool] = False

    l1: float = tune(0.5, low=0.1, high=50.0, log=True)  # the more, the fewer items speak for an item
    l2: float = tune(30.0, low=1.0, high=5000.0, log=True)  # holds large weights back
    neighbours: int = tune(50, choices=(0, 50, 100, 200, 500))  # items that may speak for an item; 0: all
    tolerance: float = 1e-4  # of the duality gap, relative to the column's squared length

    def fit(self, split: Split, ctx: Context) -> None:
        from scipy.sparse import csc_matrix

        if self.l1 <= 0 or self.l2 < 0:
            raise ValueError(f"l1 = {self.l1}, l2 = {self.l2}: expected l1 over 0 and l2 of at least 0")
        seen = split.fit.matrix().astype(np.float64)  # [n_users, n_items]
        gram = csc_matrix(seen.T @ seen)  # [n_items, n_items]
        gram.sort_indices()
        self.roots = np.sqrt(np.maximum(gram.diagonal(), 1.0))  # of the users of each item [n_items]
        dense = self._dense(gram)
        columns, self.cut_short = [], 0
        for item in range(split.n_items):
            columns.append(self._column(gram, dense, item))
            if item % LOG_EVERY == 0:
                ctx.log("fit", items=item, of=split.n_items)
        ctx.log("fit", items=split.n_items, of=split.n_items, columns_cut_short=self.cut_short)
        values, rows = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        starts = np.cumsum([0, *(len(found) for found, _ in columns)])
        self.weights = csc_matrix((values, rows, starts), shape=gram.shape).tocsr()

    def score(self, users: Users) -> Floats:
        return (users.matrix() @ self.weights).toarray()

    def _dense(self, gram: csc_matrix) -> Floats | None:
        """The Gram matrix as an array, where most of it is needed at once anyway; None where it is sparse."""
        if gram.nnz < DENSE_FROM * gram.shape[0] ** 2:
            return None
        remedy = "take a smaller catalogue (a card's filters) or a machine with more memory"
        require(gram.shape[0] ** 2 * 8, f"slim with the Gram matrix of {gram.shape[0]:,} items", remedy)
        return gram.toarray(order="C")

    def _column(self, gram: csc_matrix, dense: Floats | None, item: int) -> tuple[Floats, Int32]:
        """The weights over 0 for one item and the items that they belong to."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import enet_path

        place = slice(gram.indptr[item], gram.indptr[item + 1])
        together, values = gram.indices[place], gram.data[place]
        kept = (values > self.l1) & (together != item)
        if self.neighbours and kept.sum() > self.neighbours:
            cosine = np.where(kept, values / self.roots[together], 0.0)
            kept = np.sort(np.argsort(-cosine, kind="stable")[: self.neighbours])
        rows, common = together[kept], values[kept]
        if not len(rows):
            return common, rows
        if dense is not None and len(rows) > WHOLE_FROM * len(dense):
            # Copying most of the matrix takes longer than passing over the rows that stay 0.
            some, target = dense, np.zeros(len(dense))
            target[rows] = common
            rows = np.arange(len(dense), dtype=np.int32)
        else:
            some = dense[np.ix_(rows, rows)] if dense is not None else gram[:, rows][rows].toarray(order="C")
            target = common
        # Of the data themselves the solver needs the number of rows and the column's length alone: one row makes its
        # objective, a mean over rows, the sum above.
        length = np.sqrt(values[together == item])
        penalty = self.l1 + self.l2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # counted below
            _, weights, _, sweeps = enet_path(
                np.zeros((1, len(rows))), length, alphas=[penalty], l1_ratio=self.l1 / penalty, precompute=some,
                Xy=target, positive=True, check_input=False, max_iter=SWEEPS, tol=self.tolerance, return_n_iter=True,
            )  # fmt: skip
        self.cut_short += int(sweeps[0] >= SWEEPS)
        found = weights[:, 0] > 0
        return weights[found, 0], rows[found]
