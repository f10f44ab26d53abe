"""A token for each item beside the codes: the last step of an id tells apart the items below one prefix.

Codes alone make items that share them alike: what follows this item, and not its neighbour, has to be squeezed through
a few hundred shared vectors. Here the last token of an id stands for the item itself. Its embedding is its code's plus
one of its own, where a history is read and where an item is written; the last step is then a softmax over the items
below the prefix: a hierarchical softmax (Morin and Bengio, 2005) whose tree are the semantic ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmrec.gpt.trie import Trie


class ItemTokens(nn.Module):
    """Embeddings of the codes' tokens, 0 to v - 1, and of the items': token v + j is leaf j of the trie.

    Takes the place of a GPT's token embedding. ``weight`` [v, d] are the codes' alone, which the steps before the last
    choose from.
    """

    first: Tensor  # [prefixes + 1]: leaves first[p] to first[p + 1] - 1 are below prefix p
    parent: Tensor  # [leaves]: its prefix
    code: Tensor  # [leaves]: the token of its last code

    def __init__(self, codes: nn.Embedding, trie: Trie) -> None:
        super().__init__()
        self.weight = nn.Parameter(codes.weight.detach().clone())
        self.own = nn.Parameter(torch.empty(len(trie), codes.embedding_dim, device=codes.weight.device))
        nn.init.normal_(self.own, std=0.02)
        self.register_buffer("first", trie.levels[-2].child, persistent=False)
        self.register_buffer("parent", torch.repeat_interleave(trie.levels[-2].child.diff()), persistent=False)
        self.register_buffer("code", trie.levels[-1].token, persistent=False)
        self.widest = trie.levels[-2].widest

    @property
    def items(self) -> Tensor:
        """The items' vectors [leaves, d]."""
        return self.own + F.embedding(self.code, self.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        v = len(self.weight)
        leaves = (tokens - v).clamp(min=0)
        of_items = tokens >= v
        codes = F.embedding(torch.where(of_items, self.code[leaves], tokens), self.weight)
        return codes + F.embedding(leaves, self.own) * of_items[..., None]

    def loss(self, hidden: Tensor, wanted: Tensor, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of the leaves ``wanted`` [n], each among those below its own prefix, summed; ``hidden`` [n, d]
        are the states after the prefixes."""
        order = self.parent[wanted].argsort(stable=True)
        wanted = wanted[order]
        total: Tensor = _Siblings.apply(  # type: ignore[no-untyped-call]
            hidden[order], self.items, wanted - self.first[self.parent[wanted]], self.first, self.parent[wanted],
            smoothing,
        )  # fmt: skip
        return total

    @torch.inference_mode()
    def log_probabilities(self, hidden: Tensor, prefixes: Tensor) -> Tensor:
        """Of the leaves below each of n prefixes, from the states after them [n, d]: float32 [n, widest], and -inf
        where a prefix has fewer."""
        order = prefixes.argsort(stable=True)
        hidden, items = hidden[order], self.items
        out = torch.full((len(hidden), self.widest), -torch.inf, device=hidden.device)
        for rows, below in _groups(prefixes[order], self.first):
            out[rows, : below.stop - below.start] = (hidden[rows] @ items[below].T).float().log_softmax(1)
        return out[order.argsort()]


def _groups(prefixes: Tensor, first: Tensor) -> Iterator[tuple[slice, slice]]:
    """Of sorted prefixes [n]: the rows with the same prefix, and the leaves below it."""
    present, counts = torch.unique_consecutive(prefixes, return_counts=True)
    end = 0
    for count, start, stop in zip(counts.tolist(), first[present].tolist(), first[present + 1].tolist(), strict=True):
        yield slice(end, end + count), slice(start, stop)
        end += count


class _Siblings(torch.autograd.Function):
    """States [n, d] sorted by prefix, items [leaves, d], places of the wanted below their prefixes [n] -> summed loss.

    Prefixes differ in how many leaves they have: one small product each and no padding. The gradients are made on the
    way, while the probabilities are at hand.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, items: Tensor, place: Tensor, first: Tensor, prefixes: Tensor, smoothing: float
    ) -> Tensor:
        of_hidden, of_items = torch.empty_like(hidden), torch.zeros_like(items)
        total = hidden.new_zeros(())
        for rows, below in _groups(prefixes, first):
            states, vectors, right = hidden[rows], items[below], place[rows, None]
            logs = (states @ vectors.T).log_softmax(1)
            total -= (1 - smoothing) * logs.gather(1, right).sum() + smoothing * logs.mean(1).sum()
            slope = logs.exp() - smoothing / len(vectors)
            slope.scatter_add_(1, right, torch.full_like(right, smoothing - 1, dtype=slope.dtype))
            of_hidden[rows] = slope @ vectors
            of_items[below] = slope.T @ states
        ctx.save_for_backward(of_hidden, of_items)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_items = ctx.saved_tensors
        return gradients[0] * of_hidden, gradients[0] * of_items, None, None, None, None
