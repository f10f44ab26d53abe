"""Layers that sequence methods share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """nn.Dropout, but for its Bernoulli draws, which take a CPU three times as long as uniform ones."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        return x * torch.rand_like(x).ge_(self.rate).mul_(1 / (1 - self.rate))


class ItemEmbedding(nn.Embedding):
    """Rows 0 .. n_items - 1 are the items; row ``n_items`` is the start of a history (BERT4Rec's is the mask)."""

    def __init__(self, n_items: int, width: int):
        super().__init__(n_items + 1, width)

    @property
    def catalogue(self) -> Tensor:
        """The items' embeddings, which are also the output layer [n_items, d]."""
        return self.weight[:-1]


def initialise(model: nn.Module, std: float = 0.02) -> None:
    """Weights of embeddings and linear layers from N(0, std^2), biases zero, as in BERT and GPT-2."""
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.Linear):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
