"""Ratings by a cross-encoder: a pretrained encoder reads what a user rated, and how, beside a candidate's text, and one
output says what the rating will be.

    [CLS] 4: a title; 2: another title; ... [SEP] the candidate [SEP]

The output is fine-tuned by squared error on what a base prediction leaves over (user and item biases by default, the
mean alone with ``base = {}``), in units of its standard deviation: texts need not say again how high somebody rates.
A user is known by the ratings of training, newest first as far as they fit, the one that is asked for left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmrec.bert.examples import rating_marks, without
from llmrec.bert.scorer import PairScorer
from llmrec.bert.stage import sampled_rmse
from llmrec.bert.tune import Groups
from llmrec.method import tune
from llmrec.parts import fit_part, read_part

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Int64, Split


@dataclass
class BertRating:
    """An encoder reads a user's rated titles beside a candidate's and predicts its rating; fine-tuned."""

    family: ClassVar[str] = "bert"
    early_stops: ClassVar[bool] = True
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {
        "pretrained": False, "layers": 1, "width": 32, "window": 24, "item_tokens": 6, "examples": 128, "epochs": 2,
        "head_factor": 1.0, "batch_size": 32,
    }  # fmt: skip

    base: dict[str, Any] = field(  # predicts what the encoder corrects; {}: the mean
        default_factory=lambda: {"method": "user-item-bias", "params": {}}
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
    examples: int = 8000  # ratings of an epoch; 0: all
    epochs: int = 5
    patience: int = 2  # validations
    batch_size: int = 64  # pairs of a step, the effective batch
    at_once: int = 64  # pairs computed together; fewer than batch_size: gradients are accumulated
    learning_rate: float = tune(5e-5, low=1e-5, high=5e-4, log=True)
    head_factor: float = 10.0  # the new output's learning rate, relative to the encoder's
    layer_decay: float = tune(1.0, low=0.7, high=1.0)  # learning rate of a layer relative to the next higher one
    warm_up: float = 0.1  # share of all steps
    weight_decay: float = 0.01
    mixed: bool = True  # bf16 while training, on a GPU
    checkpointing: bool = False  # less memory, a third more time
    validation_ratings: int = 2000  # drawn once; 0: all
    # answer
    int8: bool = False  # 8-bit weights and activations for the answers, on a CPU

    def fit(self, split: Split, ctx: Context) -> None:
        self.scorer = PairScorer(self, ctx)
        self.pairs = self.scorer.pairs
        values = split.fit.frame["value"].to_numpy().astype(np.float64)
        self.mean = float(values.mean())
        self.under = self._base(split, ctx)
        left = values - self._from_base(split.fit.user, split.fit.item)
        self.unit = max(float(left.std()), 1e-6)
        self.histories = split.fit.histories
        self.marks = rating_marks(values.tolist(), self.pairs)
        validate = None if ctx.validate is None else sampled_rmse(split, ctx, self.validation_ratings)
        self.scorer.fine_tune(self, ctx, lambda epoch: self._examples(left / self.unit, ctx, epoch), validate)

    def _base(self, split: Split, ctx: Context) -> Any:
        """The fitted base, or None for the mean."""
        if not self.base:
            return None
        return fit_part(read_part(self.base, "bert-rating: parameter 'base'", ("predict",)), "base", split, ctx)

    def _from_base(self, users: Int32, items: Int32) -> Floats:
        if self.under is None:
            return np.full(len(users), self.mean)
        return np.asarray(self.under.predict(users, items), np.float64)

    def _examples(self, left: Floats, ctx: Context, epoch: int) -> Groups:
        """Some ratings of training, each beside the user's others."""
        events = ctx.rng("examples", epoch).permutation(len(left))[: self.examples or len(left)]
        rows, kept = without(self.histories, events)
        lefts, left_out = self.pairs.histories(rows, [self.marks[event] for event in kept])
        self.pairs.counts["history_items_cut"] = left_out
        rights = [self.pairs.items[item] for item in self.histories.items[events]]
        return Groups(lefts, rights, 1, left[events])

    def predict(self, users: Int32, items: Int32) -> Floats:
        asked, left_of = np.unique(users, return_inverse=True)
        lefts = self._read(asked)
        predicted: Floats = self._from_base(users, items) + self.unit * self.scorer.scores(lefts, left_of, items)
        return predicted

    def _read(self, asked: Int32) -> list[Int32]:
        """What each user has rated, and how, as tokens."""
        starts: Int64 = self.histories.indptr
        events = [event for user in asked for event in range(starts[user], starts[user + 1])]
        return self.pairs.histories(self.histories.take(asked), [self.marks[event] for event in events])[0]
