"""Items become semantic ids, and a small GPT trained from scratch on users' histories writes the next item's id.

The idea is TIGER's (Rajput et al. 2023); the model is decoder-only, and the ids come from residual k-means or, as
there, from an RQ-VAE. What is written is always an id, token by token, within the catalogue. What is read is a history
in the same tokens (a GPT-2), or one position an item (`llmrec.gpt.reader`), which learns faster and more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from llmrec.errors import UserError, nearest
from llmrec.gpt.beam import beam_search, score_all
from llmrec.gpt.descent import Descent, of_this_process
from llmrec.gpt.extras import Extras, gaps_of
from llmrec.gpt.leaves import ItemTokens
from llmrec.gpt.model import GPT, Shape
from llmrec.gpt.quantise import START, ItemIds, semantic_ids
from llmrec.gpt.reader import ItemReader
from llmrec.gpt.signals import for_unseen, neighbour_factors, unit_rows
from llmrec.gpt.trie import build_trie
from llmrec.gpt.windows import window_batches
from llmrec.method import tune
from llmrec.training import train
from llmrec.types import NO_ITEM, Generated

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Histories, Int32, Int64, Split, Users

USERS_AT_ONCE = 64  # of equal history length, as far as possible; bounds the memory of a search
SIGNALS = ("text", "text+collaborative", "collaborative", "random")
RESOLVE = ("nearest", "level")
QUANTISERS = ("k-means", "rq-vae")
SEARCHES = ("beam", "exact")
READS = ("tokens", "items")


def enough_codes(n_items: int, levels: int) -> int:
    """The smallest power of 2 of which ``levels`` together name at least twice the items."""
    return int(2 ** math.ceil(math.log2(2 * n_items) / levels))


def schedule(done: float, epochs: int) -> float:
    """The learning rate's factor after ``done`` epochs: a linear rise over the first, from .02 on, and half a cosine
    down to 0 over all. A function of the epoch alone, so that a resumed run goes on as it would have."""
    return min(done + 0.02, 1.0) * 0.5 * (1.0 + math.cos(math.pi * min(done / epochs, 1.0)))


@dataclass
class GptSemanticId:
    """Writes items' semantic ids token by token: a small GPT trained from scratch, searching the catalogue by beams."""

    family: ClassVar[str] = "gpt"
    early_stops: ClassVar[bool] = True
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"levels": 2, "codes": 16, "width": 32, "batch_tokens": 256, "epochs": 12}

    # ids
    encoder: str = "all-MiniLM-L6-v2"
    signal: str = "text+collaborative"  # what the ids are made of: one of SIGNALS, from training data only
    collaborative_weight: float = 1.0  # length of the collaborative part beside the text part's 1
    collaborative_dims: int = 64
    collaborative_reach: int = 5  # items at most so far apart count as neighbours
    levels: int = tune(2, low=2, high=4)
    codes: int = tune(0, choices=(0, 64, 128, 256))  # of each level; 0: as many as `enough_codes` says
    quantiser: str = "k-means"  # residual k-means, or "rq-vae"
    resolve: str = "nearest"  # items with equal codes: "nearest" free code, or one more "level"
    # model
    item_tokens: bool = False  # the last token of an id has, besides its code's vector, one of the item's own
    read: str = "tokens"  # a history is one position a token ("tokens", a GPT-2), or one an item ("items": ItemReader)
    user_tokens: int = 0  # a history begins with its user's, of so many that users are spread over; TIGER: 2,000
    time_gaps: bool = False  # an item is read with the time that passed before it, in powers of 2
    filter_share: float = 0.7  # of a layer that reads items, against attention's; 0: SASRec's layer
    window: int = tune(50, low=5, high=100)  # items of history that are read
    layers: int = tune(2, low=1, high=6)
    heads: int = 4
    width: int = tune(128, choices=(64, 128, 256))
    dropout: float = tune(0.2, low=0.0, high=0.6)
    # training
    epochs: int = 25  # the learning rate falls to 0 over them
    patience: int = 5  # validations without improvement
    validate_every: int = 2  # epochs
    batch_tokens: int = 4096  # of a step
    at_once: int = 0  # tokens computed together; fewer than batch_tokens: gradients are accumulated; 0: all of a step
    mixed: bool = False  # products in bfloat16 while training; made for GPUs
    compiled: bool = False  # the network by torch.compile while training; does not pay on a CPU
    learning_rate: float = tune(2e-3, low=1e-4, high=1e-2, log=True)
    weight_decay: float = tune(0.1, low=0.0, high=0.5)
    label_smoothing: float = tune(0.0, low=0.0, high=0.2)
    # answer
    search: str = "beam"  # or "exact": every item is scored
    beams: int = 50

    def fit(self, split: Split, ctx: Context) -> None:
        self._check()
        own = of_this_process(ctx)
        self._ids(split, ctx)
        histories = split.fit.histories
        torch.manual_seed(ctx.seed_for("initialisation"))
        shape = Shape(
            self.ids.vocabulary, (self.window + 1) * self.length, self.layers, self.heads, self.width, self.dropout,
            period=self.length,
        )  # fmt: skip
        network = GPT(shape) if self.read == "tokens" else ItemReader(shape, self.filter_share)
        self.model: GPT | ItemReader = network.to(ctx.device)
        self.leaves: ItemTokens | None = None
        if self.item_tokens:
            self.leaves = ItemTokens(self.model.tokens, self.trie).to(ctx.device)
            self.model.tokens = self.leaves  # type: ignore[assignment]
        self.extras: Extras | None = None
        if self.user_tokens or self.time_gaps:
            self.extras = Extras(self.width, self.user_tokens, self.time_gaps).to(ctx.device)
            self.model.extras = self.extras
        gaps = gaps_of(histories) if self.time_gaps else np.zeros(len(histories.items), np.int64)
        matrices = [p for p in self.model.parameters() if p.ndim == 2]
        vectors = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": self.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.98), fused=True)

        def rate(done: float) -> None:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * schedule(done, self.epochs)

        states = torch.compile(self.model, dynamic=True) if self.compiled else self.model
        descent = Descent(
            self.model, optimizer, own, rate,
            loss=lambda rows: self._loss(states, histories, gaps, rows[:, 0], rows[:, 1]),
            targets=lambda rows: int(rows[:, 1].sum()) * self.length,
            mixed=self.mixed,
        )  # fmt: skip

        def run_epoch(epoch: int) -> float:
            batches = window_batches(  # one item longer than what is read: the last is only a target
                histories, size=self.window + 1, events=self.batch_tokens // self.length, rng=ctx.rng("order", epoch)
            )
            return descent.epoch(epoch, [self._parts(*rows) for rows in batches])

        train(
            self, self.model, optimizer, run_epoch, own,
            epochs=self.epochs, patience=self.patience, validate_every=self.validate_every,
        )  # fmt: skip
        ctx.chosen_epochs = own.chosen_epochs

    def _parts(self, starts: Int64, lengths: Int64) -> list[Int64]:
        """The windows of a step [rows, 2] (first event, events), in parts of about ``at_once`` tokens."""
        rows = np.stack([starts, lengths], axis=1)
        if not self.at_once:
            return [rows]
        part = (np.cumsum(lengths) - 1) * self.length // self.at_once
        return np.split(rows, np.flatnonzero(np.diff(part)) + 1)

    def _loss(self, states: Any, histories: Histories, gaps: Int64, starts: Int64, lengths: Int64) -> torch.Tensor:
        """Mean cross-entropy of the tokens of some windows, each predicted from those before it."""
        tokens = self._tokens(histories, starts, lengths)
        whose = np.searchsorted(histories.indptr, starts, side="right") - 1
        extra = self._extra(whose.astype(np.int32), gaps, starts, lengths)
        there = np.arange(int(lengths.max())) < lengths[:, None]  # [rows, items]
        items = torch.from_numpy(np.flatnonzero(there)).to(tokens.device)
        hidden = states(tokens[:, :-1], extra).view(-1, self.length, self.width)[items]  # [items, length, d]
        wanted = tokens[:, 1:].reshape(-1, self.length)[items]
        if self.leaves is None:
            logits = self.model.logits(hidden).flatten(0, 1)
            return F.cross_entropy(logits.float(), wanted.flatten(), label_smoothing=self.label_smoothing)
        last = self.leaves.loss(hidden[:, -1], wanted[:, -1] - self.ids.vocabulary, self.label_smoothing)
        if self.length == 1:
            return last / len(wanted)
        codes = F.cross_entropy(
            self.model.logits(hidden[:, :-1]).flatten(0, 1).float(), wanted[:, :-1].flatten(),
            label_smoothing=self.label_smoothing, reduction="sum",
        )  # fmt: skip
        return (codes + last) / wanted.numel()

    def _check(self) -> None:
        choices = {"signal": SIGNALS, "quantiser": QUANTISERS, "resolve": RESOLVE, "search": SEARCHES, "read": READS}
        for name, known in choices.items():
            if (given := getattr(self, name)) not in known:
                hint = nearest(str(given), known)
                raise UserError(f"gpt-semantic-id: {name} = {given!r}, expected one of {', '.join(known)}.{hint}")
        if self.user_tokens < 0:
            raise UserError(f"gpt-semantic-id: user_tokens = {self.user_tokens}, expected a whole number from 0.")
        if not 0 <= self.filter_share < 1:
            raise UserError(f"gpt-semantic-id: filter_share = {self.filter_share}, expected 0 or more and below 1.")
        if self.width % self.heads:
            raise UserError(f"gpt-semantic-id: width = {self.width} is no multiple of heads = {self.heads}.")

    def _ids(self, split: Split, ctx: Context) -> None:
        """Make every item's id and the catalogue's trie."""
        parts: list[Floats] = []
        if "text" in self.signal:
            parts.append(ctx.item_embeddings(self.encoder))
        if "collaborative" in self.signal:
            factors = neighbour_factors(
                split.fit.histories, reach=self.collaborative_reach, dims=self.collaborative_dims
            )
            if parts:
                factors = for_unseen(factors, parts[0])
            parts.append(factors * self.collaborative_weight)
        if self.signal == "random":
            parts.append(unit_rows(ctx.rng("ids").standard_normal((split.n_items, 64))))
        codes = self.codes or enough_codes(split.n_items, self.levels)
        self.ids: ItemIds = semantic_ids(
            np.concatenate(parts, axis=1),
            levels=self.levels, codes=codes, seed=ctx.seed_for("ids"),
            resolve=self.resolve, quantiser=self.quantiser,  # type: ignore[arg-type]
        )  # fmt: skip
        ctx.log("fit", **self.ids.report())
        tokens = self.ids.tokens
        self.length = tokens.shape[1]  # tokens an item
        self.trie = build_trie(tokens, None if self.item_tokens else split.candidates, ctx.device)
        self.never = np.flatnonzero(~split.candidates).astype(np.int32) if self.item_tokens else np.empty(0, np.int32)
        written = tokens.astype(np.int64)  # [n_items, length]
        if self.item_tokens:
            written[:, -1] = self.ids.vocabulary + self.trie.leaf_of[:-1]
        self.id_tokens = torch.from_numpy(written).to(ctx.device)

    def _tokens(self, histories: Histories, starts: Int64, lengths: Int64) -> torch.Tensor:
        """The start token and the ids of ``lengths`` items from events ``starts`` on, padded behind: [rows, tokens]."""
        longest = int(lengths.max(initial=0))
        events = starts[:, None] + np.minimum(np.arange(longest), np.maximum(lengths[:, None] - 1, 0))
        items = torch.from_numpy(histories.items[np.minimum(events, len(histories.items) - 1)].astype(np.int64))
        ids = self.id_tokens[items.to(self.id_tokens.device)].flatten(1)
        return F.pad(ids, (1, 0), value=START)

    def _extra(self, users: Int32, gaps: Int64, starts: Int64, lengths: Int64) -> torch.Tensor | None:
        """What windows tell beside their items [rows, 1 + items, d]: of users [rows], gaps [events]."""
        if self.extras is None:
            return None
        longest = int(lengths.max(initial=0))
        events = starts[:, None] + np.minimum(np.arange(longest), np.maximum(lengths[:, None] - 1, 0))
        found: torch.Tensor = self.extras(users, gaps[np.minimum(events, len(gaps) - 1)])
        return found

    def generate(self, users: Users, k: int, exclude: bool) -> Generated:
        histories = users.histories
        kept = np.minimum(histories.lengths, self.window)
        items = np.full((len(users), k), NO_ITEM, np.int32)
        scores = np.full((len(users), k), -np.inf, np.float32)
        order = np.argsort(kept, kind="stable")
        gaps = gaps_of(histories) if self.time_gaps else np.zeros(len(histories.items), np.int64)
        for begin in range(0, len(users), USERS_AT_ONCE):
            rows = order[begin : begin + USERS_AT_ONCE]
            starts = histories.indptr[1:][rows] - kept[rows]
            tokens = self._tokens(histories, starts, kept[rows])
            extra = self._extra(users.ids[rows], gaps, starts, kept[rows])
            lengths = torch.from_numpy(1 + kept[rows] * self.length).to(tokens.device)
            own = histories.take(rows)
            barred = [own.last(int(own.lengths.max(initial=0)))] if exclude else []
            if len(self.never):
                barred.append(np.tile(self.never, (len(rows), 1)))
            seen = self.trie.excluded(np.concatenate(barred, axis=1)) if barred else None
            found, value = self._search(tokens, lengths, k, seen, extra)
            width = min(k, found.shape[1])
            items[rows, :width] = found[:, :width].cpu().numpy()
            scores[rows, :width] = value[:, :width].cpu().numpy()
        none = np.zeros(len(users), np.int32)
        return Generated(items, scores, none, none, none, (items != NO_ITEM).sum(1).astype(np.int32))

    def _search(
        self,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        k: int,
        seen: torch.Tensor | None,
        extra: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.search == "beam":
            return beam_search(
                self.model, self.trie, tokens, lengths,
                beams=max(self.beams, k), excluded=seen, leaves=self.leaves, extra=extra,
            )  # fmt: skip
        scores = score_all(self.model, self.trie, tokens, lengths, leaves=self.leaves, extra=extra)
        if seen is not None:
            scores = F.pad(scores, (0, 1)).scatter_(1, seen, -torch.inf)[:, :-1]
        scores, leaves = scores.topk(min(k, len(self.trie)), dim=1)
        return self.trie.items[leaves].masked_fill_(scores == -torch.inf, NO_ITEM), scores
