"""The task ``rating``: the rating that a user gives an item, in the units of the ratings (stars, say).

Every held-out rating of the users asked is one question; a method answers it with ``predict(users, items)``. Users and
items that nobody knows from training are asked like all others and have slices of their own. Predictions outside the
scale are judged at its nearest end, as Surprise does; how many were is counted (``clipped``). They are stored as the
method gave them, rounded to float32; what is judged is what is stored.

units.parquet     user int32, targets int32 (ratings asked for), history int32 (ratings known), rmse and mae float64
answers.parquet   user int32, item int32, prediction float32: one row a rating asked for
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from llmrec.errors import MethodError, UserError
from llmrec.evaluate.measure import Measures
from llmrec.evaluate.popularity import Popularity
from llmrec.evaluate.ratings import Values, auc, grouped_auc, mae, per_user, rmse
from llmrec.stored import digest, read_table
from llmrec.types import Bools, Floats, Int32, Items, Part, Split

BATCH = 65536
"""Pairs that a method is asked for at a time."""


@dataclass(frozen=True)
class Ratings:
    """What a method predicted for the held-out ratings of one part of a split."""

    users: Int32  # [n], ascending
    items: Int32  # [n]
    given: Values  # [n]: the rating that was given
    predicted: Floats  # [n], float32, as the method gave it
    part: Part = "test"


def answer(method: Any, split: Split, part: Part, *, batch: int = BATCH) -> Ratings:
    """Ask for every held-out rating of the part's users, ``batch`` pairs at a time.

    Raises:
        MethodError: predictions of the wrong shape or type, or not finite; names the method and the pair.
    """
    name = getattr(method, "name", None) or type(method).__name__
    if not callable(getattr(method, "predict", None)):
        raise MethodError(f"{name}: has no predict(users, items).")
    asked = _asked(split, part)
    users, items = asked["user"].to_numpy(), asked["item"].to_numpy()
    predicted = np.empty(len(users), np.float32)
    for start in range(0, len(users), batch):
        some = slice(start, start + batch)
        given = method.predict(users[some].copy(), items[some].copy())  # a method may write into what it is given
        predicted[some] = _checked(given, users[some], items[some], name)
    return Ratings(users, items, asked["value"].to_numpy().astype(np.float64), predicted, part)


def validate(method: Any, split: Split) -> dict[str, float]:
    """{"rmse": ..., "mae": ..., "auc": ..., "user_auc": ...} on the validation part, for early stopping and tuning."""
    return _overall(answer(method, split, "valid"), split)


def measure(answers: Ratings, split: Split, items: Items, embeddings: Floats | None = None) -> Measures:
    """All figures of one run's answers (see `llmrec.evaluate.ratings`). A figure that cannot be had (no ``liked`` on
    the card, or no rating that is) is left out, never NaN.

    Counts: users (with a rating asked for), users_without_rating (all others of the dataset), targets (ratings asked
    for), liked (those that are), clipped (predictions outside the scale).
    """
    users, owner = np.unique(answers.users, return_inverse=True)
    history = split.known(answers.part).histories.lengths[users]
    held_out = split.valid if answers.part == "valid" else split.test
    counts = {
        "users": len(users),
        "users_without_rating": split.n_users - held_out.frame["user"].n_unique(),
        "targets": len(answers.given),
        "clipped": int((_clipped(answers, split) != answers.predicted.astype(np.float64)).sum()),
    }
    if split.liked is not None:
        counts["liked"] = int((answers.given >= split.liked).sum())
    frame = pl.DataFrame(
        {
            "user": users,
            "targets": np.bincount(owner, minlength=len(users)).astype(np.int32),
            "history": history.astype(np.int32),
            **per_user(owner, answers.given, _clipped(answers, split), len(users)),
        }
    )
    return Measures(_overall(answers, split), frame, _slices(answers, split), counts)


def write(answers: Ratings, split: Split, folder: Path) -> dict[str, str]:
    """Write answers.parquet; the fingerprints of what was asked and answered ("answers") and of the predictions alone
    ("scores")."""
    table = pl.DataFrame(
        {"user": answers.users, "item": split.canonical[answers.items], "prediction": answers.predicted}
    )
    table.write_parquet(folder / "answers.parquet")
    return hashes(table)


def hashes(table: pl.DataFrame) -> dict[str, str]:
    """Fingerprints of answers in canonical ids: equal exactly where every prediction is equal."""
    columns = {"answers": ("user", "item", "prediction"), "scores": ("prediction",)}
    return {name: digest([table[column].to_numpy() for column in some]) for name, some in columns.items()}


def stored(folder: Path) -> dict[str, str]:
    """The fingerprints of what `write` wrote."""
    return hashes(read_table(folder, "answers.parquet"))


def read(folder: Path, split: Split, rates: dict[str, float] | None = None) -> Ratings:
    """What `write` wrote, in the split's ids. ``rates`` belong to other tasks.

    Raises:
        UserError: the file is missing or corrupt, or belongs to another split.
    """
    table = read_table(folder, "answers.parquet", ["user", "item", "prediction"])
    asked = _asked(split, "test")
    users, items = asked["user"].to_numpy(), asked["item"].to_numpy()
    if not (np.array_equal(table["user"], users) and np.array_equal(table["item"], split.canonical[items])):
        raise UserError(f"{folder}: its answers belong to another split. Run the suite with --stale.")
    return Ratings(users, items, asked["value"].to_numpy().astype(np.float64), table["prediction"].to_numpy())


def _asked(split: Split, part: Part) -> pl.DataFrame:
    """The held-out ratings (user, item, value) of the part's users, those of items that are no candidates left out."""
    held_out = split.valid if part == "valid" else split.test
    of_asked = np.zeros(split.n_users, bool)
    of_asked[split.asked[part]] = True
    return held_out.frame.filter(of_asked[held_out.user] & split.candidates[held_out.item])


