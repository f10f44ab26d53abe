"""A control: another method, trained as it always is and then given the histories of other people.

Whatever a method knows of a user, it knows from the history. With somebody else's it can only know what is popular:
what it keeps above `popularity` would come from elsewhere, from a user's id, say, or from the target. Each user is
dealt another user's history of the training data, by one seeded cycle through all users who have one; the items of
the user's own history are left out, as always.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmrec.best import best
from llmrec.parts import fit_part, read_part, scores_of
from llmrec.types import NO_ITEM, Generated, Users

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split


@dataclass
class ShuffledHistory:
    """A method that is asked with other people's histories: a control, which must fall to popularity."""

    family: ClassVar[str] = "non-personal"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {"of": {"method": "ease"}}

    of: dict[str, Any] = field(default_factory=lambda: {"method": "sasrec"})

    def __post_init__(self) -> None:
        self.part = read_part(self.of, "shuffled-history: parameter 'of'", ("score", "generate"))

    def fit(self, split: Split, ctx: Context) -> None:
        """Fit the part, which validates with everybody's own history, and deal the histories out."""
        self.fitted = fit_part(self.part, "of", split, ctx)
        ctx.chosen_epochs = ctx.counts.get("of_epochs", 1)
        self.histories = split.fit.histories
        cycle = ctx.rng("donors").permutation(np.flatnonzero(self.histories.lengths))
        self.donors = cycle[np.arange(split.n_users) % len(cycle)]  # of users without a history, anybody
        self.donors[cycle] = np.roll(cycle, 1)
        order = np.argsort(split.item_order)  # equal scores stand in this order
        self.items = order[split.candidates[order]].astype(np.int32)

    def generate(self, users: Users, k: int, exclude: bool) -> Generated:
        own = users.histories
        others = Users(users.ids, self.histories.take(self.donors[users.ids]))
        if callable(getattr(self.fitted, "generate", None)):
            more = int(own.lengths.max(initial=0)) if exclude else 0
            wrote = self.fitted.generate(others, k + more, False)
            items, scores = wrote.items, wrote.scores
            kept = items != NO_ITEM
            if exclude:
                width = int(own.lengths.max(initial=0))
                kept &= ~(items[:, :, None] == own.last(width, NO_ITEM - 1)[:, None]).any(2)
            return _first(items, scores, kept, k)
        scores = scores_of(self.fitted, others)
        if exclude:
            scores[own.rows, own.items] = -np.inf
        items, values = best(scores[:, self.items].astype(np.float32), self.items, k)
        return _first(items, values, items != NO_ITEM, k)


def _first(items: Int32, scores: Floats, kept: np.ndarray[Any, np.dtype[np.bool_]], k: int) -> Generated:
    """The first k kept places of each list [b, n], and nothing said of what was thrown away."""
    order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(kept, order, 1)
    items = np.where(kept, np.take_along_axis(items, order, 1), NO_ITEM).astype(np.int32)
    scores = np.where(kept, np.take_along_axis(scores, order, 1), -np.inf).astype(np.float32)
    none = np.zeros(len(items), np.int32)
    return Generated(items, scores, none, none, none, kept.sum(1).astype(np.int32))
