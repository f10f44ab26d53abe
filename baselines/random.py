"""Random: what a list is worth that knows nothing.

score(u, i) = a uniform number in [0, 1) from a hash of (run seed, u, i): it does not depend on who else is asked. For a
request, a hash of its text stands for u.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.best import best
from llmrec.seeds import axis_seed, hash64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split, Users


@dataclass
class Random:
    """Recommends at random: the floor under every table."""

    family: ClassVar[str] = "non-personal"

    def fit(self, split: Split, ctx: Context) -> None:
        self.seed = ctx.seed_for("sampling")
        self.n_items = split.n_items
        self.candidates = np.flatnonzero(split.candidates).astype(np.int32)

    def score(self, users: Users) -> Floats:
        return uniform(hash64(self.seed, users.ids[:, None], np.arange(self.n_items)))

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        requests = np.array([axis_seed(self.seed, text) for text in texts])
        return best(uniform(hash64(self.seed, requests[:, None], self.candidates)), self.candidates, k)


def uniform(bits: np.ndarray) -> Floats:
    """Numbers in [0, 1) from 64 random bits each: the 53 that a float64 holds."""
    return (bits >> np.uint64(11)) * 2.0**-53
