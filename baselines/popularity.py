"""Popularity: the same list for everybody.

score(u, i) = number of events with item i among the data that a method may fit on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users


@dataclass
class Popularity:
    """Recommends what most people took."""

    family: ClassVar[str] = "non-personal"
    seeded: ClassVar[bool] = False

    def fit(self, split: Split, ctx: Context) -> None:
        self.counts = np.bincount(split.fit.item, minlength=split.n_items).astype(np.float64)  # [n_items]

    def score(self, users: Users) -> Floats:
        return np.tile(self.counts, (len(users), 1))
