"""What the explorer shows where ratings are asked for: a user's held-out ratings, and what each method predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmrec.types import NO_ITEM, Floats, Histories, Int32


@dataclass(frozen=True)
class Predicted:
    """A method's predictions for the users of one fold, each user's highest first."""

    items: Int32  # [users, shown], NO_ITEM where there is none
    values: Floats  # [users, shown], 0 where there is none
    off: Floats  # [users]: root of the mean squared error over all ratings of a user


def held_out(users: Int32, items: Int32, given: Floats, n_items: int) -> tuple[Int32, Histories, list[list[float]]]:
    """The users [n] who have held-out ratings, each with the items and the ratings given, the best liked first.

    ``users`` [ratings] ascend.
    """
    who, counts = np.unique(users, return_counts=True)
    order = np.lexsort((items, -given, users))
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ratings = given[order].tolist()
    parts = [ratings[start:end] for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
    return who.astype(np.int32), Histories(ends, items[order], n_items), parts


def highest(users: Int32, items: Int32, given: Floats, predicted: Floats, shown: int) -> Predicted:
    """The ``shown`` ratings that a method predicts highest for each user; all arrays [ratings], ``users`` ascend."""
    _, rows = np.unique(users, return_inverse=True)
    n = int(rows.max(initial=-1)) + 1
    order = np.lexsort((items, -predicted, rows))
    first = np.searchsorted(rows, np.arange(n))
    place = np.arange(len(rows)) - first[rows]
    kept = place < shown
    lists, values = np.full((n, shown), NO_ITEM, np.int32), np.zeros((n, shown))
    lists[rows[kept], place[kept]] = items[order][kept]
    values[rows[kept], place[kept]] = predicted[order][kept]
    errors = np.bincount(rows, (given - predicted) ** 2, n) / np.maximum(np.bincount(rows, minlength=n), 1)
    return Predicted(lists, values, np.sqrt(errors))
