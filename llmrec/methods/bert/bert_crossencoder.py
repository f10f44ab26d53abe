"""Cross-encoder: a pretrained encoder reads a user's history and a candidate as one sequence and says how well they go
together (monoBERT: Nogueira and Cho, arXiv 1901.04085; for news UNBERT: Zhang et al., IJCAI 2021).

The new output is fine-tuned on groups of a positive and several negatives: a click against what was shown beside it
(``impressions``), an item against items that the first stage lists and random ones (``topn``), words of an item's text
against other texts (``request``, which has no training requests).

A new output means nothing before it is trained, and clicks are noisy: it is added to a base's scores and begins at 0,
so that training starts where the base stands (by default the zero-shot bi-encoder) and not at guessing. ``base = {}``
leaves the output alone, as monoBERT has it. Requests have no base.

Every item of a catalogue cannot be paired with every user: in ``topn`` and ``request`` a first stage lists ``k`` items
and these are put in a new order. What it does not list cannot be recommended; how many validation targets it lists is
counted (``first_stage_found`` of ``first_stage_targets``): the ceiling of recall.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmrec.bert import examples
from llmrec.bert.base import Base, best_weight
from llmrec.bert.scorer import PairScorer
from llmrec.bert.stage import FirstStage, on_some_users
from llmrec.bert.tune import Groups
from llmrec.method import tune
from llmrec.parts import fit_part, read_part
from llmrec.types import NO_ITEM, Generated, Histories, Users

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Int64, Split


@dataclass
class BertCrossencoder:
    """An encoder reads history and candidate together and scores the pair; fine-tuned, reranks a first stage."""

    family: ClassVar[str] = "bert"
    early_stops: ClassVar[bool] = True
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {
        "first_stage": {"method": "tfidf", "params": {}, "k": 12}, "base": {}, "pretrained": False, "layers": 1,
        "width": 32, "window": 18, "item_tokens": 6, "examples": 256, "negatives": 1, "epochs": 3, "warm_up": 0.3,
        "learning_rate": 1e-2, "head_factor": 1.0, "batch_size": 16, "validation_users": 10,
    }  # fmt: skip

    first_stage: dict[str, Any] = field(  # of topn and request; k: how many items it lists
        default_factory=lambda: {"method": "bert-biencoder", "params": {}, "k": 50}
    )
    base: dict[str, Any] = field(  # whose scores the encoder's output is added to; {}: none
        default_factory=lambda: {"method": "bert-biencoder", "params": {}}
    )
    # the encoder
    encoder: str = "all-MiniLM-L6-v2"
    pretrained: bool = True  # False: fresh weights, to see what pretraining is worth
    layers: int = 0  # the encoder's first layers that are kept; 0: all
    width: int = 0  # of a fresh network; 0: the encoder's
    window: int = tune(128, choices=(64, 96, 128, 192, 256))  # tokens of a pair
    item_tokens: int = 32  # of a candidate, or of one item of the history
    pooling: str = tune("first", choices=("first", "mean"))  # of the tokens; sentence encoders were trained by "mean"
    # how deep it is trained
    depth: str = tune("full", choices=("frozen", "last", "lora", "full"))
    last: int = 2  # layers that depth "last" trains
    rank: int = 8  # of depth "lora"
    # training
    examples: int = 2000  # next items of an epoch, or items whose words are asked for; 0: all
    clicks: int = 0  # of an epoch, in impressions; 0: all
    negatives: int = tune(4, low=1, high=15)  # of each positive
    hard: float = tune(0.5, low=0.0, high=1.0)  # share of the negatives that the first stage lists
    epochs: int = 5
    patience: int = 2  # validations
    batch_size: int = 80  # pairs of a step, the effective batch
    at_once: int = 80  # pairs computed together; fewer than batch_size: gradients are accumulated
    learning_rate: float = tune(5e-5, low=1e-5, high=5e-4, log=True)
    head_factor: float = 10.0  # the new output's learning rate, relative to the encoder's
    layer_decay: float = tune(1.0, low=0.7, high=1.0)  # learning rate of a layer relative to the next higher one
    warm_up: float = 0.1  # share of all steps
    weight_decay: float = 0.01
    mixed: bool = True  # bf16 while training, on a GPU
    checkpointing: bool = False  # less memory, a third more time
    validation_users: int = 200  # of topn, drawn once; 0: all
    # answer
    int8: bool = False  # 8-bit weights and activations for the answers, on a CPU

    def fit(self, split: Split, ctx: Context) -> None:
        self.scorer = PairScorer(self, ctx)
        self.pairs = self.scorer.pairs
        self.stage = None if split.impressions else self._first_stage(split, ctx)
        self.under = self._base(split, ctx) if self.base and not split.requests else None
        validate = ctx.validate
        if validate is not None and self.stage is not None and not split.requests:
            validate = on_some_users(validate, split, ctx, self.validation_users)
        self.scorer.fine_tune(self, ctx, lambda epoch: self._examples(split, ctx, epoch), validate)

    def _first_stage(self, split: Split, ctx: Context) -> FirstStage:
        verbs = ("search",) if split.requests else ("score", "generate")
        part = read_part(self.first_stage, "bert-crossencoder: parameter 'first_stage'", verbs, also=("k",))
        stage = FirstStage(fit_part(part, "first_stage", split, ctx), int(self.first_stage.get("k", 50)), split)
        if ctx.validate is not None:
            ctx.counts |= stage.ceiling(split)
        return stage

    def _base(self, split: Split, ctx: Context) -> Base:
        """The base with its weight, and the encoder's output at 0."""
        under = Base.of(self.base, "bert-crossencoder: parameter 'base'", split, ctx)
        self.under = under
        first = self._examples(split, ctx, 0)
        assert first.start is not None
        under.weight = best_weight(first.start, first.m)
        self.scorer.begin_at_zero()
        return under

    def _examples(self, split: Split, ctx: Context, epoch: int) -> Groups:
        rng = ctx.rng("negatives", epoch)
        if split.requests:
            return examples.words(self.pairs, split.candidates, self.negatives, self.examples, rng)
        lists = self.stage.lists if self.stage is not None else None
        groups = examples.next_items(
            self.pairs, split.fit.histories, split.candidates, self.negatives, self.hard, self.examples, rng, lists,
            self.under,
        ) if self.examples or not split.impressions else None  # fmt: skip
        if not split.impressions:
            assert groups is not None
            return groups
        shown = examples.clicks(self.pairs, split.impressions["fit"], self.negatives, self.clicks, rng, self.under)
        return shown if groups is None else examples.both(shown, groups)

    def rerank(self, users: Users, candidates: Histories) -> Floats:
        lefts, _ = self.pairs.histories(users.histories)
        return self._begun(users, candidates.rows, candidates.items) + self.scorer.scores(
            lefts, candidates.rows, candidates.items
        )

    def generate(self, users: Users, k: int, exclude: bool) -> Generated:
        assert self.stage is not None
        listed = self.stage.lists(users, exclude)
        lefts, _ = self.pairs.histories(users.histories)
        items, scores = self._in_new_order(lefts, listed, k, users)
        none = np.zeros(len(users), np.int32)
        return Generated(items, scores, none, none, none, (items != NO_ITEM).sum(1).astype(np.int32))

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        assert self.stage is not None
        return self._in_new_order(self.pairs.words(texts), self.stage.found(texts), k)

    def _in_new_order(
        self, lefts: list[Int32], listed: Int32, k: int, users: Users | None = None
    ) -> tuple[Int32, Floats]:
        """The listed items [b, depth] by the pairs' scores, the k best: ids and scores [b, k]."""
        rows, places = np.nonzero(listed != NO_ITEM)
        scores = np.full(listed.shape, -np.inf, np.float32)
        items = listed[rows, places]
        scores[rows, places] = self.scorer.scores(lefts, rows, items)
        if users is not None:
            scores[rows, places] += self._begun(users, rows, items)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(listed, order, 1), np.take_along_axis(scores, order, 1)

    def _begun(self, users: Users, rows: Int64, items: Int32) -> Floats:
        """What the encoder's output is added to."""
        return self.under(users, rows, items) if self.under is not None else np.zeros(len(items), np.float32)
