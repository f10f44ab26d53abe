"""HSTU: attention without softmax, each position's sum gated by the position itself.

Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
Recommendations", ICML 2024 (arXiv 2402.17152), as compared with other sequence methods there (section 4.1.1); formula
by formula as in the authors' code (facebookresearch/generative-recommenders, modeling/sequential/hstu.py). A layer is

    U, V, Q, K = split(silu(norm(X) W))                          equation 1
    A V        = silu(Q K^T + rab) / length V, causally          equation 2
    Y          = (norm(A V) * U) W_o + b_o + X                   equation 3

with norms that have no weights and a bias rab for each distance of two places, learnt for each layer and shared by its
heads. There is no feed-forward net. States and items are scaled to unit length; their cosine over ``temperature`` is
the score.

The authors' rab has a second term, of the time between the item looked back at and the NEXT item, in logarithmic
buckets; their evaluation hands the model the time of the very item to be predicted. Questions here carry items and no
times, and the public sequences have none: this is HSTU with relative positions alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmrec.context import Context
from llmrec.method import tune
from llmrec.sequence import checks
from llmrec.sequence.fit import fit_next_item, next_item_scores, seeded
from llmrec.sequence.layers import Dropout, ItemEmbedding, initialise
from llmrec.sequence.losses import declared_loss
from llmrec.types import Floats, Split, Users

EPSILON = 1e-6
"""In all norms, as in the authors' code. It matters: what is normed after attention has been divided by the length."""


class Block(nn.Module):
    """One layer. ``length`` is the longest sequence, whatever the batch at hand holds."""

    def __init__(self, length: int, width: int, heads: int, head_width: int, dropout: float):
        super().__init__()
        self.length, self.heads, self.dropout = length, heads, Dropout(dropout)
        self.expand = nn.Linear(width, 4 * heads * head_width, bias=False)
        self.reduce = nn.Linear(heads * head_width, width)
        self.distance = nn.Parameter(torch.randn(length) * 0.02)  # [k]: of the item k places back

    def forward(self, x: Tensor, back: Tensor) -> Tensor:
        """x [b, t, d] -> [b, t, d]. ``back`` int64 [t, t]: how many places back each lies, negative for later ones."""
        b, t, d = x.shape
        u, v, q, k = F.silu(self.expand(F.layer_norm(x, (d,), eps=EPSILON))).chunk(4, 2)  # each [b, t, heads * width]
        v, q, k = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in (v, q, k))
        weights = F.silu(q @ k.transpose(2, 3) + self.distance[back.clamp(min=0)]) / self.length
        seen = (weights.masked_fill(back < 0, 0) @ v).transpose(1, 2).flatten(2)  # [b, t, heads * width]
        gated = u * F.layer_norm(seen, seen.shape[2:], eps=EPSILON)
        out: Tensor = x + self.reduce(self.dropout(gated))
        return out


class Transducer(nn.Module):
    """Item ids [b, t] -> what each position expects next, [b, t, d], of length 1 / temperature. Sequences are padded on
    the right, so that the causal mask alone hides the padding."""

    def __init__(
        self,
        n_items: int,
        length: int,
        width: int,
        layers: int,
        heads: int,
        head_width: int,
        dropout: float,
        temperature: float,
    ):
        super().__init__()
        self.temperature, self.dropout = temperature, Dropout(dropout)
        self.items, self.positions = ItemEmbedding(n_items, width), nn.Embedding(length, width)
        blocks = [Block(length, width, heads, head_width, dropout) for _ in range(layers)]
        self.blocks = nn.ModuleList(blocks)
        initialise(self)
        nn.init.trunc_normal_(self.positions.weight, std=width**-0.5, a=-2 * width**-0.5, b=2 * width**-0.5)
        for block in blocks:
            nn.init.xavier_uniform_(block.reduce.weight)

    def forward(self, ids: Tensor) -> Tensor:
        t, width = ids.shape[1], self.items.embedding_dim
        x = self.dropout(self.items(ids) * width**0.5 + self.positions.weight[:t])
        steps = torch.arange(t, device=ids.device)
        back = steps[:, None] - steps
        for block in self.blocks:
            x = block(x, back)
        return F.normalize(x, dim=2, eps=EPSILON) / self.temperature

    @property
    def catalogue(self) -> Tensor:
        """The items' embeddings, scaled to unit length [n_items, d]."""
        return F.normalize(self.items.catalogue, dim=1, eps=EPSILON)


@dataclass
class HSTU:
    """Attention by silu in place of softmax, gated; every position is a training target; four losses."""

    family: ClassVar[str] = "sequential"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {
        "epochs": 8, "width": 32, "head_width": 8, "learning_rate": 1e-2, "batch_size": 16,
    }  # fmt: skip

    length: int = tune(50, choices=(20, 50, 100, 200))
    width: int = tune(64, choices=(32, 64, 128))
    layers: int = tune(2, low=1, high=4)
    heads: int = tune(2, choices=(1, 2, 4))
    head_width: int = tune(32, choices=(8, 16, 32, 64))  # of queries and keys, and of values: dqk and dv there
    dropout: float = tune(0.3, low=0.0, high=0.6)
    temperature: float = tune(0.1, low=0.03, high=0.3, log=True)
    loss: str = "cross-entropy"  # or "bce", "gbce", "sampled-softmax": see llmrec.sequence.losses
    negatives: int | None = None  # None: 1 for "bce", 256 for "gbce", 1,024 for "sampled-softmax"
    calibration: float = 0.75  # gSASRec's t, for "gbce"
    learning_rate: float = tune(1e-3, low=1e-4, high=1e-2, log=True)  # of the first epoch; falls linearly to zero
    weight_decay: float = 0.0
    batch_size: int = 128  # windows
    epochs: int = 50
    patience: int = 10

    def __post_init__(self) -> None:
        self.mean_loss = declared_loss("hstu", self.loss, self.negatives, self.calibration)
        checks.at_least("hstu", 1, length=self.length, width=self.width, layers=self.layers, heads=self.heads)
        checks.at_least("hstu", 1, head_width=self.head_width)
        checks.at_least("hstu", 1, batch_size=self.batch_size, epochs=self.epochs, patience=self.patience)
        checks.at_least("hstu", 0, weight_decay=self.weight_decay)
        checks.above_zero("hstu", learning_rate=self.learning_rate, temperature=self.temperature)
        checks.share("hstu", below_one=True, dropout=self.dropout)

    def fit(self, split: Split, ctx: Context) -> None:
        self.model = seeded(lambda: self.network(split.n_items), ctx)
        fit_next_item(self, self.model, split, ctx, self.mean_loss)

    def network(self, n_items: int) -> Transducer:
        return Transducer(
            n_items, self.length, self.width, self.layers, self.heads, self.head_width, self.dropout, self.temperature
        )

    def score(self, users: Users) -> Floats:
        return next_item_scores(self.model, users, self.length)
