"""Prompts that are read once: their keys and values, shared by everything that is written after them.

Any causal model of transformers works, through its own cache. What comes after a prompt is a tree of tokens: branches
are not rows of a batch with a copy of the prompt each, but further tokens of one row, and an attention mask says which
earlier ones a token continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tokens = Sequence[int]


class Memory:
    """The keys and values of b prompts, and of the tokens that were read after them (a row's own s tokens).

    Attributes:
        following: scores of the token after each prompt [b, vocabulary].
        lengths: tokens of each prompt [b].
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Tokens]) -> None:
        """Read prompts, which are padded on the left.

        Raises:
            ValueError: there is an empty prompt, or one longer than the model's context.
        """
        context = int(model.config.max_position_embeddings)
        for row, prompt in enumerate(prompts):
            if not 0 < len(prompt) <= context:
                raise ValueError(f"prompt {row} has {len(prompt)} tokens, expected 1 to {context}")
        self.model = model
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
        longest = int(self.lengths.max())
        tokens = torch.tensor([[0] * (longest - len(p)) + list(p) for p in prompts], device=model.device)
        places = torch.arange(longest, device=model.device) - (longest - self.lengths)[:, None]
        self._there = places >= 0  # [b, t]
        out: Any = model(
            input_ids=tokens, attention_mask=self._there.long(), position_ids=places.clamp(min=0), use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        self.following: Tensor = out.logits[:, -1]
        self._cache = out.past_key_values

    def read(self, tokens: Tensor, depth: Tensor, sees: Tensor) -> Tensor:
        """Read q tokens more of each row: [b, q] -> scores of what follows each [b, q, vocabulary].

        Args:
            depth: how many of its row's own tokens each one continues [b, q]: it stands behind the prompt and them.
            sees: bool [b, q, s + q]: which of the row's own tokens (those read before, then these) it attends to;
                itself included.
        """
        b, q = tokens.shape
        mask = torch.cat([self._there[:, None].expand(b, q, -1), sees], dim=2)
        weights = self.model.dtype
        barred = torch.zeros(mask.shape, dtype=weights, device=mask.device)
        barred.masked_fill_(~mask, torch.finfo(weights).min)
        out: Any = self.model(
            input_ids=tokens, attention_mask=barred[:, None], position_ids=self.lengths[:, None] + depth,
            past_key_values=self._cache, use_cache=True,
        )  # fmt: skip
        logits: Tensor = out.logits
        return logits
