"""A masked model of histories whose items are ids of one or more tokens, and the score of every id it can fill in.

A place of a history holds an item, whose vector is the sum of its tokens' vectors; a hidden item's is the sum of the
levels' masks. With one token an item this is BERT4Rec (Sun et al., CIKM 2019; baselines/bert4rec.py, layer for layer).

With several, the tokens of a hidden item are guessed in steps, those before being filled in: masked language modelling
of the id, and mask-predict (Ghazvininejad et al., EMNLP 2019) when it answers, one token a step from the coarsest on,
in place of the surest first. What is filled in enters at its place before the last layer, which reads the history anew;
the layers below, and what other places see, know the place as hidden. So the history is read once for all ids, every
prefix of an id costs one place of one layer, and the score of every item is exact.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmrec.gpt.trie import Trie
from llmrec.sequence.layers import Dropout, ItemEmbedding, initialise
from llmrec.types import NO_ITEM, Bools, Int32, Int64


class Block(nn.Module):
    """One pre-norm layer: places look at the history from both sides, then a feed-forward net; each is added to x."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, history: Tensor, there: Tensor) -> Tensor:
        """x [b, m, d] and what it looks at, [b, t, d] -> [b, m, d]; ``there`` bool [b, t] is False at padding."""
        made = self.query_key_value(self.norm_1(history)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = made  # [b, heads, t, d / heads]
        if x is not history:
            query = self._query(self.norm_1(x))
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None])
        x = x + self.dropout(self.mix(seen.transpose(1, 2).flatten(2)))
        return cast(Tensor, x + self.dropout(self.down(F.gelu(self.up(self.norm_2(x))))))

    def _query(self, normed: Tensor) -> Tensor:
        d = normed.shape[2]
        made = F.linear(normed, self.query_key_value.weight[:d], self.query_key_value.bias[:d])
        return cast(Tensor, made.unflatten(2, (self.heads, -1)).transpose(1, 2))


