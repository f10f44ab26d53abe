"""Global mean: the same rating for every pair.

predict(u, i) = mean of the ratings that a method may fit on: what a rating prediction is worth that knows neither user
nor item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split


@dataclass
class GlobalMean:
    """Predicts the mean rating for every user and item."""

    family: ClassVar[str] = "non-personal"
    seeded: ClassVar[bool] = False

    def fit(self, split: Split, ctx: Context) -> None:
        self.mean = float(split.fit.frame["value"].mean())  # type: ignore[arg-type]

    def predict(self, users: Int32, items: Int32) -> Floats:
        return np.full(len(users), self.mean)
