"""BM25: items whose text shares rare words with the texts of what the user had, or with a request.

    idf(t)       = log(1 + (items - n(t) + .5) / (n(t) + .5)),   n(t) = items whose text has the word t
    match(t, i)  = idf(t) * f / (f + k1 * (1 - b + b * words of i / mean words)),   f = how often i's text has t
    search(q, i) = sum of match(t, i) over the words t of the request; items that share no word are not listed
    score(u, i)  = sum over k >= 0 of decay^k * search(text of h(u, k), i), divided by the sum of the weights

where h(u, k) is the user's k-th last item; in its text every word counts once, as often as it stands there. No other
user is looked at. This is the form of Lucene, whose idf is never negative; the constant factor k1 + 1 is left out.

Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009; the variants: Kamphuis et
al., Which BM25 Do You Mean?, ECIR 2020.

Defaults: ndcg@10 on validation items (leave-one-out) is .0323 on ml-100k (b .3: .0334; decay .5, .9: .0293, .0307) and
.0395 on amazon2014-beauty (b .3: .0376; decay .5: .0404). k1 and b are the usual ones.

Texts of a script that puts no spaces between words are taken apart into characters and pairs of neighbouring
characters; which it is follows from the texts, unless ``analyzer`` says it.
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
class Bm25:
    """Recommends the items whose title and categories share rare words with those of the user's own items."""

    family: ClassVar[str] = "content"
    seeded: ClassVar[bool] = False
    needs_text: ClassVar[bool] = True

    k1: float = tune(1.2, low=0.2, high=3.0)  # how soon a repeated word stops counting
    b: float = tune(0.75, low=0.0, high=1.0)  # how much long texts are held back
    decay: float = tune(0.7, low=0.5, high=1.0)  # how much each step back into the history counts less
    analyzer: str = "auto"  # "word", "char", or "auto": characters if most letters are of a script without spaces

    def fit(self, split: Split, ctx: Context) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        texts = ctx.items.texts
        unit = self.analyzer if self.analyzer != "auto" else analyzer_for(texts)
        self.counter = CountVectorizer(analyzer=unit, ngram_range=(1, 2 if unit == "char" else 1))
        try:
            self.words = self.counter.fit_transform(texts).astype(np.float64)  # [n_items, words]
        except ValueError:
            raise ValueError("bm25 needs item texts, and this dataset's items have no words") from None
        lengths = np.asarray(self.words.sum(axis=1)).ravel()
        held_back = self.k1 * (1 - self.b + self.b * lengths / lengths.mean())  # [n_items]
        having = np.bincount(self.words.indices, minlength=self.words.shape[1])
        idf = np.log1p((len(texts) - having + 0.5) / (having + 0.5))
        match = self.words.copy()
        match.data /= match.data + np.repeat(held_back, np.diff(match.indptr))
        match.data *= idf[match.indices]
        self.match = match  # [n_items, words]
        self.candidates = np.flatnonzero(split.candidates).astype(np.int32)

    def score(self, users: Users) -> Floats:
        from scipy.sparse import csr_matrix

        histories = users.histories
        weights = self.decay ** histories.ages.astype(np.float64)
        weights /= np.bincount(histories.rows, weights, minlength=len(users))[histories.rows]
        taken = csr_matrix((weights, (histories.rows, histories.items)), (len(users), histories.n_items))
        return (taken @ self.words @ self.match.T).toarray()

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        asked = self.counter.transform(texts).astype(np.float64)
        scores = asked @ self.match[self.candidates].T  # sparse [b, candidates]
        return best(scores.toarray(), self.candidates, k, above=0.0)
