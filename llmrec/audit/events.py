"""The events themselves: filters' effect, repeats, exact duplicates, drift of popularity."""

from __future__ import annotations

import numpy as np

from llmrec.audit.findings import Finding
from llmrec.data import Dataset

MOST_POPULAR = 100
"""Items whose overlap between two halves of the data is looked at."""


def event_findings(dataset: Dataset) -> list[Finding]:
    """Filters, repeats and drift."""
    frame = dataset.interactions.frame
    pairs = frame.select("user", "item").n_unique()
    findings = [
        *_filter_steps(dataset),
        Finding(
            "events", "repeated pairs of user and item", len(frame) - pairs, len(frame),
            why="a repeat is no new item: it trains, and is a target only where the protocol says so",
        ),
        Finding(
            "events", "exact duplicates (user, item, time)",
            len(frame) - frame.select("user", "item", "time", "value").n_unique() if _timed(dataset) else None,
            len(frame), why="a log that was written twice" if _timed(dataset) else "no times",
        ),
    ]  # fmt: skip
    return findings + _drift(dataset)


def _filter_steps(dataset: Dataset) -> list[Finding]:
    """What every filter left of users, items and interactions."""
    if dataset.steps is None:
        return []
    first = dataset.steps["interactions"][0]
    return [
        Finding("filters", step, interactions, first, why=f"left, with {users:,} users and {items:,} items")
        for step, users, items, interactions in dataset.steps.select("step", "users", "items", "interactions").rows()
    ]


def _drift(dataset: Dataset) -> list[Finding]:
    """How much popularity changes over time: the earlier half of all events against the later half."""
    if not _timed(dataset) or len(dataset.interactions) < 2:
        return []
    from scipy.stats import spearmanr

    ordered = dataset.interactions.frame.sort("time", "user", "item")["item"].to_numpy()
    middle, n_items = len(ordered) // 2, dataset.interactions.n_items
    early, late = (np.bincount(half, minlength=n_items) for half in (ordered[:middle], ordered[middle:]))
    there = early + late > 0
    kept = min(MOST_POPULAR, int(there.sum()))
    top = [set(np.argsort(-counts, kind="stable")[:kept].tolist()) for counts in (early, late)]
    return [
        Finding(
            "events", "popularity drift: rank correlation of the two halves in time",
            value=float(spearmanr(early[there], late[there]).statistic),
            why="1: the same items are popular early and late",
        ),
        Finding(
            "events", f"of the {kept} most popular items of the earlier half, still so in the later",
            len(top[0] & top[1]), kept, why="popularity that is counted once grows old",
        ),
    ]  # fmt: skip


def _timed(dataset: Dataset) -> bool:
    return dataset.card.time == "exact" and not dataset.interactions.frame["time"].null_count()
