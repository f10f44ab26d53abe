"""What every method must hold, as checks that run in seconds: `llmrec check NAME` and the contract tests use the same.

Each check is a function over a `Subject` (one method with its quick parameters); its docstring says what it shows. It
returns when the method holds it, raises `Broken` with what was seen, or `NotApplicable` with the reason.

A neural method may give ``quick: ClassVar[dict[str, Any]] = {"epochs": 3}``: the parameters of these checks only.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llmrec.discover import VERBS
from llmrec.method import FAMILIES
from llmrec.subject import NEWCOMER, STRANGER, Broken, N, NotApplicable, Said, Subject, board, everyone, users
from llmrec.types import NO_ITEM, Floats, Int32, TopK

TOLERANCE = 1e-5
"""Scores may move by this much, relative to the largest of the user's scores, with the size of the batch."""

OWN_KIND = 0.9
"""Share of checkerboard users whose first recommendation must be of their own kind; 4 of 29 unseen items are, so
guessing gives 0.14."""


def documented(subject: Subject) -> None:
    """It has a docstring and a known family, and every parameter a type and a default inside its search space."""
    cls = subject.cls
    if not dataclasses.is_dataclass(cls):
        raise Broken("the class is no dataclass: put @dataclass above it")
    doc = cls.__dict__.get("__doc__") or ""
    if not doc.strip() or doc.startswith(f"{cls.__name__}("):
        raise Broken("the class has no docstring: its first line is what `llmrec list methods` prints")
    if subject.family not in FAMILIES:
        raise Broken(f"family {subject.family!r} is none of {', '.join(FAMILIES)}")
    if not subject.verb:
        raise Broken(f"it answers nothing: it has none of {', '.join(VERBS)} (see `llmrec.method` for what they take)")
    given = subject.params  # recbole:BPR gives the model
    free = [f for f in dataclasses.fields(cls) if f.init and f.name not in given]
    for f in free:
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise Broken(f"parameter {f.name!r} has no default")
        space = f.metadata.get("tune")
        if space and space["choices"] is not None and f.default not in space["choices"]:
            raise Broken(f"parameter {f.name!r}: default {f.default!r} is none of its choices {space['choices']}")
        if space and space["choices"] is None and not space["low"] <= f.default <= space["high"]:
            raise Broken(f"parameter {f.name!r}: default {f.default!r} lies outside [{space['low']}, {space['high']}]")
    try:
        json.dumps([f.default_factory() if callable(f.default_factory) else f.default for f in free])
    except (TypeError, ValueError) as error:
        raise Broken(f"a default cannot be stored in a record: {error}") from None


def shape_and_range(subject: Subject) -> None:
    """Answers have the right shape; scores are finite; lists hold ids of the catalogue, none twice, scores falling."""
    k = 10
    items, scores = subject.ask(subject.fitted(), everyone(), k)
    n_items = board().n_items
    if items is None:
        if scores.shape != (N + 2, n_items):
            raise Broken(f"{subject.verb}() gave shape {scores.shape}, expected {(N + 2, n_items)}: [users, items]")
        if bad := int((~np.isfinite(scores)).sum()):
            raise Broken(f"{subject.verb}() gave {bad} numbers that are not finite")
        return
    if len(items) != N + 2 or items.shape[1] > k or scores.shape != items.shape:
        shapes = f"{items.shape} and {scores.shape}"
        raise Broken(f"{subject.verb}() gave shapes {shapes}, expected {(N + 2, k)} or less wide")
    for user, row, row_scores in zip(range(N + 2), items, scores, strict=True):
        _check_list(int(user), row, row_scores, n_items)


def _check_list(user: int, items: Int32, scores: Floats, n_items: int) -> None:
    there = items != NO_ITEM
    if ((items[there] < 0) | (items[there] >= n_items)).any():
        raise Broken(f"user {user}: ids out of range 0..{n_items - 1}: {items.tolist()}")
    if (np.diff(there.astype(int)) > 0).any():
        raise Broken(f"user {user}: an empty place (-1) before an item: {items.tolist()}")
    if len(set(items[there].tolist())) < there.sum():
        raise Broken(f"user {user}: an item twice in one list: {items.tolist()}")
    if not np.isfinite(scores[there]).all() or not np.isneginf(scores[~there]).all():
        raise Broken(f"user {user}: scores must be finite for items and -inf for empty places: {scores.tolist()}")
    if (np.diff(scores[there]) > 0).any():
        raise Broken(f"user {user}: scores rise along the list: {scores.tolist()}")


