"""The first stage of a reranker: whatever lists some items for users or requests, and what it misses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.best import best
from llmrec.errors import UserError
from llmrec.types import NO_ITEM, Users

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
            scores = self.method.score(some)
            scores = np.array(scores.toarray() if hasattr(scores, "toarray") else scores, dtype=np.float64)
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


def sampled_ndcg(stage: FirstStage, split: Split, ctx: Context, most: int) -> Callable[[Any], dict[str, float]]:
    """A validation of ``topn`` on some users, drawn once: scoring pairs for all would take longer than training.
    ndcg@10 and recall@10 of the reranked lists, missed targets included."""
    targets = split.targets("valid")
    chosen = np.arange(len(targets))
    if most and most < len(targets):
        chosen = np.sort(ctx.rng("validation").permutation(len(targets))[:most])
    users = Users(targets.users[chosen], split.known("valid").histories.take(targets.users[chosen]))
    wanted = [targets.items[targets.indptr[row] : targets.indptr[row + 1]] for row in chosen]
    discount = 1 / np.log2(np.arange(2, 12))

    def validate(method: Any) -> dict[str, float]:
        items = method.generate(users, 10, split.mask_history).items
        ndcg, recall = [], []
        for row, relevant in zip(items, wanted, strict=True):
            hits = np.isin(row, relevant)
            ndcg.append(float(discount[: len(row)][hits].sum() / discount[: len(relevant)].sum()))
            recall.append(float(hits.sum() / len(relevant)))
        return {"ndcg@10": float(np.mean(ndcg or [0.0])), "recall@10": float(np.mean(recall or [0.0]))}

    return validate


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
