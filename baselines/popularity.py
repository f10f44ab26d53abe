"""Popularity: the same list for everybody, whoever asks and whatever for.

score(u, i) = number of events with item i among the data that a method may fit on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.best import best

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split, Users


@dataclass
class Popularity:
    """Recommends what most people took."""

    family: ClassVar[str] = "non-personal"
    seeded: ClassVar[bool] = False

    def fit(self, split: Split, ctx: Context) -> None:
        self.counts = np.bincount(split.fit.item, minlength=split.n_items).astype(np.float64)  # [n_items]
        self.candidates = np.flatnonzero(split.candidates).astype(np.int32)

    def score(self, users: Users) -> Floats:
        return np.tile(self.counts, (len(users), 1))

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        items, scores = best(self.counts[None, self.candidates], self.candidates, k)
        return np.tile(items, (len(texts), 1)), np.tile(scores, (len(texts), 1))