def learns_the_checkerboard(subject: Subject) -> None:
    """Even users took even items, odd ones odd (and texts tell the two apart): it recommends a user's own kind."""
    if subject.family == "non-personal":
        raise NotApplicable("a non-personal method gives everyone the same")
    lists = subject.lists(k=1)
    rows = lists.users < N
    own = lists.items[rows, 0] % 2 == lists.users[rows] % 2
    if own.mean() < OWN_KIND:
        raise Broken(f"{own.mean():.0%} of users get an item of their own kind first, expected {OWN_KIND:.0%}")


def same_seed_same_answer(subject: Subject) -> None:
    """Two fits with the same seed give the same answer, bit for bit."""
    if _refit_is_equal(subject):
        return
    again, _ = subject.fit_anew(0, 0, subject.board())
    if not _equal(subject.said(subject.fitted()), subject.said(again)):
        raise Broken("two fits with one seed differ: take every random number from ctx.rng(axis) or ctx.seed_for(axis)")


def no_global_random_state(subject: Subject) -> None:
    """The state of Python's, NumPy's and torch's global generators does not influence the answer."""
    if _refit_is_equal(subject):
        return
    if not _equal(subject.said(subject.fitted()), subject.said(subject.fitted(global_seed=1))):
        raise Broken("the answer changes with the global random state: take random numbers from ctx.rng(axis) only")


def no_peeking(subject: Subject) -> None:
    """Other test items give the same answer: the method has not looked at the test."""
    if _refit_is_equal(subject):
        return
    if not _equal(subject.said(subject.fitted()), subject.said(subject.fitted(other_test=True))):
        raise Broken("the answer changes with the test items: fit on split.fit and answer from users.histories alone")


def _refit_is_equal(subject: Subject) -> bool:
    """One fit with everything changed that must not matter; equal answers prove three checks at once."""
    other = subject.fitted(global_seed=1, other_test=True)
    return _equal(subject.said(subject.fitted()), subject.said(other))


def _equal(a: Said, b: Said) -> bool:
    same_items = np.array_equal(a[0], b[0]) if a[0] is not None and b[0] is not None else a[0] is b[0]
    return same_items and np.array_equal(a[1], b[1])


def the_word_seeded(subject: Subject) -> None:
    """``seeded`` says whether the seed matters: unseeded methods use no stream and answer alike for every seed."""
    said = subject.said(subject.fitted())
    streams = subject.context.used_axes
    if subject.seeded and not streams:
        raise Broken("no random stream is used: say `seeded: ClassVar[bool] = False`, one run stands for all seeds")
    if not subject.seeded and streams:
        raise Broken(f"seeded = False, but it uses the random streams {', '.join(streams)}")
    if not subject.seeded and not _equal(said, subject.said(subject.fitted(seed=1))):
        raise Broken("seeded = False, but another seed gives another answer")


def fits_on_everything(subject: Subject) -> None:
    """Fitted on train + validation, with nothing to validate on, for a number of epochs that is given, it answers."""
    if getattr(subject.cls, "early_stops", False) and subject.context.chosen_epochs is None:
        raise Broken("early_stops = True, but fit() did not set ctx.chosen_epochs")
    everything = dataclasses.replace(subject.board(), fit_data="train+valid")
    method, _ = subject.fit_anew(0, 0, everything, epochs=1)
    _, scores = subject.said(method)
    if np.isnan(scores).any():
        raise Broken("fitted on train + validation, it gives scores that are not finite")


def seen_items_masked(subject: Subject) -> None:
    """Nobody is recommended an item of their own history."""
    if subject.verb not in ("score", "generate"):
        raise NotApplicable(f"{subject.verb}() knows no history to mask")
    known = board().known("test").histories
    lists = list(zip(*_lists(subject.lists()), strict=True))
    written, _ = subject.ask(subject.fitted(), everyone())  # the harness cleans these lists, and counts what it removes
    lists += list(enumerate(written)) if written is not None else []
    for user, row in lists:
        if seen := set(row.tolist()) & set(known[int(user)].tolist()):
            raise Broken(f"user {user} is recommended items of their own history: {sorted(seen)}")


def _lists(lists: TopK) -> tuple[Int32, list[Int32]]:
    """Users, and their lists without the empty places."""
    return lists.users, [row[row != NO_ITEM] for row in lists.items]


