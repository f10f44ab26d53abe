"""SASRec: causal self-attention over a user's items, every position of a sequence a training target.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, in its authors' own form: item embeddings enter
multiplied by the square root of their width, and the stream itself is normed between attention and feed-forward net.
Both decide: on Amazon Beauty a pre-norm block of today, unscaled, took cross-entropy 40 epochs to a validation ndcg@10
of .061, where this one needs 6. One thing is later than the paper: full cross-entropy in place of one sampled negative
(Klenitskiy and Vasilev, RecSys 2023), of a choice of four losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from llmrec.context import Context
from llmrec.method import tune
from llmrec.sequence import checks
from llmrec.sequence.attention import CausalBlock
from llmrec.sequence.fit import fit_next_item, next_item_scores, seeded
from llmrec.sequence.layers import Dropout, ItemEmbedding, initialise
from llmrec.sequence.losses import declared_loss
from llmrec.sequence.settings import check_attention
from llmrec.types import Floats, Split, Users


class Transformer(nn.Module):
    """Item ids [b, t] -> what each position expects next [b, t, d]. Sequences are padded on the right, so that the
    causal mask alone hides the padding."""

    def __init__(self, n_items: int, length: int, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.items, self.positions = ItemEmbedding(n_items, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(CausalBlock(width, heads, dropout) for _ in range(layers)))
        self.norm, self.dropout = nn.LayerNorm(width), Dropout(dropout)
        initialise(self)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.items(ids) * self.items.embedding_dim**0.5 + self.positions.weight[: ids.shape[1]]
        return self.norm(self.blocks(self.dropout(x)))

    @property
    def catalogue(self) -> Tensor:
        return self.items.catalogue


@dataclass
class SASRec:
    """Causal self-attention over the items a user took; every position is a training target; four losses."""

    family: ClassVar[str] = "sequential"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"epochs": 10, "width": 32, "learning_rate": 5e-3}

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
        self.mean_loss = declared_loss("sasrec", self.loss, self.negatives, self.calibration)
        checks.at_least("sasrec", 1, layers=self.layers)
        check_attention("sasrec", self)

    def fit(self, split: Split, ctx: Context) -> None:
        size = (self.length, self.width, self.layers, self.heads, self.dropout)
        self.model = seeded(lambda: Transformer(split.n_items, *size), ctx)
        fit_next_item(self, self.model, split, ctx, self.mean_loss)

    def score(self, users: Users) -> Floats:
        return next_item_scores(self.model, users, self.length)
