"""The catalogue as a flat trie: which token may follow which prefix, in arrays, level by level.

The ids are sorted, so that the nodes of a level, the children of a node and the items below a node are each one
contiguous range. A million ids of four tokens are built in about a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmrec.types import Int32


@dataclass(frozen=True)
class Level:
    """All prefixes of one length, in sorted order."""

    token: Tensor  # [nodes] last token of the prefix
    child: Tensor  # [nodes + 1] children of node j: nodes child[j] to child[j + 1] of the next level
    leaf: Tensor  # [nodes + 1] leaves below node j: leaf[j] to leaf[j + 1]
    widest: int  # most children that a node has


@dataclass(frozen=True)
class Trie:
    """``levels[0]`` is the root alone; the nodes of ``levels[-1]`` are the leaves, and leaf j is item ``items[j]``."""

    levels: list[Level]  # length of an id + 1
    items: Tensor  # [leaves] int64
    leaf_of: npt.NDArray[np.int64]  # [n_items + 1]: an item's leaf, or the number of leaves for an item without one

    @property
    def depth(self) -> int:
        """Tokens an id."""
        return len(self.levels) - 1

    def __len__(self) -> int:
        return len(self.items)

    def excluded(self, items: Int32) -> Tensor:
        """Leaves of each user's excluded items [b, e] (NO_ITEM where a row is short), ascending, without repetition,
        filled up with the number of leaves: what a search takes."""
        leaves = np.sort(self.leaf_of[items], axis=1)
        leaves[:, 1:][leaves[:, 1:] == leaves[:, :-1]] = len(self)
        return torch.from_numpy(np.sort(leaves, axis=1)).to(self.items.device)


def build_trie(ids: Int32, candidates: npt.NDArray[np.bool_] | None = None, device: str | torch.device = "cpu") -> Trie:
    """The trie of the items' ids [n_items, tokens per id], of the candidates alone where they are given [n_items].

    Raises:
        ValueError: two items have the same id, or there are none.
    """
    items = np.arange(len(ids)) if candidates is None else np.flatnonzero(candidates)
    n_items, ids = len(ids), ids[items]
    n, depth = ids.shape
    if n == 0:
        raise ValueError("a trie needs at least one item")
    order = np.lexsort(ids.T[::-1])  # by the first token, then the second, ...
    ids = ids[order]
    # [n, depth]: leaf j begins a new prefix of length l + 1; once a prefix is new, so are all longer ones
    begins = np.ones((n, depth), bool)
    begins[1:] = np.logical_or.accumulate(ids[1:] != ids[:-1], axis=1)
    if not begins[:, -1].all():
        twin = int(np.flatnonzero(~begins[:, -1])[0])
        pair = items[order[twin - 1]], items[order[twin]]
        raise ValueError(f"items {pair[0]} and {pair[1]} have the same id {ids[twin].tolist()}")
    leaves = [np.array([0, n]), *(np.append(np.flatnonzero(begins[:, level]), n) for level in range(depth))]
    levels = []
    for level, leaf in enumerate(leaves):
        token = ids[leaf[:-1], level - 1] if level else np.zeros(1, ids.dtype)
        child = np.searchsorted(leaves[level + 1], leaf) if level < depth else np.zeros(len(leaf), np.int64)
        at, below, under = (torch.from_numpy(a.astype(np.int64)).to(device) for a in (token, child, leaf))
        levels.append(Level(at, below, under, widest=int(np.diff(child).max())))
    leaf_of = np.full(n_items + 1, n, np.int64)  # the last place stands for NO_ITEM = -1
    leaf_of[items[order]] = np.arange(n)
    return Trie(levels, torch.from_numpy(items[order].astype(np.int64)).to(device), leaf_of)
