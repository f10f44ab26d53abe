"""SASRec: causal self-attention over a user's items, every position of a sequence a training target.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, with what later work found to matter: full
cross-entropy over the catalogue in place of one sampled negative (Klenitskiy and Vasilev, RecSys 2023) and pre-norm.
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
from llmrec.errors import UserError, nearest
from llmrec.method import tune
from llmrec.training import train
from llmrec.types import Floats, Histories, Split, Users

LOSSES = ("cross-entropy", "bce")
IN_CHUNKS = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=256)
"""Cross-entropy of 256 targets at a time: their logits stay in the processor's cache, never all of them at once."""


class Dropout(nn.Module):
    """nn.Dropout, but for its Bernoulli draws, which take a CPU three times as long as uniform ones."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        return x * torch.rand_like(x).ge_(self.rate).mul_(1 / (1 - self.rate))


class Block(nn.Module):
    """One pre-norm layer: causal self-attention, then a feed-forward net, each added to what comes in."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:  # [b, t, d] -> [b, t, d]
        b, t, d = x.shape
        q, k, v = self.query_key_value(self.norm_1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # [b, heads, t, d / heads]
        x = x + self.dropout(self.mix(seen.transpose(1, 2).reshape(b, t, d)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm_2(x)))))


class Transformer(nn.Module):
    """Item ids [b, t] -> what each position expects next [b, t, d]. Sequences are padded on the right, so that the
    causal mask alone hides the padding. Row ``n_items`` of the embedding is the start of a history."""

    def __init__(self, n_items: int, length: int, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.items, self.positions = nn.Embedding(n_items + 1, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm, self.dropout = nn.LayerNorm(width), Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.items(ids) + self.positions.weight[: ids.shape[1]]
        return self.norm(self.blocks(self.dropout(x)))

    @property
    def catalogue(self) -> Tensor:
        """The items' embeddings, which are also the output layer [n_items, d]."""
        return self.items.weight[:-1]


@dataclass
class SASRec:
    """Causal self-attention over the items a user took; every position is a training target."""

    family: ClassVar[str] = "sequential"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"epochs": 20, "width": 32}

    length: int = tune(50, choices=(20, 50, 100, 200))
    width: int = tune(64, choices=(32, 64, 128))
    layers: int = tune(2, low=1, high=4)
    heads: int = tune(2, choices=(1, 2, 4))
    dropout: float = tune(0.2, low=0.0, high=0.6)
    loss: str = "cross-entropy"
    negatives: int = 1  # for "bce": uniform over the items other than the target
    learning_rate: float = tune(1e-3, low=1e-4, high=1e-2, log=True)
    weight_decay: float = 0.0
    batch_size: int = 128  # windows
    epochs: int = 100
    patience: int = 10

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UserError(f"sasrec: loss {self.loss!r} is unknown.{nearest(self.loss, LOSSES)}")
        if self.width % self.heads:
            raise UserError(f"sasrec: width {self.width} is no multiple of heads {self.heads}.")

    def fit(self, split: Split, ctx: Context) -> None:
        optimizer, histories = self.build(split.n_items, ctx), split.fit.histories

        def run_epoch(epoch: int) -> float:
            return self.run_epoch(histories, optimizer, ctx, epoch)

        train(self, self.model, optimizer, run_epoch, ctx, epochs=self.epochs, patience=self.patience)

    def build(self, n_items: int, ctx: Context) -> torch.optim.Optimizer:
        """Make the untrained model; returns its optimiser."""
        self.n_items, self.device = n_items, ctx.device
        torch.manual_seed(ctx.seed_for("initialisation"))
        self.model = Transformer(n_items, self.length, self.width, self.layers, self.heads, self.dropout).to(ctx.device)
        return torch.optim.AdamW(
            self.model.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )

    def run_epoch(self, histories: Histories, optimizer: torch.optim.Optimizer, ctx: Context, epoch: int) -> float:
        """One pass over all windows; returns the mean loss of a target. The learning rate falls linearly to zero."""
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate * (1 - epoch / max(self.epochs, ctx.epochs or 0))
        total, count = torch.zeros((), device=ctx.device), 0
        negatives = ctx.rng("negatives", epoch) if self.loss == "bce" else None
        for inputs, targets in self.batches(histories, ctx.rng("order", epoch)):
            loss = self.mean_loss(inputs, targets, negatives)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            n = int((targets >= 0).sum())
            total, count = total + loss.detach() * n, count + n
        return total.item() / max(count, 1)

    def batches(self, histories: Histories, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Windows in random order: inputs and targets, int64 [b, t], -1 where a target is padding.

        A history is cut at a random place into as few windows as hold it: each of its items is a target exactly once.
        """
        lengths = histories.lengths[histories.lengths > 0]
        ends = np.cumsum(lengths + 1)  # each history with a start token before it
        tokens = np.full(ends[-1] + 1, self.n_items)
        tokens[np.arange(len(histories.items)) + np.repeat(np.arange(1, len(lengths) + 1), lengths)] = histories.items
        windows = -(-lengths // self.length)  # of each history
        shift = rng.integers(0, windows * self.length - lengths + 1)  # by which the first window is shorter
        row = np.repeat(np.arange(len(lengths)), windows)
        place = (np.arange(len(row)) - np.repeat(np.cumsum(windows) - windows, windows)) * self.length - shift[row]
        begin = (ends - lengths - 1)[row] + np.maximum(place, 0)
        sizes = np.minimum(place + self.length, lengths[row]) - np.maximum(place, 0)
        order = rng.permutation(len(row))
        for start in range(0, len(order), 8 * self.batch_size):  # batches of like lengths: little padding
            some = order[start : start + 8 * self.batch_size]
            order[start : start + 8 * self.batch_size] = some[np.argsort(sizes[some], kind="stable")]
        for start in range(0, len(order), self.batch_size):
            some = order[start : start + self.batch_size]
            steps = np.arange(sizes[some].max())
            there = steps < sizes[some, None]
            source = np.where(there, begin[some, None] + steps, 0)
            yield (
                torch.from_numpy(tokens[source]).to(self.device),
                torch.from_numpy(np.where(there, tokens[source + 1], -1)).to(self.device),
            )

    def mean_loss(self, inputs: Tensor, targets: Tensor, negatives: np.random.Generator | None) -> Tensor:
        """Mean loss over the targets that are no padding."""
        there = targets.flatten().ge(0).nonzero().squeeze(1)  # [n]
        states = self.model(inputs).flatten(0, 1)[there]  # [n, d]
        wanted = targets.flatten()[there]  # [n]
        if negatives is None:
            return F.linear_cross_entropy(states, self.model.catalogue, wanted, options=IN_CHUNKS)
        drawn = negatives.integers(1, self.n_items, (len(wanted), self.negatives))
        others = (wanted[:, None] + torch.from_numpy(drawn).to(self.device)) % self.n_items  # [n, negatives]
        logits = torch.einsum("nd,nkd->nk", states, self.model.catalogue[torch.cat([wanted[:, None], others], 1)])
        truth = torch.zeros_like(logits)
        truth[:, 0] = 1
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(1).mean()

    @torch.inference_mode()
    def score(self, users: Users) -> Floats:
        newest = users.histories.last(self.length, pad=self.n_items)  # [b, length], right-aligned after start tokens
        sizes = np.minimum(users.histories.lengths + 1, self.length)  # with one start token where there is room
        steps = np.arange(sizes.max())
        left_aligned = np.minimum(self.length - sizes[:, None] + steps, self.length - 1)  # behind the end: anything
        ids = torch.from_numpy(np.take_along_axis(newest, left_aligned, 1)).to(self.device)
        states = self.model(ids)[torch.arange(len(users)), torch.from_numpy(sizes - 1)]  # [b, d]
        scores: Floats = (states @ self.model.catalogue.T).cpu().numpy()
        return scores
