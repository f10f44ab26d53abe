"""EASE with item features (CEASE): the features stand below the histories as if they were further users.

    P = (X'X + weight * F F' + l2 I)^-1,   B = -P / diag(P) by columns, diag(B) = 0,   score(u, .) = x_u B

where F [n_items, features] are TF-IDF vectors of the words of the items' texts, of their categories, or both, each with
rows of unit length. With weight = 0 it is EASE. An item that nobody took in training is reached through its features.

Defaults: ndcg@10 on validation items (leave-one-out) is .0951 on ml-100k, the best of 9 tries (ease: .0929), and .0615
on amazon2014-beauty (ease with the same l2: .0513), where weight 10, l2 50 did best of 5 with .0633; weight 50 gave
.0558. Those of beauty are in float32.

Source: Jeunen, Van Balen and Goethals, Closed-Form Models for Collaborative Filtering with Side-Information, RecSys
2020 (CEASE); EASE: Steck, WWW 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from llmrec.closed_form import item_weights, require_gram
from llmrec.method import tune

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from llmrec.context import Context
    from llmrec.types import Floats, Items, Split, Users

FEATURES = ("words", "categories", "both")
BLOCK = 1024
"""Items whose part of the Gram matrix is computed at once."""


@dataclass
class EaseFeatures:
    """EASE that also has to rebuild the items' features: linear weights from histories and content, in closed form."""

    family: ClassVar[str] = "hybrid"
    seeded: ClassVar[bool] = False
    needs_text: ClassVar[bool] = True

    l2: float = tune(100.0, low=1.0, high=5000.0, log=True)
    weight: float = tune(5.0, low=0.1, high=1000.0, log=True)  # of a feature, beside a user's 1
    features: Literal["words", "categories", "both"] = tune("words", choices=FEATURES)
    precision: Literal["float32", "float64"] = "float64"  # of the inverse; float32 takes half the time and memory

    def fit(self, split: Split, ctx: Context) -> None:
        require_gram("ease-features", split.n_items, self.precision)
        gram = self._gram(split, _features(ctx.items, self.features))
        self.weights = item_weights(gram, self.l2)  # [n_items, n_items]

    def score(self, users: Users) -> Floats:
        return users.matrix() @ self.weights

    def _gram(self, split: Split, content: csr_matrix) -> Floats:
        """X'X + weight * F F' as an array in columns, filled in blocks: most items share a word with most others, so
        that a sparse product of all at once would take more memory than the array."""
        seen = split.fit.matrix().astype(np.float64)  # [n_users, n_items]
        takers = seen.T.tocsr()
        gram = np.empty((split.n_items, split.n_items), self.precision, order="F")
        for start in range(0, split.n_items, BLOCK):
            some = slice(start, start + BLOCK)
            block = takers[some] @ seen + self.weight * (content[some] @ content.T)
            gram[:, some] = block.toarray().T  # symmetric
        return gram


def _features(items: Items, which: str) -> csr_matrix:
    """The items' features, float64 [n_items, features]; rows of a block have unit length, or are 0.

    Raises:
        ValueError: an unknown name, or no item has any such feature.
    """
    from scipy.sparse import hstack

    if which not in FEATURES:
        raise ValueError(f"features = {which!r}: expected one of {', '.join(FEATURES)}")
    blocks = []
    if which in ("words", "both"):
        blocks.append(_vectors(items.texts, {}, "words in the items' texts"))
    if which in ("categories", "both"):
        blocks.append(_vectors(items.categories, {"analyzer": _as_given}, "categories"))
    return hstack(blocks, format="csr")


def _vectors(documents: list[str] | list[list[str]], analyzed: dict[str, object], what: str) -> csr_matrix:
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(sublinear_tf=True, **analyzed).fit_transform(documents)
    except ValueError:
        raise ValueError(f"ease-features needs {what}, and this dataset has none") from None


def _as_given(names: list[str] | None) -> list[str]:
    return names or []