def more_than_the_catalogue(subject: Subject) -> None:
    """Asked for more items than there are, it gives what there is: no error, no item twice, none out of range."""
    if subject.verb == "rerank":
        raise NotApplicable("rerank() is asked about given items only")
    n_items = board().n_items
    known = board().known("test").histories
    scores_all = subject.verb == "score"
    for user, row in zip(*_lists(subject.lists(k=n_items + 10)), strict=True):
        if len(set(row.tolist())) < len(row) or ((row < 0) | (row >= n_items)).any():
            raise Broken(f"user {user}: asked for {n_items + 10} items, got {row.tolist()}")
        there = n_items - len(set(known[int(user)].tolist()))
        if scores_all and len(row) != there:
            raise Broken(f"user {user}: {len(row)} items listed of {there}")


def user_with_one_item(subject: Subject) -> None:
    """A user of whom one item is known gets an answer."""
    _answers_alone(subject, NEWCOMER, "one item")


def user_with_no_item(subject: Subject) -> None:
    """A user of whom nothing is known gets an answer (what it is, is the method's choice)."""
    _answers_alone(subject, STRANGER, "no item")


def _answers_alone(subject: Subject, user: int, known: str) -> None:
    items, scores = subject.ask(subject.fitted(), users([user]))
    if scores.shape[0] != 1:
        raise Broken(f"a user with {known}: {scores.shape[0]} answers instead of one")
    if items is None and not np.isfinite(scores).all():
        raise Broken(f"a user with {known}: scores are not finite")


def batch_size(subject: Subject) -> None:
    """One by one, in sevens or all at once: scores move by less than 1e-5 and lists only where scores tie."""
    whole = subject.ask(subject.fitted(), everyone())
    for size in (1, 7):
        some = [users(list(range(i, min(i + size, N + 2)))) for i in range(0, N + 2, size)]
        parts = [subject.ask(subject.fitted(), part) for part in some]
        scores = np.concatenate([part[1] for part in parts])
        if (moved := _moved(whole[1], scores)) > TOLERANCE:
            raise Broken(f"asked {size} at a time, not all at once, scores move by {moved:.1e} (over {TOLERANCE:.0e})")
        if whole[0] is not None:
            items = np.concatenate([part[0] for part in parts if part[0] is not None])
            _same_up_to_ties(whole[0], items, whole[1])


def _moved(a: Floats, b: Floats) -> float:
    """Largest difference between two score tables, relative to each row's largest score."""
    there = np.isfinite(a)
    if not np.array_equal(there, np.isfinite(b)):
        return float("inf")
    a, b = np.where(there, a, 0).astype(np.float64), np.where(there, b, 0).astype(np.float64)
    scale = np.maximum(np.abs(a).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return float((np.abs(a - b) / scale).max())


def _same_up_to_ties(a: Int32, b: Int32, scores: Floats) -> None:
    """Lists may differ only by items that tie with what stands in their place (``scores`` are a's)."""
    for row in np.flatnonzero((a != b).any(axis=1)):
        there = scores[row][np.isfinite(scores[row])]
        slack = TOLERANCE * np.abs(there).max()
        for place in np.flatnonzero(a[row] != b[row]):
            found = np.flatnonzero(a[row] == b[row, place])
            own = scores[row, found[0]] if len(found) else there[-1]
            if abs(own - scores[row, place]) > 2 * slack:
                raise Broken(f"user {row}: another list in another batch: {a[row].tolist()} and {b[row].tolist()}")


Check = Callable[[Subject], None]

CHECKS: tuple[Check, ...] = (
    documented,
    shape_and_range,
    learns_the_checkerboard,
    same_seed_same_answer,
    no_global_random_state,
    no_peeking,
    the_word_seeded,
    fits_on_everything,
    seen_items_masked,
    more_than_the_catalogue,
    user_with_one_item,
    user_with_no_item,
    batch_size,
)


@dataclass(frozen=True)
class Outcome:
    """What one check found: held, broken, or not applicable with the reason."""

    check: str
    shows: str
    status: Literal["held", "broken", "not applicable"]
    message: str = ""


def examine(subject: Subject, checks: Sequence[Check] = CHECKS) -> list[Outcome]:
    """Run some checks, by default those of ``topn``. An error inside the method is a broken contract, not an error of
    the checks."""
    outcomes = []
    for check in checks:
        shows = (check.__doc__ or "").strip()
        try:
            check(subject)
            outcomes.append(Outcome(check.__name__, shows, "held"))
        except NotApplicable as reason:
            outcomes.append(Outcome(check.__name__, shows, "not applicable", str(reason)))
        except Broken as error:
            outcomes.append(Outcome(check.__name__, shows, "broken", str(error)))
        except Exception as error:
            outcomes.append(Outcome(check.__name__, shows, "broken", f"{type(error).__name__}: {error}"))
    return outcomes
