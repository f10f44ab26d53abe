"""The first stage of a reranker: whatever lists some items for users or requests, and what it misses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.best import best
from llmrec.errors import UserError
from llmrec.parts import scores_of
from llmrec.types import NO_ITEM, Generated, Users

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Int32, Split

AT_ONCE = 256
"""Users asked for at a time."""


@dataclass(frozen=True)
class FirstStage:
    """A fitted method that lists ``k`` items; what it does not list is out of reach."""

    method: Any
    k: int
    split: Split

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"first_stage: k = {self.k}, expected a whole number from 1.")

    def lists(self, users: Users, exclude: bool = True) -> Int32:
        """Its k best candidates for each user, best first, NO_ITEM at the end of a short list: int32 [b, k]."""
        found = np.full((len(users), self.k), NO_ITEM, np.int32)
        by_priority = np.argsort(self.split.item_order, kind="stable").astype(np.int32)  # ties as in a run's lists
        by_priority = by_priority[self.split.candidates[by_priority]]
        for start in range(0, len(users), AT_ONCE):
            rows = np.arange(start, min(start + AT_ONCE, len(users)))
            some = Users(users.ids[rows], users.histories.take(rows))
            if not callable(getattr(self.method, "score", None)):
                given = np.asarray(self.method.generate(some, self.k, exclude).items)
                found[rows, : given.shape[1]] = given
                continue
            scores = scores_of(self.method, some)
            if exclude:
                scores[some.histories.rows, some.histories.items] = -np.inf
            found[rows] = best(scores[:, by_priority], by_priority, self.k)[0]
        return found

    def found(self, texts: Sequence[str]) -> Int32:
        """Its k best items for each request, [n, k]."""
        items, _ = self.method.search(list(texts), self.k)
        out = np.full((len(texts), self.k), NO_ITEM, np.int32)
        out[:, : items.shape[1]] = items
        return out

    def ceiling(self, split: Split) -> dict[str, int]:
        """How many of the validation targets it lists, of how many: no order of its lists can reach more."""
        if split.requests:
            asked = split.requests["valid"]
            listed, owners, wanted = self.found(asked.texts), asked.relevant.rows, asked.relevant.items
        else:
            targets = split.targets("valid")
            users = Users(targets.users, split.known("valid").histories.take(targets.users))
            listed = self.lists(users, split.mask_history)
            owners, wanted = np.repeat(np.arange(len(targets)), targets.counts), targets.items
        hits = (listed[owners] == wanted[:, None]).any(axis=1)
        return {"first_stage_k": self.k, "first_stage_targets": len(hits), "first_stage_found": int(hits.sum())}


def on_some_users(
    whole: Callable[[Any], dict[str, float]], split: Split, ctx: Context, most: int
) -> Callable[[Any], dict[str, float]]:
    """The validation ``whole`` of a reranker on some of its users, drawn once, missed targets included: scoring pairs
    for all would take longer than training. ``most``: users (0: all)."""
    targets = split.targets("valid")
    asked = targets.users[targets.counts > 0]
    if not 0 < most < len(asked):
        return whole
    chosen = asked[np.sort(ctx.rng("validation").permutation(len(asked))[:most])]

    def validate(method: Any) -> dict[str, float]:
        means = whole(_AsksSome(method, chosen))  # over all users, of whom those who were not asked have zeros
        return {name: mean * len(asked) / most for name, mean in means.items()}

    return validate


@dataclass(frozen=True)
class _AsksSome:
    """Has lists of a reranker for the chosen users and empty ones for the others."""

    method: Any
    chosen: Int32  # ids of users

    def generate(self, users: Users, k: int, exclude: bool) -> Generated:
        rows = np.flatnonzero(np.isin(users.ids, self.chosen))
        items, scores = np.full((len(users), k), NO_ITEM, np.int32), np.full((len(users), k), -np.inf, np.float32)
        none = np.zeros(len(users), np.int32)
        if len(rows):
            made = self.method.generate(Users(users.ids[rows], users.histories.take(rows)), k, exclude)
            width = made.items.shape[1]
            items[rows, :width], scores[rows, :width] = made.items, made.scores
        return Generated(items, scores, none, none, none, (items != NO_ITEM).sum(1).astype(np.int32))


def sampled_rmse(split: Split, ctx: Context, most: int) -> Callable[[Any], dict[str, float]]:
    """A validation of ``rating`` on some of the held-out ratings, drawn once; predictions end at the scale's ends."""
    frame = split.valid.frame
    chosen = np.arange(len(frame))
    if most and most < len(frame):
        chosen = np.sort(ctx.rng("validation").permutation(len(frame))[:most])
    users, items = frame["user"].to_numpy()[chosen], frame["item"].to_numpy()[chosen]
    given = frame["value"].to_numpy()[chosen].astype(np.float64)

    def validate(method: Any) -> dict[str, float]:
        predicted = np.asarray(method.predict(users, items), np.float64)
        predicted = predicted if split.scale is None else np.clip(predicted, *split.scale)
        return {"rmse": float(np.sqrt(np.mean((predicted - given) ** 2)))}

    return validate
