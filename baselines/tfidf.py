"""TF-IDF: items whose text is like the texts of what the user had, or like a request. No other user is looked at.

    v_i          = TF-IDF vector of item i's text (words, or words and pairs of words; sublinear counts), unit length
    score(u, i)  = v_i . sum over k >= 0 of decay^k * v_h(u, k), divided by the sum of the weights
    search(q, i) = v_i . v_q; items that share nothing with the request are not listed

where h(u, k) is the user's k-th last item: the mean cosine to the history, the newer the more it counts. The
defaults did best on the validation items of ml-100k (leave-one-out).

Texts of a script that puts no spaces between words (Chinese, Japanese, Thai, ...) are taken apart into characters and
pairs of neighbouring characters; which it is follows from the texts, unless ``analyzer`` says it. On the validation
requests of mind-mini-zh that reached ndcg@10 .274, characters alone .254, up to three .270, "words" 0.

Source: Salton and Buckley, Term-weighting Approaches in Automatic Text Retrieval, Information Processing and Management
24(5), 1988; the profile of a user as in Lops, de Gemmis and Semeraro, Recommender Systems Handbook, 2011.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.best import best
from llmrec.letters import analyzer_for
from llmrec.method import tune

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split, Users


@dataclass
class Tfidf:
    """Recommends the items whose title and categories are most like those of the user's own items."""

    family: ClassVar[str] = "content"
    seeded: ClassVar[bool] = False
    needs_text: ClassVar[bool] = True

    decay: float = tune(0.7, low=0.5, high=1.0)  # how much each step back into the history counts less
    pairs: bool = tune(False, choices=(False, True))  # pairs of neighbouring words count too
    analyzer: str = "auto"  # "word", "char", or "auto": characters if most letters are of a script without spaces

    def fit(self, split: Split, ctx: Context) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = ctx.items.texts
        unit = self.analyzer if self.analyzer != "auto" else analyzer_for(texts)
        longest = 2 if self.pairs or unit == "char" else 1
        self.vectorizer = TfidfVectorizer(analyzer=unit, ngram_range=(1, longest), sublinear_tf=True)
        try:
            self.vectors = self.vectorizer.fit_transform(texts)  # float64 [n_items, words]
        except ValueError:
            raise ValueError("tfidf needs item texts, and this dataset's items have no words") from None
        self.candidates = np.flatnonzero(split.candidates).astype(np.int32)

    def score(self, users: Users) -> Floats:
        from scipy.sparse import csr_matrix

        histories = users.histories
        weights = self.decay ** histories.ages.astype(np.float64)
        weights /= np.bincount(histories.rows, weights, minlength=len(users))[histories.rows]
        taken = csr_matrix((weights, (histories.rows, histories.items)), (len(users), histories.n_items))
        return (taken @ self.vectors @ self.vectors.T).toarray()

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        scores = self.vectorizer.transform(texts) @ self.vectors[self.candidates].T  # sparse [b, candidates]
        return best(scores.toarray(), self.candidates, k, above=0.0)
