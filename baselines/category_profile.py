"""Category profile: how often a user took from each category, and what most people take from it.

    P(c | u)    = share of category c in the user's history, the k-th last item counting decay^k; an item's weight is
                  divided among its categories
    P(i | c)    = (1 + events with i)^power over the same of all items of category c
    score(u, i) = sum over categories c of P(c | u) * P(i | c)

power = 0 looks at no other user: all items of a category are equal, and those of small categories count more. An item
without categories scores 0.

Defaults: ndcg@10 on validation items (leave-one-out) is .0363 on ml-100k (decay .7, 1: .0327, .0335; power .5, 0:
.0292, .0125) and .0157 on amazon2014-beauty (decay .7: .0157; power .5: .0140).

Source: the naive Bayes model of content-based recommendation, see Lops, de Gemmis and Semeraro, Content-based
Recommender Systems, Recommender Systems Handbook, 2011; P(i | c) by popularity is this suite's own choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.method import tune

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users


@dataclass
class CategoryProfile:
    """Recommends the popular items of the categories that the user took from."""

    family: ClassVar[str] = "content"
    seeded: ClassVar[bool] = False

    decay: float = tune(0.9, low=0.5, high=1.0)  # how much each step back into the history counts less
    power: float = tune(1.0, low=0.0, high=1.0)  # of an item's popularity within its categories

    def fit(self, split: Split, ctx: Context) -> None:
        from scipy.sparse import csr_matrix, diags_array

        member = _members(ctx.items.categories)  # [n_items, categories]
        taken = np.bincount(split.fit.item, minlength=split.n_items)
        weighed = diags_array((1.0 + taken) ** self.power) @ member
        self.items_of = csr_matrix((weighed @ diags_array(1.0 / np.asarray(weighed.sum(axis=0)).ravel())).T)
        categories = np.maximum(np.diff(member.indptr), 1)
        self.share = csr_matrix(diags_array(1.0 / categories) @ member)  # [n_items, categories]

    def score(self, users: Users) -> Floats:
        from scipy.sparse import csr_matrix

        histories = users.histories
        weights = self.decay ** histories.ages.astype(np.float64)
        weights /= np.bincount(histories.rows, weights, minlength=len(users))[histories.rows]
        taken = csr_matrix((weights, (histories.rows, histories.items)), (len(users), histories.n_items))
        return (taken @ self.share @ self.items_of).toarray()


def _members(categories: list[list[str]]) -> csr_matrix:
    """Which item has which category, 0 or 1, float64 [n_items, categories].

    Raises:
        ValueError: no item has any.
    """
    from scipy.sparse import csr_matrix

    own = [sorted(set(names or [])) for names in categories]
    number = {name: place for place, name in enumerate(sorted({name for names in own for name in names}))}
    if not number:
        raise ValueError("category-profile needs categories, and this dataset's items have none")
    columns = [number[name] for names in own for name in names]
    starts = np.cumsum([0, *map(len, own)])
    return csr_matrix((np.ones(len(columns)), columns, starts), (len(own), len(number)))
