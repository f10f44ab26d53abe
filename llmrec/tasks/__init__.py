"""What can be asked of a method. This module holds the facts of each task and imports nothing heavy; how a task asks,
judges and stores stands in the module of its name, which all have the same six functions:

    answer(method, split, part)                ask a fitted method; raises MethodError for what is no answer
    validate(method, split)                    figures on the validation part, for early stopping and tuning
    measure(answers, split, items, embeddings) all figures of the answers, an `llmrec.evaluate.measure.Measures`
    write(answers, split, folder)              files in the card's canonical ids; returns the answers' fingerprints
    read(folder, split, rates)                 what `write` wrote, in the split's ids
    stored(folder)                             the fingerprints of what `write` wrote
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

CUTOFFS = (5, 10, 20)


def _at(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}@{k}" for name in names for k in CUTOFFS)


@dataclass(frozen=True)
class Task:
    """The facts of one task."""

    name: str
    asks: str
    verbs: tuple[str, ...]  # a method needs one of them
    protocols: tuple[str, ...]  # those that it can be asked under, its default first
    accuracy: tuple[str, ...]  # metrics that are means over units, with intervals and tests
    others: tuple[str, ...]  # metrics of a whole run
    shown: tuple[str, ...]  # the table's columns where a suite names none
    primary: str  # decides who is best, stops training, chooses baselines
    better: int  # 1: a higher primary metric is better; -1: a lower one
    unit: str  # what figures are paired over and intervals are taken over, in the plural
    pooled: bool  # its metrics are taken over all pairs at once, so they are no means over units
    units_file: str  # where the figures of each unit lie, beside the record
    words: str  # what its metrics are, for the foot of a page

    @property
    def metrics(self) -> tuple[str, ...]:
        """What ``metrics`` in a suite may name."""
        return (*self.accuracy, *self.others)

    @property
    def validation(self) -> str:
        """The primary metric on the validation part, as records name it."""
        return f"valid/{self.primary}"


TASKS = {
    task.name: task
    for task in (
        Task(
            "topn",
            "a user's held-out items, over the full catalogue",
            verbs=("score", "generate"),
            protocols=("leave-one-out", "temporal", "ratio", "random", "user-holdout", "official"),
            accuracy=_at("recall", "ndcg", "hit", "mrr", "map", "precision"),
            others=_at("coverage", "gini", "novelty", "diversity_text", "diversity_genre", "popularity", "tail"),
            shown=("recall@10", "ndcg@10", "coverage@10"),
            primary="ndcg@10",
            better=1,
            unit="users",
            pooled=False,
            units_file="users.parquet",  # follows from the ranks, which are committed
            words="recall@k = hits / relevant items; ndcg@k has binary gains and its ideal over min(relevant, k); hit@k"
            " = any hit; mrr@k = 1 / rank of the first hit within k. Ties in score count against a method. Users "
            "without a target are left out and counted.",
        ),
        Task(
            "impressions",
            "the order of the items that were shown",
            verbs=("rerank", "score"),
            protocols=("impressions",),
            accuracy=("auc", "mrr", "ndcg@5", "ndcg@10"),
            others=(),
            shown=("auc", "mrr", "ndcg@5", "ndcg@10"),
            primary="auc",
            better=1,
            unit="impressions",
            pooled=False,
            units_file="units.parquet",
            words="All metrics are taken within an impression and averaged over impressions, as in the MIND challenge. "
            "auc = share of the pairs of a clicked and another item in the right order, a tie counting one half; "
            "mrr = mean of 1 / rank over the clicked items; ndcg@k has binary gains. Ties count against the "
            "clicked item in mrr and ndcg. Impressions without a choice (all or nothing clicked) are left out and"
            " counted.",
        ),
        Task(
            "rating",
            "the rating that a user gives an item",
            verbs=("predict",),
            protocols=("official", "random", "temporal"),
            accuracy=("rmse", "mae"),
            others=("auc", "user_auc"),
            shown=("rmse", "mae", "auc", "user_auc"),
            primary="rmse",
            better=-1,
            unit="users",
            pooled=True,
            units_file="units.parquet",
            words="rmse, mae and auc are taken over all held-out ratings at once, in the units of the ratings; auc asks"
            " whether liked ratings are predicted higher than others, user_auc the same within each user. "
            "Predictions outside the scale are judged at its nearest end. Tests pair the users' own rmse.",
        ),
        Task(
            "request",
            "items for a request in words",
            verbs=("search",),
            protocols=("requests",),
            accuracy=_at("ndcg", "precision", "recall"),
            others=(),
            shown=("ndcg@10", "precision@10", "recall@10"),
            primary="ndcg@10",
            better=1,
            unit="requests",
            pooled=False,
            units_file="units.parquet",
            words="precision@k = hits / k; recall@k = hits / labelled items; ndcg@k has binary gains and its ideal over"
            " min(labelled, k); all averaged over requests. An item that nobody labelled is not proven to be "
            "irrelevant.",
        ),
    )
}


def implementation(task: str) -> Any:
    """The module of a task: answer, validate, measure, write, read."""
    return importlib.import_module(f"llmrec.tasks.{task}")
