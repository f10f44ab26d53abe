"""One token an item: a GPT reads the items a user took and gives each item of the catalogue as its next token a chance.

GPTRec (Petrov and Macdonald, Gen-IR 2023, arXiv 2306.11114) with its Top-K answer: the k likeliest next tokens. The
network is `llmrec.gpt.model`'s, the losses are those of `sasrec`: beside it, the same loss shows what the architecture
is worth, and beside gpt-semantic-id, what it is worth to write an item in several tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from llmrec.gpt.model import GPT, Shape
from llmrec.method import tune
from llmrec.sequence import checks
from llmrec.sequence.fit import fit_next_item, next_item_scores, seeded
from llmrec.sequence.losses import declared_loss
from llmrec.sequence.settings import check_attention

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users


class ItemGPT(nn.Module):
    """A GPT whose tokens 0 .. n_items - 1 are the items and whose token ``n_items`` starts a history."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gpt = GPT(shape)

    def forward(self, ids: Tensor) -> Tensor:
        """What each position expects next [b, t, d]; ids are padded on the right, where the causal mask hides them."""
        hidden: Tensor = self.gpt(ids)
        return hidden

    @property
    def catalogue(self) -> Tensor:
        return self.gpt.tokens.weight[:-1]


@dataclass
class GptItemId:
    """A small GPT trained from scratch with one token an item; recommends the likeliest next tokens; four losses."""

    family: ClassVar[str] = "gpt"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"epochs": 20, "width": 32}

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
        name = "gpt-item-id"
        self.mean_loss = declared_loss(name, self.loss, self.negatives, self.calibration)
        checks.at_least(name, 1, layers=self.layers)
        check_attention(name, self)

    def fit(self, split: Split, ctx: Context) -> None:
        shape = Shape(split.n_items + 1, self.length, self.layers, self.heads, self.width, self.dropout)
        self.model = seeded(lambda: ItemGPT(shape), ctx)
        fit_next_item(self, self.model, split, ctx, self.mean_loss)

    def score(self, users: Users) -> Floats:
        return next_item_scores(self.model, users, self.length)
