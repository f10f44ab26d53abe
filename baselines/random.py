"""Random: what a list is worth that knows nothing.

score(u, i) = a uniform number in [0, 1) from a hash of (run seed, u, i): it does not depend on who else is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from llmrec.seeds import hash64

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users


@dataclass
class Random:
    """Recommends at random: the floor under every table."""

    family: ClassVar[str] = "non-personal"

    def fit(self, split: Split, ctx: Context) -> None:
        self.seed = ctx.seed_for("sampling")
        self.n_items = split.n_items

    def score(self, users: Users) -> Floats:
        bits = hash64(self.seed, users.ids[:, None], np.arange(self.n_items))
        return (bits >> np.uint64(11)) * 2.0**-53  # the 53 bits that a float64 holds
