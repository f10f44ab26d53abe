"""Collaborative filtering on language features: what users took together, learnt as a map of the items' texts.

kind = "alpharec": AlphaRec (Sheng et al., ICLR 2025, arXiv 2407.05441). One small network maps the text of an item and
the mean text of a user's items; the results are smoothed over the graph of who took what, as LightGCN does (its
equations 3 and 4: each neighbour weighs 1 / sqrt(degree * degree), the layers' mean counts), and compared by cosine in
a softmax with a temperature over the wanted item and items drawn for the whole step (InfoNCE).

kind = "ease-text": EASE that must rebuild the texts too (CEASE: Jeunen, Van Balen and Goethals, RecSys 2020), in closed
form, with B and its diagonal as in ease: P = (X'X + weight * F F' + l2)^-1, where F F' are the cosines of the texts.
With weight = 0 it is ease.

Either has no number that belongs to one item alone and not to its text and its users, so that an item that nobody took
in training is scored from its text. A user is whoever has a history, known to training or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmrec.closed_form import gram_matrix, item_weights, require_gram
from llmrec.context import Context
from llmrec.method import tune
from llmrec.sequence import checks
from llmrec.sequence.fit import Step, fit_steps, seeded
from llmrec.sequence.losses import declared_loss
from llmrec.text_features import text_features
from llmrec.types import Floats, Histories, Interactions, Split, Users

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

KINDS = ("alpharec", "ease-text")
MAPS = ("linear", "mlp")


class SmoothedTexts(nn.Module):
    """The texts of items and users, mapped and smoothed over the graph of who took what in training."""

    def __init__(self, text: Floats, took: Histories, width: int, mapping: str, layers: int):
        super().__init__()
        d, self.layers = text.shape[1], layers
        two = (nn.Linear(d, d // 2 + width), nn.LeakyReLU(), nn.Linear(d // 2 + width, width))
        self.map = nn.Linear(d, width) if mapping == "linear" else nn.Sequential(*two)
        self.degree = np.maximum(np.bincount(took.matrix().indices, minlength=took.n_items), 1)
        edges, means = neighbours(took, self.degree), mean_texts(took, text)
        self.text: Tensor
        self.means: Tensor
        self.edges: Tensor
        self.register_buffer("text", torch.from_numpy(text), persistent=False)
        self.register_buffer("means", torch.from_numpy(means), persistent=False)
        self.register_buffer("edges", sparse(edges), persistent=False)  # [n_users, n_items]
        self.kept: list[Tensor] | None = None

    def train(self, mode: bool = True) -> SmoothedTexts:
        self.kept = None
        return super().train(mode)

    def forward(self) -> tuple[Tensor, list[Tensor]]:
        """The users' vectors [n_users, d], and the items' of each layer, layers + 1 arrays [n_items, d]."""
        users, items = [self.map(self.means)], [self.map(self.text)]
        for _ in range(self.layers):
            users.append(torch.sparse.mm(self.edges, items[-1]))
            items.append(torch.sparse.mm(self.edges.t(), users[-2]))
        return torch.stack(users).mean(0), items

    @torch.no_grad()  # sparse tensors cannot be made in inference mode
    def of_histories(self, some: Histories) -> tuple[Tensor, Tensor]:
        """Vectors of whoever has these histories [b, d] and of the items [n_items, d]."""
        if self.kept is None:
            self.kept = self.forward()[1]
        edges = sparse(neighbours(some, self.degree)).to(self.text.device)
        means = torch.from_numpy(mean_texts(some, self.text.cpu().numpy())).to(self.text.device)
        users = [self.map(means), *(torch.sparse.mm(edges, layer) for layer in self.kept[:-1])]
        return torch.stack(users).mean(0), torch.stack(self.kept).mean(0)


@dataclass
class BertCf:
    """Collaborative filtering whose items are their texts: AlphaRec's smoothed map, or EASE with text features."""

    family: ClassVar[str] = "bert"
    early_stops: ClassVar[bool] = True
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"epochs": 8, "batch_size": 256, "width": 32}

    kind: str = "alpharec"  # or "ease-text"
    encoder: str = "all-MiniLM-L6-v2"
    whiten: float = tune(0.5, low=0.0, high=1.0)  # 0: principal components keep their variances, 1: equal ones
    mapping: str = tune("mlp", choices=MAPS)  # alpharec, and all up to ``patience``
    width: int = tune(64, choices=(32, 64, 128))
    layers: int = tune(2, low=0, high=3)  # of smoothing
    temperature: float = tune(0.15, low=0.05, high=0.5, log=True)
    loss: str = "sampled-softmax"  # or another of llmrec.sequence.losses
    negatives: int | None = 256
    calibration: float = 0.75  # for "gbce"
    learning_rate: float = tune(1e-3, low=1e-4, high=1e-2, log=True)  # of the first epoch; falls linearly to zero
    weight_decay: float = 0.0
    batch_size: int = 2048  # pairs of a user and an item
    epochs: int = 50
    patience: int = 10
    l2: float = tune(100.0, low=1.0, high=5000.0, log=True)  # ease-text
    weight: float = tune(30.0, low=0.1, high=1000.0, log=True)  # ease-text: of the texts, beside a user's 1

    def __post_init__(self) -> None:
        self.mean_loss = declared_loss("bert-cf", self.loss, self.negatives, self.calibration)
        checks.one_of("bert-cf", "kind", self.kind, KINDS)
        checks.one_of("bert-cf", "mapping", self.mapping, MAPS)
        checks.at_least("bert-cf", 1, width=self.width, epochs=self.epochs, patience=self.patience)
        checks.at_least("bert-cf", 1, batch_size=self.batch_size)
        checks.at_least("bert-cf", 0, layers=self.layers, weight_decay=self.weight_decay, weight=self.weight)
        checks.above_zero("bert-cf", learning_rate=self.learning_rate, temperature=self.temperature, l2=self.l2)

    def fit(self, split: Split, ctx: Context) -> None:
        """
        Raises:
            UserError: no item has a text. MemoryError: the Gram matrix does not fit (ease-text).
        """
        if self.kind == "ease-text":
            require_gram("bert-cf", split.n_items, "float64")
        text = text_features("bert-cf", ctx, self.encoder, self.whiten)
        if self.kind == "ease-text":
            gram = gram_matrix(split.fit.matrix(), "float64")
            gram += self.weight * (text @ text.T)
            self.weights = item_weights(gram, self.l2)  # [n_items, n_items]
            ctx.chosen_epochs = 1
            return
        size = (self.width, self.mapping, self.layers)
        self.model = seeded(lambda: SmoothedTexts(text, split.fit.histories, *size), ctx)
        fit_steps(self, self.model, ctx, lambda epoch: self.steps(split.fit, ctx, epoch))

    def steps(self, took: Interactions, ctx: Context, epoch: int) -> Iterator[Step]:
        """The steps of one epoch: each item of each user is wanted once, among the items of training."""
        rng, negatives = ctx.rng("order", epoch), ctx.rng("negatives", epoch)
        known = np.unique(took.item)
        place = np.searchsorted(known, took.item)
        order, compared = rng.permutation(len(took)), torch.from_numpy(known).to(ctx.device)
        for start in range(0, len(order), self.batch_size):
            some = order[start : start + self.batch_size]
            users, layers = self.model()
            asked = users[torch.from_numpy(took.user[some]).to(ctx.device)]
            items = F.normalize(torch.stack(layers).mean(0)[compared], dim=1)
            states = F.normalize(asked, dim=1) / self.temperature
            wanted = torch.from_numpy(place[some]).to(ctx.device)
            yield self.mean_loss(states, items, wanted, negatives if self.mean_loss.draws else None), len(some)

    def score(self, users: Users) -> Floats:
        if self.kind == "ease-text":
            weighed: Floats = users.matrix() @ self.weights
            return weighed
        vectors, items = self.model.of_histories(users.histories)
        scores: Floats = (F.normalize(vectors, dim=1) @ F.normalize(items, dim=1).T).cpu().numpy()
        return scores


def neighbours(took: Histories, degree: Any) -> csr_matrix:
    """1 / sqrt(items of the user * users of the item) for each pair, float32 [rows, n_items]; ``degree`` int [n_items]
    is that of training."""
    edges = took.matrix()
    own = np.repeat(np.diff(edges.indptr), np.diff(edges.indptr))
    edges.data = (1 / np.sqrt(own * degree[edges.indices])).astype(np.float32)
    return edges


def mean_texts(took: Histories, text: Floats) -> Floats:
    """The mean of the texts of each row's items, float32 [rows, d]; zero where there is none."""
    seen = took.matrix()
    means: Floats = (seen @ text) / np.maximum(np.diff(seen.indptr), 1)[:, None].astype(np.float32)
    return means


def sparse(matrix: csr_matrix) -> Tensor:
    """As torch's sparse tensor."""
    pairs = matrix.tocoo()
    places = torch.from_numpy(np.stack([pairs.row, pairs.col]).astype(np.int64))
    return torch.sparse_coo_tensor(
        places, torch.from_numpy(pairs.data), matrix.shape, check_invariants=False
    ).coalesce()
