"""What the methods that score pairs share: an encoder and the catalogue's pairs, loaded, fine-tuned and asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from llmrec.bert import classifier, packed, tune
from llmrec.bert.int8 import in_int8
from llmrec.bert.mean import pooled
from llmrec.bert.pairs import Pairs, Tokens, pair_scores
from llmrec.packed import packable
from llmrec.parallel import processes

if TYPE_CHECKING:
    import torch

    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Int64


class Settings(classifier.Settings, tune.Settings, Protocol):
    """The fields of a method that scores pairs."""

    window: int  # tokens of a pair
    item_tokens: int  # of a candidate, or of one item of the history
    pooling: str  # what the output reads: one of llmrec.bert.mean.POOLINGS
    int8: bool  # 8-bit weights and activations for the answers, on a CPU


class PairScorer:
    """An encoder with one output, and the catalogue's texts as it reads them."""

    def __init__(self, settings: Settings, ctx: Context) -> None:
        """
        Raises:
            UserError: no such encoder, or a window that does not fit. Skip: depth "lora" without the package peft.
        """
        processes()  # before anything goes to a device
        self.settings, self.device = settings, ctx.device
        self.classifier = classifier.load_classifier(settings, ctx)
        self.model = pooled(self.classifier.model, settings.pooling)
        self.pairs = Pairs.of(self.classifier, ctx.items.texts, settings.window, settings.item_tokens)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The encoder's, which the record counts."""
        found: Iterator[torch.nn.Parameter] = self.model.parameters()
        return found

    def begin_at_zero(self) -> None:
        """Let the output be 0 for every pair until it is trained."""
        from torch import nn

        for module in self.model.modules():
            if isinstance(module, nn.Linear) and module.out_features == 1:
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)

    def fine_tune(
        self, method: Any, ctx: Context, examples: Callable[[int], tune.Groups],
        validate: Callable[[Any], dict[str, float]] | None,
    ) -> None:  # fmt: skip
        """Train on ``examples(epoch)`` of each epoch (`llmrec.bert.tune.fine_tune`), stop on what ``validate`` says of
        ``method``, and answer from then on as the settings say.

        Raises:
            MethodError: the loss is not finite.
        """
        own = dataclasses.replace(ctx, validate=validate)
        tune.fine_tune(method, self.settings, self.classifier, self.pairs, own, examples)
        ctx.chosen_epochs = own.chosen_epochs
        ctx.counts |= self.pairs.counts
        if self.settings.int8:
            self.model = in_int8(self.model)

    def scores(self, lefts: Tokens, left_of: Int64, items: Int32) -> Floats:
        """The output for the pairs (``lefts[left_of[j]]``, ``items[j]``), float32 [len(items)]."""
        if self.device == "cpu" and packable(self.model, "BertForSequenceClassification") is not None:
            return packed.pair_scores(self.model, self.pairs, lefts, left_of, items)
        return pair_scores(self.model, self.pairs, lefts, left_of, items, self.device)
