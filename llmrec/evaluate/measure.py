"""From answers to figures: means over users, values per user, slices, and how many of everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from llmrec.evaluate.answers import Answers, answer
from llmrec.evaluate.lists import list_metrics
from llmrec.evaluate.metrics import per_user
from llmrec.evaluate.slices import slice_metrics
from llmrec.types import NO_ITEM, NOT_RANKED, Floats, Items, Split

VALIDATION_CUTOFFS = (10,)


@dataclass(frozen=True)
class Measures:
    """The figures of one run. What cannot be computed (no embeddings, no categories) is left out, never NaN."""

    metrics: dict[str, float]
    """Means over users: "ndcg@10" and the like, "coverage@10" and the like, and the rates of `generate`."""

    users: pl.DataFrame
    """user int32, targets int32, history int32 (items known when asked), then one float64 column an accuracy metric."""

    slices: dict[str, dict[str, float]]
    """"items:tail" -> {"ndcg@10": ..., "targets": ..., "users": ...}"""

    counts: dict[str, int]
    """users (with a target), users_without_target, targets, unranked_targets, empty_places (in lists of k)."""


def measure(answers: Answers, split: Split, items: Items, embeddings: Floats | None = None) -> Measures:
    """All figures of one run's answers. ``embeddings``: of item texts, [n_items, d], for the diversity of lists."""
    targets = answers.targets
    asked = targets.counts > 0  # users without a target are left out of every mean
    values = {name: value[asked] for name, value in per_user(answers.ranks, targets).items()}
    metrics = {name: float(value.mean()) for name, value in values.items()} if asked.any() else {}
    counts = {
        "users": int(asked.sum()),
        "users_without_target": int((~asked).sum()),
        "targets": len(answers.ranks),
        "unranked_targets": int((answers.ranks == NOT_RANKED).sum()),
    }
    if answers.topk is not None:
        metrics |= list_metrics(answers.topk, split, items.categories, embeddings)
        counts["empty_places"] = int((answers.topk.items == NO_ITEM).sum())
    users = pl.DataFrame(
        {
            "user": targets.users[asked],
            "targets": targets.counts[asked].astype(np.int32),
            "history": split.known(answers.part).histories.lengths[targets.users[asked]].astype(np.int32),
            **values,
        }
    )
    return Measures({**metrics, **answers.rates}, users, slice_metrics(answers, split), counts)


def validate(method: Any, split: Split) -> dict[str, float]:
    """Mean accuracy at 10 on the validation part, for early stopping: ranks only, no lists.

    {"recall@10": ..., "ndcg@10": ..., "hit@10": ..., "mrr@10": ..., "map@10": ..., "precision@10": ...}
    """
    answers = answer(method, split, "valid", k=max(VALIDATION_CUTOFFS), lists=False)
    values = per_user(answers.ranks, answers.targets, VALIDATION_CUTOFFS)
    asked = answers.targets.counts > 0
    return {name: float(value[asked].mean()) if asked.any() else 0.0 for name, value in values.items()}