def _checked(given: Any, users: Int32, items: Int32, name: str) -> Floats:
    """A method's predictions as float32 [n]."""
    found = np.asarray(given)
    if found.shape != users.shape:
        raise MethodError(
            f"{name}: predict() returned shape {found.shape} for pairs that begin with user {users[0]} and item "
            f"{items[0]}; expected {users.shape}, one rating a pair."
        )
    if not np.issubdtype(found.dtype, np.number) or np.iscomplexobj(found):
        raise MethodError(f"{name}: predict() returned values of type {found.dtype}; ratings are real numbers.")
    with np.errstate(over="ignore"):
        predicted = found.astype(np.float32)
    if not np.isfinite(predicted).all():
        wrong = int(np.flatnonzero(~np.isfinite(predicted))[0])
        raise MethodError(
            f"{name}: predict() returned {found[wrong]} for user {users[wrong]} and item {items[wrong]}; ratings are "
            "finite numbers, for unknown users and items too."
        )
    return predicted


def _clipped(answers: Ratings, split: Split) -> Values:
    """Predictions as they are judged: at the nearest end of the scale where they lie outside it; float64 [n]."""
    predicted = answers.predicted.astype(np.float64)
    return predicted if split.scale is None else np.clip(predicted, *split.scale)


def _overall(answers: Ratings, split: Split) -> dict[str, float]:
    """The metrics over all pairs; empty where none was asked for."""
    if not len(answers.given):
        return {}
    predicted = _clipped(answers, split)
    figures = {"rmse": rmse(answers.given, predicted), "mae": mae(answers.given, predicted)}
    if split.liked is not None:
        liked = answers.given >= split.liked
        within = grouped_auc(answers.users.astype(np.int64), liked, predicted, split.n_users)
        within = within[~np.isnan(within)]
        figures["auc"] = auc(liked, predicted)
        figures["user_auc"] = float(within.mean()) if len(within) else np.nan
    return {name: value for name, value in figures.items() if not np.isnan(value)}


def _slices(answers: Ratings, split: Split) -> dict[str, dict[str, float]]:
    """ "rmse" and "mae" over the pairs of each group of users and items, with its "targets" and "users".

    users:low, mid, high   thirds of the users asked, by the number of ratings known of them; equals stay together
    users:cold             users of whom nothing is known (a part of users:low)
    items:head, tail       the 20 % of the items with most ratings in training, and all others
    items:cold             items without a rating in training (a part of the tail)
    """
    predicted = _clipped(answers, split)
    found = {}
    for name, group in _groups(answers, split).items():
        sizes = {"targets": float(group.sum()), "users": float(len(np.unique(answers.users[group])))}
        given, guess = answers.given[group], predicted[group]
        figures = {"rmse": rmse(given, guess), "mae": mae(given, guess)} if len(given) else {}
        found[name] = {**figures, **sizes}
    return found


def _groups(answers: Ratings, split: Split) -> dict[str, Bools]:
    """Which pairs each slice holds, bool [n]."""
    history = split.known(answers.part).histories.lengths
    known, popularity = history[answers.users], Popularity.of(split)
    asked = history[np.unique(answers.users)]
    low, high = np.quantile(asked, [1 / 3, 2 / 3], method="lower") if len(asked) else (0, 0)
    return {
        "users:low": known <= low,
        "users:mid": (known > low) & (known <= high),
        "users:high": known > high,
        "users:cold": known == 0,
        "items:head": popularity.head[answers.items],
        "items:tail": ~popularity.head[answers.items],
        "items:cold": popularity.cold[answers.items],
    }
