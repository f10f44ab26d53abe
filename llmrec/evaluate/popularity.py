"""How popular an item is in what the methods fit on, and which items make up the head, the tail and the cold ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from llmrec.types import Int64, Split

HEAD_SHARE = 0.2
"""The head is this share of the items that occur in training, rounded up: the most popular ones."""


@dataclass(frozen=True)
class Popularity:
    """Interactions per item in ``split.fit``, and the sets of items that follow from them."""

    counts: Int64  # [n_items]
    priority: Int64  # [n_items]: which of two equally popular items is the more popular one; smaller wins

    @classmethod
    def of(cls, split: Split) -> Popularity:
        return cls(np.bincount(split.fit.item, minlength=split.n_items), split.item_order.astype(np.int64))

    @cached_property
    def head(self) -> npt.NDArray[np.bool_]:
        """The most popular fifth of the items that occur in training, bool [n_items]. All others are the tail."""
        known = int((self.counts > 0).sum())
        best = np.lexsort((self.priority, -self.counts))[: math.ceil(HEAD_SHARE * known)]
        head = np.zeros(len(self.counts), bool)
        head[best] = True
        return head

    @property
    def cold(self) -> npt.NDArray[np.bool_]:
        """Items that never occur in training, bool [n_items]; a part of the tail."""
        return np.asarray(self.counts == 0)

    @property
    def information(self) -> npt.NDArray[np.float64]:
        """Self-information in bits, -log2(the item's share of all training interactions), float64 [n_items].

        An item that never occurs counts as if it had once.
        """
        return np.asarray(-np.log2(np.maximum(self.counts, 1) / max(1, self.counts.sum())))
