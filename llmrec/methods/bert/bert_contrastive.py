"""The bi-encoder fine-tuned: a user's next item is to be nearer to what the user took than other users' next items.

It begins as bert-biencoder is: cosine between an item's text and the recency-weighted mean of the history's, centred
and whitened. Then a softmax over the items of a step (in-batch negatives; Karpukhin et al., EMNLP 2020) is followed
back into the encoder, into the map behind it, or into both. A popular item stands in most steps and would be pushed
away most: the log of how often it is taken is subtracted from its logit (Yi et al., RecSys 2019), and what the user
took before is no negative.

Before that the encoder may go on reading, the items' texts alone (``pretrain``): pre-train, fine-tune, recommend.

Reading texts is what costs: a step reads its own items alone, those of the histories are as an epoch's begin left them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from llmrec.bert.depth import DEPTHS, trained
from llmrec.bert.embedder import Embedder, embedder
from llmrec.bert.examples import prefixes_of
from llmrec.bert.tune import rates_of, schedule
from llmrec.context import Context
from llmrec.method import tune
from llmrec.sequence import checks
from llmrec.training import train
from llmrec.types import Floats, Histories, Int64, Split, Users


@dataclass
class BertContrastive:
    """bert-biencoder fine-tuned on histories: in-batch negatives, corrected for popularity."""

    family: ClassVar[str] = "bert"
    early_stops: ClassVar[bool] = True
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"depth": "frozen", "epochs": 4, "batch_size": 64}

    # what it begins as
    encoder: str = "all-MiniLM-L6-v2"
    decay: float = tune(0.95, low=0.5, high=1.0)  # weight of an item relative to the next newer one
    whiten: float = tune(0.5, low=0.0, high=1.0)  # 0: principal components keep their variances, 1: equal ones
    pretrain: int = 0  # epochs of masked-language modelling on the items' texts before; 0: none
    # how deep it is trained, beside the map behind the encoder
    depth: str = tune("last", choices=("frozen", "last", "lora", "full"))
    last: int = 1  # layers that depth "last" trains
    rank: int = 8  # of depth "lora"
    item_tokens: int = 64  # of an item's text; 0: as many as the encoder reads
    # training
    temperature: float = tune(0.05, low=0.02, high=0.5, log=True)
    correction: float = tune(1.0, low=0.0, high=1.0)  # of popularity: its logarithm's share; 0: none
    examples: int = 10_000  # next items of an epoch; 0: all
    batch_size: int = 256  # next items of a step
    learning_rate: float = tune(5e-5, low=1e-5, high=5e-4, log=True)  # of the encoder's highest layer
    head_factor: float = 20.0  # the map's learning rate, relative to that
    layer_decay: float = tune(1.0, low=0.7, high=1.0)  # learning rate of a layer relative to the next higher one
    warm_up: float = 0.1  # share of all steps
    weight_decay: float = 0.01  # of the encoder
    epochs: int = 10
    patience: int = 3  # validations

    def __post_init__(self) -> None:
        checks.one_of("bert-contrastive", "depth", self.depth, DEPTHS)
        checks.at_least("bert-contrastive", 1, last=self.last, rank=self.rank, batch_size=self.batch_size)
        checks.at_least("bert-contrastive", 1, epochs=self.epochs, patience=self.patience)
        checks.at_least(
            "bert-contrastive", 0, item_tokens=self.item_tokens, examples=self.examples, pretrain=self.pretrain
        )
        checks.above_zero("bert-contrastive", temperature=self.temperature, learning_rate=self.learning_rate)
        checks.share("bert-contrastive", decay=self.decay, whiten=self.whiten, correction=self.correction)

    def fit(self, split: Split, ctx: Context) -> None:
        """
        Raises:
            UserError: no such encoder, or no item has a text. MethodError: the loss is not finite.
        """
        self.model = embedder("bert-contrastive", self, ctx)
        self.vectors: Tensor | None = None
        ctx.counts |= {"numbers_trained": trained(self.model), "effective_batch": self.batch_size}
        optimizer = torch.optim.AdamW(self._rates(self.model), fused=True)
        for group in optimizer.param_groups:
            group["first"] = group["lr"]
        epochs = max(self.epochs, ctx.epochs or 0)
        taken = np.bincount(split.fit.item, minlength=split.n_items)
        frequency = torch.from_numpy(np.log(np.maximum(taken, 1) / taken.sum())).float().to(ctx.device)

        def run_epoch(epoch: int) -> float:
            steps = list(self._steps(split.fit.histories, ctx.rng("examples", epoch)))
            table, total, count = self._vectors(), 0.0, 0
            for i, events in enumerate(steps):
                factor = schedule((epoch + i / len(steps)) / epochs, self.warm_up)
                for group in optimizer.param_groups:
                    group["lr"] = group["first"] * factor
                loss = self._loss(table, split.fit.histories, events, frequency)
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], 1.0)
                optimizer.step()
                total, count = total + loss.item() * len(events), count + len(events)
            self.vectors = None
            return total / max(count, 1)

        train(self, self.model, optimizer, run_epoch, ctx, epochs=self.epochs, patience=self.patience)
        self.vectors = None  # of the last epoch; the best one's weights are back

    def _rates(self, model: Embedder) -> list[dict[str, Any]]:
        head = {"params": [*model.map.parameters()], "lr": self.learning_rate * self.head_factor, "weight_decay": 0.0}
        return [head, *(rates_of(model.reader.model, self) if model.reader is not None else [])]  # type: ignore[arg-type]

    def _steps(self, histories: Histories, rng: np.random.Generator) -> list[Int64]:
        """Events with something before them, in steps of ``batch_size``."""
        position = np.arange(len(histories.items)) - histories.indptr[:-1][histories.rows]
        events = rng.permutation(np.flatnonzero(position > 0))[: self.examples or None]
        return np.split(events, range(self.batch_size, len(events), self.batch_size))

    def _loss(self, table: Tensor, histories: Histories, events: Int64, frequency: Tensor) -> Tensor:
        """The mean loss of some events: each one's item among the items of all, given what came before it."""
        owners = histories.rows[events]
        before = prefixes_of(histories, owners, events - histories.indptr[owners])
        items, wanted = np.unique(histories.items[events], return_inverse=True)
        compared = torch.from_numpy(items.astype(np.int64)).to(table.device)
        vectors = self.model(compared)  # [k, d]
        users = self._users(table.index_copy(0, compared, vectors), before)  # [b, d]
        logits = users @ vectors.T / self.temperature - self.correction * frequency[compared]
        own = before.matrix()[:, items].toarray() > 0
        own[np.arange(len(events)), wanted] = False
        logits = logits.masked_fill(torch.from_numpy(own).to(table.device), -torch.inf)
        return F.cross_entropy(logits, torch.from_numpy(wanted).to(table.device))

    def _users(self, vectors: Tensor, histories: Histories) -> Tensor:
        """The recency-weighted means of the histories' items, at unit length [b, d]; zero where there are none."""
        device = vectors.device
        weights = torch.from_numpy(np.power(self.decay, histories.ages).astype(np.float32)).to(device)
        items, starts = (torch.from_numpy(a.astype(np.int64)).to(device) for a in (histories.items, histories.indptr))
        means = F.embedding_bag(items, vectors, starts[:-1], per_sample_weights=weights, mode="sum")
        return F.normalize(means, dim=1)

    def _vectors(self) -> Tensor:
        """All items' vectors [n_items, d], read anew when training has gone on."""
        if self.vectors is None:
            self.vectors = self.model.catalogue()
        return self.vectors

    @torch.no_grad()
    def score(self, users: Users) -> Floats:
        vectors = self._vectors()
        scores: Floats = (self._users(vectors, users.histories) @ vectors.T).cpu().numpy()
        return scores
