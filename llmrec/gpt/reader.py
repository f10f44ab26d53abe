"""A GPT that reads one position an item and writes an item's id token by token.

A history of n items is n positions and not n times the tokens of an id: an item enters as the sum of its tokens'
vectors, so attention is between items, as in SASRec, and the sequence is short. What follows is written by the same
autoregressive rule, p(c1 | history) p(c2 | history, c1) ...: a state chooses a token, and a small net takes the chosen
token into the state. It answers to what a search asks of `llmrec.gpt.model.GPT`: `remember`, `branch` and `logits`.
In shapes: b users, t items of history, m branches, l tokens an id, d width.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmrec.gpt.model import Shape
from llmrec.sequence.attention import CausalBlock
from llmrec.sequence.layers import Dropout, initialise


class FilterBlock(nn.Module):
    """Self-attention beside a filter over the last places, as in BSARec (Shin et al., AAAI 2024), made causal.

    BSARec's filter mixes all places of a window, so only the last of them may be a target. Here a place sees itself and
    what came before, weighted by the distance alone, so that every place is a target at once. The weights of the
    distances start as BSARec's low-pass filter and are learnt.
    """

    def __init__(self, width: int, heads: int, dropout: float, length: int, share: float) -> None:
        super().__init__()
        self.heads, self.share, self.drop = heads, share, Dropout(dropout)
        self.root_beta = nn.Parameter(torch.randn(width))
        angle = 2 * torch.pi * torch.arange(length) / length
        self.kernel = nn.Parameter((1 + 2 * angle.cos() + 2 * (2 * angle).cos()) / length)  # by distance
        self.query, self.key_value, self.mix = (nn.Linear(width, n * width) for n in (1, 2, 1))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm_1, self.norm_2, self.norm_3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:  # [b, t, d] -> [b, t, d]
        b, t, d = x.shape
        distance = torch.arange(t, device=x.device)
        distance = distance[:, None] - distance
        slow = (self.kernel[distance.clamp(min=0)] * (distance >= 0)) @ x
        filtered = self.norm_1(x + self.drop(slow + self.root_beta**2 * (x - slow)))
        q = self.query(x).view(b, t, self.heads, -1).transpose(1, 2)
        k, v = self.key_value(x).view(b, t, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        attended = self.norm_2(x + self.drop(self.mix(seen.transpose(1, 2).reshape(b, t, d))))
        x = self.share * filtered + (1 - self.share) * attended
        return cast(Tensor, self.norm_3(x + self.drop(self.down(F.gelu(self.up(x))))))


class ItemReader(nn.Module):
    """Tokens in, states out, as a GPT. ``shape.period`` is the number of tokens an item; ``filter_share`` is what the
    filter has of a layer, attention having the rest: BSARec's alpha. With 0 there is no filter: SASRec's layer."""

    def __init__(self, shape: Shape, filter_share: float = 0.0) -> None:
        super().__init__()
        d = shape.width
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, d)
        length = -(-shape.context // shape.period)
        self.positions = nn.Embedding(length, d)
        self.drop = Dropout(shape.dropout)
        size = (d, shape.heads, shape.dropout)
        blocks = (
            FilterBlock(*size, length, filter_share) if filter_share else CausalBlock(*size)
            for _ in range(shape.layers)
        )
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.norm_written = nn.LayerNorm(d), nn.LayerNorm(d)
        self.up, self.down = nn.Linear(2 * d, d), nn.Linear(d, d)
        initialise(self)

    def read(self, tokens: Tensor, extra: Tensor | None = None) -> Tensor:
        """States [b, 1 + t, d] after the start token and after each item of histories [b, 1 + t l]. ``extra``, of at
        least as many places, is added to what enters (`llmrec.gpt.extras`)."""
        x = self.tokens(tokens)
        items = x[:, 1:].unflatten(1, (-1, self.shape.period)).sum(2)
        x = torch.cat([x[:, :1], items], 1)
        x = (x if extra is None else x + extra[:, : x.shape[1]]) * self.shape.width**0.5
        return cast(Tensor, self.norm(self.blocks(self.drop(x + self.positions.weight[: x.shape[1]]))))

    def write(self, state: Tensor, tokens: Tensor) -> Tensor:
        """States [..., d] once tokens [...] are chosen."""
        both = torch.cat([state, self.tokens(tokens) * self.shape.width**0.5], -1)
        return cast(Tensor, self.norm_written(state + self.drop(self.down(F.relu(self.up(both))))))

    def forward(self, tokens: Tensor, extra: Tensor | None = None) -> Tensor:
        """States [b, t l, d], each to choose the next token, of start token and items without their last token
        [b, t l]."""
        period = self.shape.period
        state = self.read(tokens[:, : tokens.shape[1] - period + 1], extra)  # [b, t, d]
        states = [state]
        for place in range(1, period):
            state = self.write(state, tokens[:, place::period])
            states.append(state)
        return torch.stack(states, 2).flatten(1, 2)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token [..., vocabulary]."""
        return F.linear(hidden, self.tokens.weight)

    def remember(self, tokens: Tensor, lengths: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state after each history [b, d], twice: nothing else of it is needed."""
        places = (lengths - 1) // self.shape.period
        state = self.read(tokens, extra)[torch.arange(len(tokens), device=tokens.device), places]
        return state, state

    def branch(self, tokens: Tensor, memory: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor]:
        """One more token on each of m branches of each user [b, m] -> states [b, m, d], and the same in the form
        [1, 1, b, m, 1, d] in which a search sorts what branches own."""
        before = memory[:, None].expand(-1, tokens.shape[1], -1) if own is None else own[0, 0, :, :, 0]
        state = self.write(before, tokens)
        return state, state[None, None, :, :, None]
