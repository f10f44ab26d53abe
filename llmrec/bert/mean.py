"""What the output reads: the mean of all tokens instead of the first one.

A sentence encoder such as all-MiniLM was trained by the mean of its tokens. Its first token tells texts hardly apart:
after 62 steps on news, outputs that began at 0 were some 1e-4 apart between pairs.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from llmrec.errors import UserError, nearest

POOLINGS = ("first", "mean")
"""The first token through the encoder's pooler, or the mean of all tokens."""


class MeanPooler(nn.Module):
    """The mean of the last layer's states, padding left out: [b, t, d] -> [b, d]."""

    mask: Tensor | None = None  # [b, t] of the batch that is being read

    def forward(self, states: Tensor) -> Tensor:
        assert self.mask is not None
        there = self.mask.unsqueeze(-1).to(states.dtype)
        mean: Tensor = (states * there).sum(1) / there.sum(1)
        return mean


def pooled(model: Any, pooling: str) -> Any:
    """The classifier, reading what ``pooling`` says.

    Raises:
        UserError: no such pooling, or "mean" for an encoder without a pooler (RoBERTa's classifier reads the states).
    """
    if pooling not in POOLINGS:
        raise UserError(f"pooling = {pooling!r}, expected one of {', '.join(POOLINGS)}.{nearest(pooling, POOLINGS)}")
    if pooling == "first":
        return model
    inner = next((module for module in model.modules() if isinstance(getattr(module, "pooler", None), nn.Module)), None)
    if inner is None:
        raise UserError("pooling = 'mean': this encoder has no pooler to put the mean in place of; take 'first'.")
    inner.pooler = MeanPooler()
    inner.register_forward_pre_hook(_tell_mask, with_kwargs=True)
    return model


def _tell_mask(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
    module.pooler.mask = kwargs["attention_mask"]
