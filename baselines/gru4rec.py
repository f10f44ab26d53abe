"""GRU4Rec: a gated recurrent network reads a user's items one by one; every position is a training target.

Hidasi, Karatzoglou, Baltrunas and Tikk, "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016 (the
unit, equations 2 to 4), and Hidasi and Karatzoglou, "Recurrent Neural Networks with Top-k Gains for Session-based
Recommendations", CIKM 2018 (cross-entropy; input and output sharing one embedding).

Hidasi and Czapp, "The Effect of Third Party Implementations on Reproducibility", RecSys 2023, show how copies of it
went wrong: one negative where the authors draw thousands, an embedding that cannot be shared, hidden states kept where
they should be reset, dropout in the wrong place. So, beside the authors' code (hidasib/GRU4Rec_PyTorch_Official):

    the same    dropout on the items' embeddings and on the output of every layer; one embedding shared with the
                output layer (``tied``), or two; cross-entropy as the default; a history starts from a hidden state of
                zeros; every item of a history is a target; a score is a dot product plus the item's bias
    different   windows of whole histories side by side in place of session-parallel mini-batches, so that gradients
                flow back through ``length`` steps and not through one; all items as negatives, or the losses of
                `llmrec.sequence.losses` in place of BPR-max; AdamW in place of Adagrad with momentum; a linear layer
                between ``hidden`` and ``width`` where they are not the same
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from llmrec.context import Context
from llmrec.method import tune
from llmrec.sequence import checks
from llmrec.sequence.fit import fit_next_item, next_item_scores, seeded
from llmrec.sequence.layers import Dropout, ItemEmbedding, initialise
from llmrec.sequence.losses import declared_loss
from llmrec.types import Floats, Split, Users


class Recurrent(nn.Module):
    """Item ids [b, t] -> what each position expects next, [b, t, width + 1]: the last number, always one, is what the
    items' biases are multiplied with. Sequences are padded on the right, where nothing reads it."""

    def __init__(self, n_items: int, width: int, hidden: int, layers: int, dropout: float, tied: bool):
        super().__init__()
        self.items = ItemEmbedding(n_items, width)
        sizes = [width, *[hidden] * layers]
        self.layers = nn.ModuleList(nn.GRU(a, b, batch_first=True) for a, b in pairwise(sizes))
        self.dropout = Dropout(dropout)
        self.project = nn.Linear(hidden, width) if hidden != width else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(n_items, 1))
        initialise(self)
        for layer in self.layers:
            for weights in layer.parameters():
                if weights.ndim == 2:
                    nn.init.xavier_uniform_(weights)
                else:
                    nn.init.zeros_(weights)
        self.output = None if tied else nn.Parameter(torch.empty(n_items, width).normal_(std=0.02))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.dropout(self.items(ids))
        for layer in self.layers:
            x = self.dropout(layer(x)[0])
        x = self.project(x)
        return torch.cat([x, torch.ones_like(x[:, :, :1])], 2)

    @property
    def catalogue(self) -> Tensor:
        """The output layer, [n_items, width + 1], an item's bias its last number."""
        return torch.cat([self.items.catalogue if self.output is None else self.output, self.bias], 1)


@dataclass
class GRU4Rec:
    """A recurrent network over the items a user took; every position is a training target; four losses."""

    family: ClassVar[str] = "sequential"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"epochs": 20, "width": 32, "hidden": 32, "learning_rate": 2e-2}

    length: int = tune(50, choices=(20, 50, 100, 200))
    width: int = tune(64, choices=(32, 64, 128))  # of the items' embeddings
    hidden: int = tune(128, choices=(64, 128, 256))
    layers: int = tune(1, low=1, high=2)
    dropout: float = tune(0.3, low=0.0, high=0.6)
    tied: bool = True  # the items' embeddings are also the output layer
    loss: str = "cross-entropy"  # or "bce", "gbce", "sampled-softmax": see llmrec.sequence.losses
    negatives: int | None = None  # None: 1 for "bce", 256 for "gbce", 1,024 for "sampled-softmax"
    calibration: float = 0.75  # gSASRec's t, for "gbce"
    learning_rate: float = tune(2e-3, low=1e-4, high=1e-2, log=True)  # of the first epoch; falls linearly to zero
    weight_decay: float = 0.0
    batch_size: int = 128  # windows
    epochs: int = 50
    patience: int = 10

    def __post_init__(self) -> None:
        self.mean_loss = declared_loss("gru4rec", self.loss, self.negatives, self.calibration)
        checks.at_least("gru4rec", 1, length=self.length, width=self.width, hidden=self.hidden, layers=self.layers)
        checks.at_least("gru4rec", 1, batch_size=self.batch_size, epochs=self.epochs, patience=self.patience)
        checks.at_least("gru4rec", 0, weight_decay=self.weight_decay)
        checks.above_zero("gru4rec", learning_rate=self.learning_rate)
        checks.share("gru4rec", below_one=True, dropout=self.dropout)

    def fit(self, split: Split, ctx: Context) -> None:
        self.model = seeded(lambda: self.network(split.n_items), ctx)
        fit_next_item(self, self.model, split, ctx, self.mean_loss)

    def network(self, n_items: int) -> Recurrent:
        return Recurrent(n_items, self.width, self.hidden, self.layers, self.dropout, self.tied)

    def score(self, users: Users) -> Floats:
        return next_item_scores(self.model, users, self.length)
