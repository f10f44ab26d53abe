"""BSARec: self-attention beside a filter that lets the slow part of a sequence pass and rescales the fast one.

Shin, Choi, Wi and Park, "An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention", AAAI
2024 (arXiv 2312.10325); read beside the authors' code (yehjin-shin/BSARec). A layer is alpha F + (1 - alpha) A followed
by a feed-forward net, where A is causal self-attention and F = LFC + beta^2 HFC: the lowest c // 2 + 1 frequencies of
the window, and the rest, rescaled for each dimension of a state.

The filter mixes all places of a window, later ones too: only its last place may be a target. So one prefix of a history
is one example, as in the authors' code, and a prefix holds nothing that comes after it. Two things make that bearable
on a CPU. The filter is one matrix [length, length], of which a short prefix needs a corner: padding is silence, its
states are zero (the authors' padding is a token of its own, which enters the filter, too). And the last layer is
computed for the last place alone.
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
from llmrec.sequence.fit import Step, fit_steps, seeded
from llmrec.sequence.layers import Dropout, ItemEmbedding, initialise
from llmrec.sequence.losses import declared_loss
from llmrec.types import Floats, Histories, Int64, Split, Users

NOTHING = -1
"""The id of padding, which stands before the items: windows are aligned on the right."""


def low_pass(length: int, c: int) -> Tensor:
    """The matrix [length, length] that keeps the lowest c // 2 + 1 frequencies of a sequence (LFC, equation 5)."""
    spectrum = torch.fft.rfft(torch.eye(length, dtype=torch.float64), dim=0)
    spectrum[c // 2 + 1 :] = 0
    matrix: Tensor = torch.fft.irfft(spectrum, n=length, dim=0)
    return matrix.float()


class Block(nn.Module):
    """One post-norm layer, of all places or of the last alone."""

    def __init__(self, width: int, heads: int, dropout: float, alpha: float):
        super().__init__()
        self.heads, self.alpha, self.dropout = heads, alpha, Dropout(dropout)
        self.root_beta = nn.Parameter(torch.randn(width))
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.mix, self.up, self.down = nn.Linear(width, width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm_1, self.norm_2, self.norm_3 = (nn.LayerNorm(width, eps=1e-12) for _ in range(3))

    def forward(self, x: Tensor, hidden: Tensor, low: Tensor) -> Tensor:
        """x [b, t, d] -> [b, rows, d], where ``low`` [rows, t] is the filter of the last places asked for, and
        ``hidden`` [b, 1, rows, t] says which places each may not attend to."""
        (b, t, d), rows = x.shape, len(low)
        own = x[:, t - rows :]
        slow = low @ x
        filtered = self.norm_1(own + self.dropout(slow + self.root_beta**2 * (own - slow)))
        q = self.query(own).view(b, rows, self.heads, -1).transpose(1, 2)
        k, v = self.key_value(x).view(b, t, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(2, 3) * (d // self.heads) ** -0.5  # [b, heads, rows, t]
        weights = self.dropout(logits.masked_fill(hidden, -1e4).softmax(3))  # finite: a row of padding sees nothing
        attended = self.norm_2(own + self.dropout(self.mix((weights @ v).transpose(1, 2).reshape(b, rows, d))))
        x = self.alpha * filtered + (1 - self.alpha) * attended  # equation 10
        out: Tensor = self.norm_3(x + self.dropout(self.down(F.gelu(self.up(x)))))
        return out


class FilteredTransformer(nn.Module):
    """Item ids [b, t], right-aligned -> what is expected after the last, [b, d]."""

    def __init__(
        self, n_items: int, length: int, width: int, layers: int, heads: int, dropout: float, alpha: float, c: int
    ):
        super().__init__()
        self.items, self.positions = ItemEmbedding(n_items, width), nn.Embedding(length, width)
        self.norm, self.dropout = nn.LayerNorm(width, eps=1e-12), Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout, alpha) for _ in range(layers))
        self.low: Tensor
        self.register_buffer("low", low_pass(length, c), persistent=False)
        initialise(self)

    def forward(self, ids: Tensor) -> Tensor:
        t = ids.shape[1]
        there = ids != NOTHING
        x = self.items(ids.clamp(min=0)) + self.positions.weight[-t:]
        x = self.dropout(self.norm(x)) * there[:, :, None]
        later = torch.ones(t, t, dtype=torch.bool, device=ids.device).triu(1)
        hidden = later | ~there[:, None, None, :]  # [b, 1, t, t]
        low = self.low[-t:, -t:]  # the filter depends on the distance of two places only: any corner will do
        for block in self.blocks[:-1]:
            x = block(x, hidden, low) * there[:, :, None]
        last: Tensor = self.blocks[-1](x, hidden[:, :, -1:], low[-1:])
        return last[:, 0]

    @property
    def catalogue(self) -> Tensor:
        return self.items.catalogue


@dataclass
class BSARec:
    """Self-attention beside a frequency filter; every prefix of a history is an example, its next item the target."""

    family: ClassVar[str] = "sequential"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"epochs": 4, "width": 32, "learning_rate": 1e-2, "dropout": 0.2}

    length: int = tune(50, choices=(20, 50, 100))
    width: int = tune(64, choices=(32, 64, 128))
    layers: int = tune(2, low=1, high=4)
    heads: int = tune(1, choices=(1, 2, 4))
    dropout: float = tune(0.5, low=0.0, high=0.6)
    alpha: float = tune(0.7, choices=(0.1, 0.3, 0.5, 0.7, 0.9))  # share of the filter, against attention
    c: int = tune(5, choices=(1, 3, 5, 7, 9))  # the lowest c // 2 + 1 frequencies pass the filter unchanged
    loss: str = "cross-entropy"  # or "bce", "gbce", "sampled-softmax": see llmrec.sequence.losses
    negatives: int | None = None  # None: 1 for "bce", 256 for "gbce", 1,024 for "sampled-softmax"
    calibration: float = 0.75  # gSASRec's t, for "gbce"
    learning_rate: float = tune(1e-3, low=1e-4, high=1e-2, log=True)  # of the first epoch; falls linearly to zero
    weight_decay: float = 0.0
    batch_size: int = 256  # prefixes
    epochs: int = 50
    patience: int = 10

    def __post_init__(self) -> None:
        self.mean_loss = declared_loss("bsarec", self.loss, self.negatives, self.calibration)
        checks.at_least("bsarec", 1, length=self.length, width=self.width, layers=self.layers, heads=self.heads)
        checks.at_least("bsarec", 1, c=self.c, batch_size=self.batch_size, epochs=self.epochs, patience=self.patience)
        checks.at_least("bsarec", 0, weight_decay=self.weight_decay)
        checks.share("bsarec", alpha=self.alpha)
        checks.share("bsarec", below_one=True, dropout=self.dropout)
        checks.above_zero("bsarec", learning_rate=self.learning_rate)
        checks.multiple("bsarec", width=self.width, heads=self.heads)

    def fit(self, split: Split, ctx: Context) -> None:
        self.model = seeded(lambda: self.network(split.n_items), ctx)
        histories = split.fit.histories
        fit_steps(self, self.model, ctx, lambda epoch: self.steps(histories, ctx, epoch))

    def network(self, n_items: int) -> FilteredTransformer:
        return FilteredTransformer(
            n_items, self.length, self.width, self.layers, self.heads, self.dropout, self.alpha, self.c
        )

    def steps(self, histories: Histories, ctx: Context, epoch: int) -> Iterator[Step]:
        """The steps of one epoch: each item of each history is a target once."""
        negatives = ctx.rng("negatives", epoch) if self.mean_loss.draws else None
        for ids, wanted in prefixes(histories, self.length, self.batch_size, ctx.rng("order", epoch)):
            states = self.model(ids.to(ctx.device))
            yield self.mean_loss(states, self.model.catalogue, wanted.to(ctx.device), negatives), len(wanted)

    @torch.inference_mode()
    def score(self, users: Users) -> Floats:
        histories, device = users.histories, self.model.catalogue.device
        ids = newest(histories, histories.indptr[:-1], histories.indptr[1:], self.length)
        scores: Floats = (self.model(ids.to(device)) @ self.model.catalogue.T).cpu().numpy()
        return scores


def prefixes(
    histories: Histories, length: int, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """The ``length`` items before each item of each history, int64 [b, t], and that item, int64 [b], in random order;
    batches of like lengths, so that there is little padding."""
    begin, end = np.repeat(histories.indptr[:-1], histories.lengths), np.arange(len(histories.items))
    sizes, order = np.minimum(end - begin, length), rng.permutation(len(end))
    for start in range(0, len(order), 16 * batch_size):
        some = order[start : start + 16 * batch_size]
        order[start : start + 16 * batch_size] = some[np.argsort(sizes[some], kind="stable")]
    for start in rng.permutation(np.arange(0, len(order), batch_size)):
        some = order[start : start + batch_size]
        wanted = torch.from_numpy(histories.items[some].astype(np.int64))
        yield newest(histories, begin[some], end[some], length), wanted


def newest(histories: Histories, begin: Int64, end: Int64, length: int) -> Tensor:
    """The newest ``length`` of the events ``begin[r] .. end[r] - 1`` of ``histories.items``, int64 [b, t], aligned on
    the right; where there are none, the start token ``n_items``."""
    sizes = np.minimum(end - begin, length)
    source = end[:, None] + np.arange(-max(1, int(sizes.max(initial=0))), 0)
    there = source >= begin[:, None]
    ids = np.full(source.shape, NOTHING, np.int64)
    ids[there] = histories.items[source[there]]
    ids[sizes == 0, -1] = histories.n_items
    return torch.from_numpy(ids)
