"""SASRec over texts: an item is what a learnt adaptor makes of its text, so items that training never saw count too.

UniSRec (Hou et al., KDD 2022, arXiv 2206.05941) puts an adaptor between a frozen text encoder and a sequence model and
may add id embeddings ("transductive"); MoRec (Yuan et al., SIGIR 2023, arXiv 2303.13835) compares a linear one with
ids. UniSRec's mixture of whitening experts is here one linear map (or a small network) of whitened vectors, and nothing
is pre-trained on other datasets.

The loss compares the items of training only. In a softmax over the whole catalogue the others would be wrong answers
throughout, and their texts would be learnt to be unwanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from llmrec.context import Context
from llmrec.method import tune
from llmrec.sequence import checks
from llmrec.sequence.attention import CausalBlock
from llmrec.sequence.fit import Step, fit_steps, next_item_scores, seeded
from llmrec.sequence.layers import Dropout, initialise
from llmrec.sequence.losses import declared_loss
from llmrec.sequence.settings import check_attention
from llmrec.sequence.windows import shifted_windows
from llmrec.text_features import text_features
from llmrec.types import Floats, Histories, Split, Users

ADAPTORS = ("linear", "mlp")


class TextTransformer(nn.Module):
    """Item ids [b, t] -> what each position expects next [b, t, d]; sequences are padded on the right."""

    def __init__(self, text: Tensor, known: Tensor, settings: BertSasrec):
        """text float32 [n_items, d_text]; known bool [n_items]: the items of training, which alone may have ids."""
        super().__init__()
        d_text, d, dropout = text.shape[1], settings.width, settings.dropout
        hidden = (nn.Linear(d_text, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.adaptor = nn.Linear(d_text, d) if settings.adaptor == "linear" else nn.Sequential(*hidden)
        self.ids = nn.Embedding(len(text), d) if settings.ids else None
        self.start, self.positions, self.scale = nn.Embedding(1, d), nn.Embedding(settings.length, d), d**0.5
        self.blocks = nn.Sequential(*(CausalBlock(d, settings.heads, dropout) for _ in range(settings.layers)))
        self.norm, self.dropout = nn.LayerNorm(d), Dropout(dropout)
        initialise(self)
        self.text: Tensor
        self.known: Tensor
        self.register_buffer("text", text, persistent=False)
        self.register_buffer("known", known[:, None].float(), persistent=False)
        self.catalogue = self.items()

    def items(self) -> Tensor:
        """The items' vectors, which are also the output layer [n_items, d]."""
        made: Tensor = self.adaptor(self.text)
        return made if self.ids is None else made + self.known * self.ids.weight

    def forward(self, ids: Tensor) -> Tensor:
        self.catalogue = self.items()  # once for the input and the output of a step
        x = nn.functional.embedding(ids, torch.cat([self.catalogue, self.start.weight])) * self.scale
        hidden: Tensor = self.blocks(self.dropout(x + self.positions.weight[: ids.shape[1]]))
        normed: Tensor = self.norm(hidden)
        return normed


@dataclass
class BertSasrec:
    """SASRec whose items are read from their texts through a learnt adaptor, with id embeddings added or without."""

    family: ClassVar[str] = "bert"
    early_stops: ClassVar[bool] = True
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"epochs": 12, "width": 32, "learning_rate": 5e-3}

    encoder: str = "all-MiniLM-L6-v2"
    whiten: float = tune(0.5, low=0.0, high=1.0)  # 0: principal components keep their variances, 1: equal ones
    adaptor: str = tune("linear", choices=ADAPTORS)
    ids: bool = tune(True, choices=(True, False))  # add an embedding of its own to each item of training
    length: int = tune(50, choices=(20, 50, 100, 200))
    width: int = tune(64, choices=(32, 64, 128))
    layers: int = tune(2, low=1, high=4)
    heads: int = tune(2, choices=(1, 2, 4))
    dropout: float = tune(0.2, low=0.0, high=0.6)
    loss: str = "cross-entropy"  # or "bce", "gbce", "sampled-softmax": see llmrec.sequence.losses
    negatives: int | None = None  # None: 1 for "bce", 256 for "gbce", 1,024 for "sampled-softmax"
    calibration: float = 0.75  # gSASRec's t, for "gbce"
    learning_rate: float = tune(1e-3, low=1e-4, high=1e-2, log=True)  # of the first epoch; falls linearly to zero
    weight_decay: float = 0.0
    batch_size: int = 128  # windows
    epochs: int = 100
    patience: int = 10

    def __post_init__(self) -> None:
        self.mean_loss = declared_loss("bert-sasrec", self.loss, self.negatives, self.calibration)
        checks.one_of("bert-sasrec", "adaptor", self.adaptor, ADAPTORS)
        checks.at_least("bert-sasrec", 1, layers=self.layers)
        check_attention("bert-sasrec", self)

    def fit(self, split: Split, ctx: Context) -> None:
        text = torch.from_numpy(text_features("bert-sasrec", ctx, self.encoder, self.whiten))
        known = torch.from_numpy(np.bincount(split.fit.item, minlength=split.n_items) > 0)
        self.model = seeded(lambda: TextTransformer(text, known, self), ctx)
        fit_steps(self, self.model, ctx, lambda epoch: self.steps(split.fit.histories, known, ctx, epoch))

    def steps(self, histories: Histories, known: Tensor, ctx: Context, epoch: int) -> Iterator[Step]:
        """The steps of one epoch: each item of each history is a target once, among the items of training."""
        negatives = ctx.rng("negatives", epoch) if self.mean_loss.draws else None
        compared = known.nonzero().squeeze(1).to(ctx.device)  # [m] ids
        place = (known.cumsum(0) - 1).to(ctx.device)  # of an id among those
        order = ctx.rng("order", epoch)
        for inputs, targets in shifted_windows(histories, self.length, self.batch_size, order, ctx.device):
            there = targets.flatten().ge(0).nonzero().squeeze(1)  # [n], those that are no padding
            states = self.model(inputs).flatten(0, 1)[there]
            wanted = place[targets.flatten()[there]]
            yield self.mean_loss(states, self.model.catalogue[compared], wanted, negatives), len(there)

    def score(self, users: Users) -> Floats:
        return next_item_scores(self.model, users, self.length)
