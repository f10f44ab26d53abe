"""TF-IDF: items whose text is like the texts of what the user had. No other user is looked at.

    v_i         = TF-IDF vector of item i's text (words, or words and pairs of words; sublinear counts), unit length
    score(u, i) = v_i . sum over k >= 0 of decay^k * v_h(u, k), divided by the sum of the weights

where h(u, k) is the user's k-th last item: the mean cosine to the history, the newer the more it counts. The
defaults did best on the validation items of ml-100k (leave-one-out).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.method import tune

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users


@dataclass
class Tfidf:
    """Recommends the items whose title and categories are most like those of the user's own items."""

    family: ClassVar[str] = "content"
    seeded: ClassVar[bool] = False
    needs_text: ClassVar[bool] = True

    decay: float = tune(0.7, low=0.5, high=1.0)  # how much each step back into the history counts less
    pairs: bool = tune(False, choices=(False, True))  # pairs of neighbouring words count too

    def fit(self, split: Split, ctx: Context) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(ngram_range=(1, 2 if self.pairs else 1), sublinear_tf=True)
        try:
            self.vectors = vectorizer.fit_transform(ctx.items.texts)  # float64 [n_items, words]
        except ValueError:
            raise ValueError("tfidf needs item texts, and this dataset's items have no words") from None

    def score(self, users: Users) -> Floats:
        from scipy.sparse import csr_matrix

        histories = users.histories
        weights = self.decay ** histories.ages.astype(np.float64)
        weights /= np.bincount(histories.rows, weights, minlength=len(users))[histories.rows]
        taken = csr_matrix((weights, (histories.rows, histories.items)), (len(users), histories.n_items))
        return (taken @ self.vectors @ self.vectors.T).toarray()
