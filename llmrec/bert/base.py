"""Where a pair scorer starts: the scores of a method that needs no clicks, to which the encoder adds its correction.

A fresh output on a sentence encoder begins with scores that mean nothing, and a few thousand noisy clicks do not lead
it back to what the texts' similarity said from the beginning. Added to a base, it begins there. The base's one weight
is that under which the training groups are most probable, and it stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.parts import fit_part, read_part, scores_of
from llmrec.types import Users

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Int64, Split

AT_ONCE = 256
"""Users asked for at a time."""


@dataclass
class Base:
    """A fitted method, and the weight of its scores."""

    method: Any
    weight: float = 1.0

    @classmethod
    def of(cls, spec: dict[str, Any], where: str, split: Split, ctx: Context) -> Base:
        """The base that a parameter names, fitted.

        Raises:
            UserError: no such method or parameter, or a method without scores.
        """
        return cls(fit_part(read_part(spec, where, ("score",)), "base", split, ctx))

    def __call__(self, users: Users, rows: Int64, items: Int32) -> Floats:
        """The weighted scores of (``users[rows[j]]``, ``items[j]``), float32 [len(items)]; rows ascend."""
        out = np.empty(len(items), np.float32)
        for start in range(0, len(users), AT_ONCE):
            some = np.arange(start, min(start + AT_ONCE, len(users)))
            begin, end = np.searchsorted(rows, [start, start + AT_ONCE])
            scores = scores_of(self.method, Users(users.ids[some], users.histories.take(some)))
            out[begin:end] = scores[rows[begin:end] - start, items[begin:end]]
        return np.float32(self.weight) * out


def best_weight(scores: Floats, m: int) -> float:
    """The weight from 0 under which the first of each ``m`` scores [g * m] is most probable (softmax over the group).

    A convex problem of one number; scores that tell nothing apart have the weight 0.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    apart = scores.reshape(-1, m).astype(np.float64)
    apart = apart - apart[:, :1]
    spread = float(apart.std())
    if not spread:
        return 0.0

    def loss(weight: float) -> float:
        return float(logsumexp(weight * apart / spread, axis=1).mean())

    found = float(minimize_scalar(loss, bounds=(0.0, 20.0), method="bounded").x)
    return found / spread if loss(found) < loss(0.0) else 0.0
