"""Direct generation with BERT: what fills the mask behind a history is the recommendation.

tokens = "items": an item is one token of the vocabulary, which is BERT4Rec (Sun et al., CIKM 2019), the same network
and training as baselines/bert4rec.py.

tokens = "semantic-ids": an item is a short id made from its text and from what is taken beside it (residual k-means,
`llmrec.gpt.quantise`), and the id is filled in token by token, from the coarsest on: masked language modelling with
none, one, ... of a hidden item's tokens told, and mask-predict when it answers (`llmrec.bert.masked`). Only ids of the
catalogue are compared, and each by its probability: nothing can be written that is no item.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from llmrec.bert.masked import MaskedIds, places_to_hide, score_ids
from llmrec.context import Context
from llmrec.gpt.quantise import semantic_ids
from llmrec.gpt.signals import neighbour_factors
from llmrec.gpt.trie import build_trie
from llmrec.method import tune
from llmrec.sequence import checks
from llmrec.sequence.crops import crop
from llmrec.sequence.fit import Step, fit_steps, seeded
from llmrec.sequence.losses import declared_loss
from llmrec.sequence.settings import check_attention
from llmrec.sequence.windows import shifted_windows
from llmrec.text_features import text_features
from llmrec.types import NO_ITEM, Floats, Histories, Int32, Split, Users

TOKENS = ("items", "semantic-ids")
SIGNALS = ("text", "collaborative", "text+collaborative")

PLACES = 1 << 16
"""Prefixes times users that are guessed from at a time: bounds the memory of an answer."""


@dataclass
class BertMasked:
    """Fills the mask behind a history, by an item or token by token by a semantic id; trained on hidden items."""

    family: ClassVar[str] = "bert"
    early_stops: ClassVar[bool] = True
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {
        "levels": 2, "codes": 16, "epochs": 40, "width": 32, "learning_rate": 3e-3, "batch_size": 32,
    }  # fmt: skip

    tokens: str = tune("semantic-ids", choices=TOKENS)
    # semantic ids
    encoder: str = "all-MiniLM-L6-v2"
    signal: str = tune("text+collaborative", choices=SIGNALS)  # what ids are made of, from training data and texts
    whiten: float = tune(
        0.5, low=0.0, high=1.0
    )  # of texts: 0: principal components keep their variances, 1: equal ones
    levels: int = tune(2, low=1, high=4)  # tokens of an id
    codes: int = 0  # of each level; 0: as few, a power of two, as name twice the items
    beams: int = 0  # prefixes of an id that are filled in at each step; 0: all, every score is exact
    # network
    length: int = tune(50, choices=(20, 50, 100, 200))  # items, the mask behind the history among them
    width: int = tune(64, choices=(32, 64, 128))
    layers: int = tune(2, low=1, high=4)
    heads: int = tune(2, choices=(1, 2, 4))
    dropout: float = tune(0.2, low=0.0, high=0.6)
    # training
    hidden: float = tune(0.2, low=0.1, high=0.8)  # probability that an item is hidden
    last_only: float = tune(0.1, low=0.0, high=0.5)  # share of the windows that hide their last item and no other
    crop: float = 0.0  # share of the windows that end at a random item, which they hide and no other
    loss: str = "cross-entropy"  # over a level's tokens, or another of llmrec.sequence.losses
    negatives: int | None = None  # None: what is usual for the loss
    calibration: float = 0.75  # for "gbce"
    learning_rate: float = tune(1e-3, low=1e-4, high=1e-2, log=True)  # of the first epoch; falls linearly to zero
    weight_decay: float = 0.0
    batch_size: int = 128  # windows
    epochs: int = 200
    validate_every: int = 5  # epochs
    patience: int = 10  # validations

    def __post_init__(self) -> None:
        self.mean_loss = declared_loss("bert-masked", self.loss, self.negatives, self.calibration)
        checks.one_of("bert-masked", "tokens", self.tokens, TOKENS)
        checks.one_of("bert-masked", "signal", self.signal, SIGNALS)
        check_attention("bert-masked", self, shortest=2)
        checks.at_least("bert-masked", 1, layers=self.layers, validate_every=self.validate_every, levels=self.levels)
        checks.at_least("bert-masked", 0, codes=self.codes, beams=self.beams)
        checks.share("bert-masked", hidden=self.hidden, last_only=self.last_only, crop=self.crop)

    def fit(self, split: Split, ctx: Context) -> None:
        """
        Raises:
            MethodError: the ids do not tell the items apart. UserError: no such encoder, or no item has a text.
        """
        ids = self._ids(split, ctx)
        self.trie = build_trie(ids, device=ctx.device)
        size = (self.length, self.width, self.layers, self.heads, self.dropout)
        self.model = seeded(lambda: MaskedIds(ids, *size), ctx)
        histories = split.fit.histories
        fit_steps(
            self, self.model, ctx, lambda epoch: self.steps(histories, ctx, epoch), validate_every=self.validate_every
        )

    def _ids(self, split: Split, ctx: Context) -> Int32:
        """The items' codes [n_items, levels], each level's from 0."""
        if self.tokens == "items":
            return np.arange(split.n_items, dtype=np.int32)[:, None]
        parts = []
        if "text" in self.signal:
            parts.append(text_features("bert-masked", ctx, self.encoder, self.whiten))
        if "collaborative" in self.signal:
            parts.append(neighbour_factors(split.fit.histories, reach=5, dims=64))
        codes = self.codes or 2 ** math.ceil(math.log2(2 * split.n_items) / self.levels)
        found = semantic_ids(np.concatenate(parts, axis=1), levels=self.levels, codes=codes, seed=ctx.seed_for("ids"))
        ctx.log("fit", **found.report())
        return found.codes

    def steps(self, histories: Histories, ctx: Context, epoch: int) -> Iterator[Step]:
        """The steps of one epoch: every item of every history stands in one window, and some are hidden."""
        masks, order, crops = ctx.rng("masks", epoch), ctx.rng("order", epoch), ctx.rng("crops", epoch)
        negatives = ctx.rng("negatives", epoch) if self.mean_loss.draws else None
        for _, whole in shifted_windows(histories, self.length, self.batch_size, order):
            windows, asked = crop(whole.numpy(), self.crop, crops)
            items, hide = torch.from_numpy(windows), places_to_hide(windows, self.hidden, self.last_only, masks, asked)
            at, wanted = hide.flatten().nonzero().squeeze(1).to(ctx.device), items[hide].to(ctx.device)  # [n]
            history, there = self.model.read(items.masked_fill(hide, histories.n_items).to(ctx.device))
            codes = self.model.codes[wanted]  # [n, levels]
            means = []
            for told in range(codes.shape[1]):
                x = self.model.with_told(history, at, codes, told)
                states = self.model.guess(self.model.last(x, history, there).flatten(0, 1)[at])  # [n, d]
                for level in range(told, codes.shape[1]):
                    means.append(self.mean_loss(states, self.model.catalogue(level), codes[:, level], negatives))
            yield torch.stack(means).mean(), len(at)

    @torch.inference_mode()
    def score(self, users: Users) -> Floats:
        histories, device = users.histories, self.model.codes.device
        kept = int(min(max(histories.lengths, default=0), self.length - 1))
        newest = histories.last(kept, pad=NO_ITEM).astype(np.int64)  # [b, kept], right-aligned
        ids = torch.from_numpy(np.pad(newest, ((0, 0), (0, 1)), constant_values=histories.n_items)).to(device)
        widest = max(len(level.token) for level in self.trie.levels[:-1])
        at_once = max(1, PLACES // (min(widest, self.beams or widest) + kept))
        parts = [score_ids(self.model, self.trie, some, self.beams) for some in ids.split(at_once)]
        scores: Floats = torch.cat(parts).cpu().numpy()
        return scores
