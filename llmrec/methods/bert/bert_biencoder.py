"""Zero-shot bi-encoder: a pretrained sentence encoder reads the items' texts, nothing is learnt from interactions.

Sentence-BERT (Reimers and Gurevych, EMNLP 2019) embeds the texts. Their mean says "this is a film", not which one, and
is taken out; so is a part of what makes some directions loud in all texts (whitening: Su et al., arXiv 2103.15316). The
defaults did best on the validation items of ml-100k (leave-one-out): ndcg@10 .040, and .011 as the encoder gives them.

``user = "attention"`` asks of every candidate which items of the history speak for it, the more alike the louder
(target attention as in DIN, Zhou et al., KDD 2018, its weights not learnt): not what a user likes on average but
whether anything in the history is near. With ``sharpness`` 0 it orders as the mean does, with 40 as the nearest item.
On validation items: ml-100k .0396 (0), .0407 (2), .0299 (5), .0212 (40), Beauty .0372, .0399, .0363, .0346.

A request in words is compared with the items' embeddings as the encoder gives them: a request is no item, and what is
true of the catalogue's mean is not true of it. On the validation requests of ml-latest-small that reached ndcg@10 .122,
requests moved into the space of the histories .107; of hetrec2011-lastfm-2k .074 and .070.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.best import best
from llmrec.errors import UserError, nearest
from llmrec.method import tune

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse

    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split, Users

USERS = ("mean", "attention")

SHARPEST = 40.0
"""exp(-2 x 40) is still a number in float32."""

COLUMNS = 1024
"""Candidates that a history's items are compared with at a time: bounds the memory of attention."""


@dataclass
class BertBiencoder:
    """Cosine between an item's text embedding and a history's: their recency-weighted mean, or attended; zero-shot."""

    family: ClassVar[str] = "bert"
    seeded: ClassVar[bool] = False
    needs_text: ClassVar[bool] = True

    encoder: str = "all-MiniLM-L6-v2"
    decay: float = tune(0.95, low=0.5, high=1.0)  # weight of an item relative to the next newer one
    centre: bool = tune(True, choices=(True, False))  # subtract the catalogue's mean embedding
    whiten: float = tune(0.5, low=0.0, high=1.0)  # 0: principal components keep their variances, 1: equal ones
    user: str = tune("mean", choices=USERS)  # how a history is read
    sharpness: float = tune(2.0, low=0.0, high=SHARPEST)  # of "attention": how much louder the more alike are

    def __post_init__(self) -> None:
        if self.user not in USERS:
            raise UserError(f"bert-biencoder: user {self.user!r} is unknown.{nearest(self.user, USERS)}")
        if not 0 <= self.sharpness <= SHARPEST:
            limits = f"expected 0 to {SHARPEST:g}, where the nearest item alone counts"
            raise UserError(f"bert-biencoder: sharpness = {self.sharpness} is out of range: {limits}.")

    def fit(self, split: Split, ctx: Context) -> None:
        self.ctx = ctx
        if split.requests:  # nothing but candidates can be an answer, and reading takes long
            self.embeddings = ctx.item_embeddings(self.encoder, split.candidates)
        else:
            self.embeddings = isotropic(ctx.item_embeddings(self.encoder), self.centre, self.whiten)
        self.candidates = np.flatnonzero(split.candidates).astype(np.int32)

    def score(self, users: Users) -> Floats:
        import scipy.sparse

        histories = users.histories
        weights = np.power(self.decay, histories.ages).astype(np.float32)
        mean = scipy.sparse.csr_matrix(
            (weights, histories.items, histories.indptr), shape=(len(users), histories.n_items)
        )  # [b, n_items]; its rows' scale does not matter, for user vectors are brought to unit length
        if self.user == "attention":
            return attended(mean, self.embeddings, self.sharpness)
        scores: Floats = unit(mean @ self.embeddings) @ self.embeddings.T
        return scores

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        requests = self.ctx.request_embeddings(texts, self.encoder)
        return best(requests @ self.embeddings[self.candidates].T, self.candidates, k)


def attended(weights: scipy.sparse.csr_matrix, embeddings: Floats, sharpness: float) -> Floats:
    """Scores [b, n_items]: the mean cosine of a candidate with a history's items, each item weighted by its own weight
    [b, n_items] times exp(sharpness x cosine). Items without text have no say; a history without any scores 0."""
    known = np.flatnonzero(np.diff(weights.tocsc().indptr) * embeddings.any(axis=1))  # items of these histories
    weights, keys = weights[:, known], embeddings[known]
    scores = np.zeros((weights.shape[0], len(embeddings)), np.float32)
    for start in range(0, len(embeddings), COLUMNS):
        likeness = keys @ embeddings[start : start + COLUMNS].T  # [known, COLUMNS]
        loudness = np.exp(sharpness * (likeness - 1))
        heard = weights @ loudness
        np.divide(weights @ (loudness * likeness), heard, out=scores[:, start : start + COLUMNS], where=heard > 0)
    return scores


def isotropic(vectors: Floats, centre: bool, whiten: float) -> Floats:
    """Embeddings [n, d] without their mean and with principal components scaled by variance^(-whiten / 2), unit length.

    Rows that are zero (items without text) stay zero and have no say.
    """
    there = vectors.any(axis=1)
    rest = vectors[there].astype(np.float64)
    if centre:
        rest -= rest.mean(axis=0)
    if whiten:
        variances, axes = np.linalg.eigh(rest.T @ rest / max(len(rest), 1))  # [d], [d, d]
        floor = variances.max() * 1e-6  # fewer items than dimensions leave directions of no variance: noise
        rest = rest @ (axes * np.maximum(variances, max(floor, 1e-30)) ** (-whiten / 2))
    out = np.zeros(vectors.shape, np.float32)
    out[there] = unit(rest)
    return out


def unit(vectors: Floats) -> Floats:
    """Rows [n, d] at unit length; zero rows stay zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: Floats = vectors / np.where(length > 0, length, 1)
    return result
