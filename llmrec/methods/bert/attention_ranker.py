"""One embedding and one multi-head attention, as introductory articles print it, with what they leave out.

The printed network embeds a user's items, lets `nn.MultiheadAttention` look at all of them, takes the mean and scores
items with a linear layer. Five things are mended here: (1) a place sees itself and earlier places only, else it reads
the item that it should guess; (2) so it never sees padding, which stands behind the end; (3) places have embeddings, or
order would not count; (4) the state of the last place answers, and that of every place is trained, in place of a mean
over padding too; (5) the loss is a softmax over the catalogue, where the articles print none or squared error.
What is then missing to SASRec are its feed-forward layers and its depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from llmrec.context import Context
from llmrec.method import tune
from llmrec.sequence.fit import fit_next_item, next_item_scores, seeded
from llmrec.sequence.layers import Dropout, ItemEmbedding, initialise
from llmrec.sequence.losses import declared_loss
from llmrec.sequence.settings import check_attention
from llmrec.types import Floats, Split, Users


class Attention(nn.Module):
    """Item ids [b, t] -> what each place expects next [b, t, d]."""

    def __init__(self, n_items: int, length: int, width: int, heads: int, dropout: float):
        super().__init__()
        self.items, self.positions = ItemEmbedding(n_items, width), nn.Embedding(length, width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm, self.dropout = nn.LayerNorm(width), Dropout(dropout)
        initialise(self)

    def forward(self, ids: Tensor) -> Tensor:
        t = ids.shape[1]
        x = self.dropout(self.items(ids) + self.positions.weight[:t])
        later = torch.ones(t, t, dtype=torch.bool, device=ids.device).triu(1)  # what a place may not see
        seen, _ = self.attention(x, x, x, attn_mask=later, need_weights=False)
        states: Tensor = self.norm(x + self.dropout(seen))
        return states

    @property
    def catalogue(self) -> Tensor:
        """The items' embeddings, which score too [n_items, d]."""
        return self.items.catalogue


@dataclass
class AttentionRanker:
    """One embedding and one causal multi-head attention: the network of introductory articles, made correct."""

    family: ClassVar[str] = "sequential"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"epochs": 20, "width": 32, "learning_rate": 5e-3}

    length: int = tune(50, choices=(20, 50, 100, 200))
    width: int = tune(64, choices=(32, 64, 128))
    heads: int = tune(2, choices=(1, 2, 4))
    dropout: float = tune(0.2, low=0.0, high=0.6)
    loss: str = "cross-entropy"  # or another of llmrec.sequence.losses
    negatives: int | None = None  # None: what is usual for the loss
    calibration: float = 0.75  # for "gbce"
    learning_rate: float = tune(2e-3, low=1e-4, high=1e-2, log=True)  # of the first epoch; falls linearly to zero
    weight_decay: float = 0.0
    batch_size: int = 128  # windows
    epochs: int = 50
    patience: int = 10

    def __post_init__(self) -> None:
        self.mean_loss = declared_loss("attention-ranker", self.loss, self.negatives, self.calibration)
        check_attention("attention-ranker", self)

    def fit(self, split: Split, ctx: Context) -> None:
        size = (self.length, self.width, self.heads, self.dropout)
        self.model = seeded(lambda: Attention(split.n_items, *size), ctx)
        fit_next_item(self, self.model, split, ctx, self.mean_loss)

    def score(self, users: Users) -> Floats:
        return next_item_scores(self.model, users, self.length)
