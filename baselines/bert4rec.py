"""BERT4Rec: self-attention both ways; hidden items of a sequence are guessed from those on either side.

Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer", CIKM
2019: each item is hidden with one probability, the loss is full cross-entropy over the catalogue at the hidden places,
some sequences hide their last item alone, because that is what is asked; asked, it guesses a mask behind the history.
It takes many times SASRec's epochs, for an epoch asks of it a few of the items only: most weak published figures were
trained too briefly (Petrov and Macdonald, "A Systematic Review and Replicability Study of BERT4Rec", RecSys 2022).

Here: layers are pre-norm, places are counted from a sequence's end (the paper pads on the left, which says the same),
and there is no bias per item.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmrec.context import Context
from llmrec.method import tune
from llmrec.sequence import checks
from llmrec.sequence.crops import crop
from llmrec.sequence.fit import Step, fit_steps, seeded
from llmrec.sequence.layers import Dropout, ItemEmbedding, initialise
from llmrec.sequence.losses import declared_loss
from llmrec.sequence.windows import shifted_windows
from llmrec.types import Floats, Histories, Split, Users

PADDING = -1


class Block(nn.Module):
    """One pre-norm layer: self-attention both ways, then a feed-forward net, each added to what comes in."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """[b, t, d] -> [b, t, d]; ``there`` bool [b, t] is False at padding, which nobody attends to."""
        b, t, d = x.shape
        q, k, v = self.query_key_value(self.norm_1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=there[:, None, None])  # [b, heads, t, d / heads]
        x = x + self.dropout(self.mix(seen.transpose(1, 2).reshape(b, t, d)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm_2(x)))))


class Encoder(nn.Module):
    """Item ids [b, t] -> what is guessed at each place [b, t, d]. Row ``n_items`` of the embedding is the mask; padding
    (-1) may stand on either side."""

    def __init__(self, n_items: int, length: int, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.items, self.positions = ItemEmbedding(n_items, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm, self.dropout = nn.LayerNorm(width), Dropout(dropout)
        self.guess = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        initialise(self)

    def forward(self, ids: Tensor) -> Tensor:
        there = ids >= 0
        from_end = (there.flip(1).cumsum(1).flip(1) - 1).clamp(min=0)
        x = self.dropout(self.items(ids.clamp(min=0)) + self.positions(from_end))
        for block in self.blocks:
            x = block(x, there)
        return self.norm(x)

    @property
    def catalogue(self) -> Tensor:
        return self.items.catalogue


@dataclass
class BERT4Rec:
    """Self-attention both ways over the items a user took; items hidden at random are guessed."""

    family: ClassVar[str] = "sequential"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"epochs": 40, "width": 32, "learning_rate": 3e-3, "batch_size": 32}

    length: int = tune(50, choices=(20, 50, 100, 200))  # ids, the mask behind the history among them
    width: int = tune(64, choices=(32, 64, 128))
    layers: int = tune(2, low=1, high=4)
    heads: int = tune(2, choices=(1, 2, 4))
    dropout: float = tune(0.2, low=0.0, high=0.6)
    hidden: float = tune(0.2, low=0.1, high=0.8)  # probability that an item is hidden
    last_only: float = tune(0.1, low=0.0, high=0.5)  # share of the windows that hide their last item and no other
    crop: float = 0.0  # share of the windows that end at a random item, which they hide and no other
    loss: str = "cross-entropy"  # or another of llmrec.sequence.losses; "gbce" is gBERT4Rec
    negatives: int | None = None  # None: what is usual for the loss
    calibration: float = 0.75  # for "gbce"
    learning_rate: float = tune(1e-3, low=1e-4, high=1e-2, log=True)  # of the first epoch; falls linearly to zero
    weight_decay: float = 0.0
    batch_size: int = 128  # windows
    epochs: int = 200
    validate_every: int = 5  # epochs
    patience: int = 10  # validations

    def __post_init__(self) -> None:
        self.mean_loss = declared_loss("bert4rec", self.loss, self.negatives, self.calibration)
        checks.at_least("bert4rec", 2, length=self.length)
        checks.at_least("bert4rec", 1, width=self.width, layers=self.layers, heads=self.heads)
        checks.at_least("bert4rec", 1, batch_size=self.batch_size, epochs=self.epochs, patience=self.patience)
        checks.at_least("bert4rec", 1, validate_every=self.validate_every)
        checks.at_least("bert4rec", 0, weight_decay=self.weight_decay)
        checks.above_zero("bert4rec", learning_rate=self.learning_rate)
        checks.share("bert4rec", below_one=True, dropout=self.dropout)
        checks.share("bert4rec", hidden=self.hidden, last_only=self.last_only, crop=self.crop)
        checks.multiple("bert4rec", width=self.width, heads=self.heads)

    def fit(self, split: Split, ctx: Context) -> None:
        size = (self.length, self.width, self.layers, self.heads, self.dropout)
        self.model = seeded(lambda: Encoder(split.n_items, *size), ctx)
        histories = split.fit.histories
        fit_steps(
            self, self.model, ctx, lambda epoch: self.steps(histories, ctx, epoch), validate_every=self.validate_every
        )

    def steps(self, histories: Histories, ctx: Context, epoch: int) -> Iterator[Step]:
        """The steps of one epoch: every item of every history stands in one window, and some are hidden."""
        masks, order, crops = ctx.rng("masks", epoch), ctx.rng("order", epoch), ctx.rng("crops", epoch)
        negatives = ctx.rng("negatives", epoch) if self.mean_loss.draws else None
        for _, whole in shifted_windows(histories, self.length, self.batch_size, order):
            windows, asked = crop(whole.numpy(), self.crop, crops)
            items, hidden = torch.from_numpy(windows), self.choose_hidden(windows, masks, asked)
            ids = items.masked_fill(hidden, histories.n_items).to(ctx.device)
            at = hidden.flatten().nonzero().squeeze(1)  # [n]
            states = self.model.guess(self.model(ids).flatten(0, 1)[at.to(ctx.device)])  # [n, d]
            wanted = items.flatten()[at].to(ctx.device)
            yield self.mean_loss(states, self.model.catalogue, wanted, negatives), len(at)

    def choose_hidden(self, items: np.ndarray, rng: np.random.Generator, asked: np.ndarray | bool = False) -> Tensor:
        """Which items of windows [b, t] are hidden, bool [b, t]: at least one of each, never padding; of those that are
        ``asked`` [b] the last alone."""
        there = items != PADDING
        last = np.arange(items.shape[1]) == there.sum(1, keepdims=True) - 1
        hidden = there & (rng.random(items.shape) < self.hidden)
        alone = (rng.random((len(items), 1)) < self.last_only) | ~hidden.any(1, keepdims=True)
        alone |= np.reshape(asked, (-1, 1))
        return torch.from_numpy(np.where(alone, last, hidden))

    @torch.inference_mode()
    def score(self, users: Users) -> Floats:
        kept = int(min(max(users.histories.lengths, default=0), self.length - 1))
        newest = users.histories.last(kept, pad=PADDING).astype(np.int64)  # [b, kept], right-aligned
        ids = np.pad(newest, ((0, 0), (0, 1)), constant_values=users.histories.n_items)  # and a mask
        states = self.model.guess(self.model(torch.from_numpy(ids).to(self.model.catalogue.device))[:, -1])  # [b, d]
        scores: Floats = (states @ self.model.catalogue.T).cpu().numpy()
        return scores