class MaskedIds(nn.Module):
    """Histories with hidden items -> what fills the hidden places, token by token."""

    def __init__(self, ids: Int32, length: int, width: int, layers: int, heads: int, dropout: float):
        """``ids`` [n_items, levels]: the items' codes, each level's from 0."""
        super().__init__()
        sizes = [int(level.max()) + 1 for level in ids.T]
        self.levels = nn.ModuleList(ItemEmbedding(size, width) for size in sizes)  # the last row of each is its mask
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm, self.dropout = nn.LayerNorm(width), Dropout(dropout)
        self.guess = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        if len(sizes) > 1:  # as loud as what the layers below say of a place, or it would go unheard
            self.tell = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        initialise(self)
        self.codes: Tensor  # [n_items + 1, levels]; the last row is the hidden item
        self.register_buffer("codes", torch.from_numpy(np.vstack([ids, sizes]).astype(np.int64)), persistent=False)

    def catalogue(self, level: int) -> Tensor:
        """The vectors of a level's tokens, which are also its output layer [codes, d]."""
        return cast(ItemEmbedding, self.levels[level]).catalogue

    def vectors(self, ids: Tensor) -> Tensor:
        """Items' vectors [..., d], the sums of their tokens'; id n_items is the hidden item."""
        made = self.levels[0](self.codes[ids, 0])
        for level, tokens in enumerate(list(self.levels)[1:], 1):
            made = made + tokens(self.codes[ids, level])
        return cast(Tensor, made)

    def filled(self, codes: Tensor, told: int) -> Tensor:
        """What the first ``told`` (at least 1) of an id's tokens add at its place: codes [..., levels] -> [..., d]."""
        known = [cast(Tensor, self.levels[level](codes[..., level])) for level in range(told)]
        return cast(Tensor, self.tell(torch.stack(known).sum(0)))

    def with_told(self, history: Tensor, at: Tensor, codes: Tensor, told: int) -> Tensor:
        """Places [b, t, d] of which those ``at`` [n] (counted through) are told the first tokens of ``codes``
        [n, levels]."""
        if not told:
            return history
        return history.flatten(0, 1).index_add(0, at, self.filled(codes, told)).view_as(history)

    def read(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Histories [b, t], padded with -1 on either side -> what the last layer looks at [b, t, d], and bool [b, t]:
        which places are no padding. Places are counted from the end."""
        there = ids >= 0
        from_end = (there.flip(1).cumsum(1).flip(1) - 1).clamp(min=0)
        x = self.dropout(self.vectors(ids.clamp(min=0)) + self.positions(from_end))
        for block in list(self.blocks)[:-1]:
            x = block(x, x, there)
        return x, there

    def last(self, x: Tensor, history: Tensor, there: Tensor) -> Tensor:
        """The last layer at some places x [b, m, d], and the norm behind it."""
        return cast(Tensor, self.norm(self.blocks[-1](x, history, there)))


def places_to_hide(
    items: Int64, share: float, last_only: float, rng: np.random.Generator, asked: Bools | bool = False
) -> Tensor:
    """Which items of windows [b, t], padded on the right with -1, are hidden: bool [b, t], at least one of each.

    Each with probability ``share``; of a share ``last_only`` of the windows, and of those that are ``asked`` [b], the
    last item and no other.
    """
    there = items != NO_ITEM
    drawn = there & (rng.random(items.shape) < share)
    alone = (rng.random((len(items), 1)) < last_only) | ~drawn.any(axis=1, keepdims=True) | np.reshape(asked, (-1, 1))
    newest = there & ~np.roll(np.pad(there, ((0, 0), (0, 1))), -1, axis=1)[:, :-1]
    return torch.from_numpy(np.where(alone, newest, drawn))


@torch.inference_mode()
def score_ids(model: MaskedIds, trie: Trie, ids: Tensor, beams: int = 0) -> Tensor:
    """The log-probability of every item at each history's last place, float32 [b, n_items].

    Args:
        trie: of all items' codes.
        ids: histories [b, t] with the hidden item (n_items) last, padded on the left with -1.
        beams: the best prefixes of each length that are filled in and guessed on from; 0: all of them. An id whose
            prefix is none of them is guessed from as much of it as was filled in, as if its other tokens did not depend
            on one another.
    """
    history, there = model.read(ids)
    hidden = history[:, -1:]
    states = hidden  # [b, states, d], one for each prefix that was filled in; at first the empty one
    scores = torch.zeros(len(ids), 1, device=ids.device)  # [b, nodes]
    reader = torch.zeros(len(ids), 1, dtype=torch.long, device=ids.device)  # [b, nodes]: the state that guesses on
    prefixes = torch.zeros(1, len(model.levels), dtype=torch.long, device=ids.device)  # [nodes, levels]
    guesses = model.guess(model.last(states, history, there))
    for depth in range(trie.depth):
        below = trie.levels[depth + 1]
        parents = torch.repeat_interleave(trie.levels[depth].child.diff())  # [nodes below]
        catalogue = model.catalogue(depth)
        told = F.log_softmax(guesses @ catalogue.T, dim=2)  # [b, states, codes]
        scores = scores[:, parents] + told.flatten(1).gather(1, reader[:, parents] * len(catalogue) + below.token)
        reader = reader[:, parents]
        prefixes = prefixes[parents]
        prefixes[:, depth] = below.token
        if depth + 1 == trie.depth:
            break
        nodes = len(below.token)
        chosen = scores.topk(beams, dim=1).indices if 0 < beams < nodes else torch.arange(nodes, device=ids.device)
        change = model.filled(prefixes[chosen], depth + 1)  # [b, m, d] or, for all, [m, d]
        new = model.guess(model.last(hidden + change, history, there))
        if 0 < beams < nodes:
            at = guesses.shape[1] + torch.arange(beams, device=ids.device)
            reader = reader.scatter(1, chosen, at.expand(len(ids), -1))
            guesses = torch.cat([guesses, new], 1)
        else:
            guesses, reader = new, torch.arange(nodes, device=ids.device).expand(len(ids), -1)
    out = torch.empty_like(scores)
    out[:, trie.items] = scores
    return out
