"""What can be asked of a method. This module holds the facts of each task and imports nothing heavy; how a task asks,
judges and stores stands in the module of its name, which all have the same five functions:

    answer(method, split, part)                ask a fitted method; raises MethodError for what is no answer
    validate(method, split)                    figures on the validation part, for early stopping and tuning
    measure(answers, split, items, embeddings) all figures of the answers, an `llmrec.evaluate.measure.Measures`
    write(answers, split, folder)              files in the card's canonical ids; returns the answers' fingerprints
    read(folder, split, rates)                 what `write` wrote, in the split's ids
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
        ),
    )
}


def implementation(task: str) -> Any:
    """The module of a task: answer, validate, measure, write, read."""
    return importlib.import_module(f"llmrec.tasks.{task}")
