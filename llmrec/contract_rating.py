"""What every method that predicts ratings must hold: checks of `llmrec.contract`'s kind, over a board of ratings.

The board: users differ in how high they rate, items in how high they are rated, and each user likes the items of one
kind (even or odd, as their texts say) better than those of the other. Whoever learns any of it beats the mean.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, ClassVar

import numpy as np

from llmrec import toy
from llmrec.contract import (
    Check,
    documented,
    fits_on_everything,
    no_global_random_state,
    no_peeking,
    same_seed_same_answer,
    the_word_seeded,
)
from llmrec.errors import MethodError
from llmrec.records import TaskName
from llmrec.subject import Broken, NotApplicable, Said, Subject
from llmrec.tasks import rating
from llmrec.types import Floats, Int32, Split

USERS, ITEMS = 40, 30
"""Users and items of the board; the last of each has no rating that may be learnt from."""

TOLERANCE = 1e-5
"""Predictions may move by this much, relative to the largest of them, with the size and the order of the batch."""

LEARNT = 0.95
"""A personal method's error on held-out ratings, at most, as a share of the mean's. Learning one of the three alone
comes to 0.88 or less."""


@cache
def board() -> Split:
    """Ratings from 1 to 5 of 40 users and 30 items: 588 train, 126 validate, 130 test, strangers' included."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS - 1):
        for item in range(ITEMS - 1):
            value = 3 + 0.8 * (user // 2 % 3 - 1) + 0.8 * (item // 2 % 3 - 1) + (0.8 if user % 2 == item % 2 else -0.8)
            value += rng.normal(0, 0.3)
            if rng.random() < 0.75:
                rows.append((user, item, float(np.clip(np.rint(value), 1, 5))))
    rng.shuffle(rows)
    train, valid = int(0.7 * len(rows)), int(0.85 * len(rows))
    strangers = [(USERS - 1, 3, 4.0), (5, ITEMS - 1, 2.0), (USERS - 1, ITEMS - 1, 3.0)]
    return toy.rated(rows[:train], rows[train:valid], [*rows[valid:], *strangers], USERS, ITEMS)


def other_test_ratings(split: Split) -> Split:
    """The same split with other, higher test ratings: a prediction that changes with them has looked at the test."""
    rng = np.random.default_rng(1)
    rows = [(user, int(rng.integers(split.n_items)), float(rng.integers(4, 6))) for user in range(split.n_users)]
    return dataclasses.replace(split, test=toy.rated([], [], rows, split.n_users, split.n_items).test)


class RatingSubject(Subject):
    """A method under examination that predicts ratings: fitted on the board of ratings, asked for all of its pairs."""

    task: ClassVar[TaskName] = "rating"

    def board(self) -> Split:
        return board()

    def other_board(self) -> Split:
        return other_test_ratings(board())

    def said(self, method: Any) -> Said:
        return None, np.asarray(method.predict(*pairs()))


def pairs() -> tuple[Int32, Int32]:
    """Every user with every item, user by user: users and items, each int32 [1200]."""
    users, items = np.mgrid[:USERS, :ITEMS].astype(np.int32)
    return users.reshape(-1), items.reshape(-1)


def shape_and_range(subject: Subject) -> None:
    """One finite number a pair, none for no pair."""
    _, predicted = subject.said(subject.fitted())
    if predicted.shape != (USERS * ITEMS,):
        raise Broken(f"predict() gave shape {predicted.shape} for {USERS * ITEMS} pairs, expected {(USERS * ITEMS,)}")
    if bad := int((~np.isfinite(predicted)).sum()):
        raise Broken(f"predict() gave {bad} numbers that are not finite")
    nothing = np.asarray(subject.fitted().predict(np.zeros(0, np.int32), np.zeros(0, np.int32)))
    if nothing.shape != (0,):
        raise Broken(f"predict() gave shape {nothing.shape} for no pairs, expected (0,)")


def units_of_the_ratings(subject: Subject) -> None:
    """Predictions are ratings, not scores: their middle half lies on the scale."""
    scale = subject.board().scale
    assert scale is not None
    low, high = np.quantile(subject.said(subject.fitted())[1], [0.25, 0.75])
    if low < scale[0] or high > scale[1]:
        raise Broken(
            f"ratings go from {scale[0]:g} to {scale[1]:g}, but half of the predictions lie between {low:.2g} and "
            f"{high:.2g}: answer in the units of split.fit's values"
        )


def better_than_the_mean(subject: Subject) -> None:
    """Some users rate higher, some items are rated higher, one kind is liked: it errs less than the mean does."""
    if subject.family == "non-personal":
        raise NotApplicable("a non-personal method gives everyone the same")
    split = subject.board()
    mean = float(np.mean(split.fit.frame["value"].to_numpy()))
    try:
        own = rating.measure(rating.answer(subject.fitted(), split, "test"), split, toy.items(ITEMS)).metrics["rmse"]
    except MethodError as error:
        raise Broken(str(error)) from error
    plain = rating.measure(rating.answer(_Mean(mean), split, "test"), split, toy.items(ITEMS)).metrics["rmse"]
    if own > LEARNT * plain:
        raise Broken(f"rmse {own:.3f} on held-out ratings; the mean rating comes to {plain:.3f}")


@dataclasses.dataclass
class _Mean:
    value: float

    def predict(self, users: Int32, items: Int32) -> Floats:
        return np.full(len(users), self.value)


def user_without_ratings(subject: Subject) -> None:
    """A user of whom nothing is known gets a rating (which one is the method's choice)."""
    _answered(subject, np.full(ITEMS, USERS - 1, np.int32), np.arange(ITEMS, dtype=np.int32), "a user without ratings")


def item_without_ratings(subject: Subject) -> None:
    """An item that nobody rated gets a rating."""
    _answered(subject, np.arange(USERS, dtype=np.int32), np.full(USERS, ITEMS - 1, np.int32), "an item without ratings")


def _answered(subject: Subject, users: Int32, items: Int32, who: str) -> None:
    predicted = np.asarray(subject.fitted().predict(users, items))
    if predicted.shape != users.shape or not np.isfinite(predicted).all():
        raise Broken(f"{who}: predict() gave {predicted.tolist()}")


def batch_size(subject: Subject) -> None:
    """One by one, in sevens or all at once, in any order: predictions move by less than 1e-5."""
    method, (users, items) = subject.fitted(), pairs()
    _, whole = subject.said(method)
    order = np.random.default_rng(2).permutation(len(users))
    for size, some in ((len(users), order), (7, order[:350]), (1, order[:50])):
        batches = [some[start : start + size] for start in range(0, len(some), size)]
        parts = np.concatenate([np.asarray(method.predict(users[batch], items[batch])) for batch in batches])
        moved = float(np.abs(parts - whole[some]).max() / max(np.abs(whole).max(), np.finfo(np.float32).tiny))
        if not moved <= TOLERANCE:
            raise Broken(
                f"asked {size} at a time in another order, predictions move by {moved:.1e} (over {TOLERANCE:.0e})"
            )


CHECKS: tuple[Check, ...] = (
    documented,
    shape_and_range,
    units_of_the_ratings,
    better_than_the_mean,
    same_seed_same_answer,
    no_global_random_state,
    no_peeking,
    the_word_seeded,
    fits_on_everything,
    user_without_ratings,
    item_without_ratings,
    batch_size,
)
