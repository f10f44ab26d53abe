"""A method under examination: the small split it is fitted on, its fits, and what it says when it is asked."""

from __future__ import annotations

import dataclasses
import random
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import VERBS, arguments, load_method
from llmrec.errors import MethodError, UserError
from llmrec.records import TaskName
from llmrec.tasks import TASKS, implementation
from llmrec.types import Floats, Histories, Int32, Part, Requests, Split, TopK, Users

N = 50
"""Users and items of the checkerboard."""

NEWCOMER, STRANGER = N, N + 1
"""Two more users: of one nothing but a single item is known, of the other nothing at all."""

UNSEEN = N
"""One more item, which nobody ever took."""


class Broken(AssertionError):
    """The method breaks the contract; the message says how."""


class NotApplicable(Exception):
    """The check says nothing about this method, or the method cannot run here; the message says why."""


@cache
def board() -> Split:
    """The checkerboard (`toy.checkerboard`) with `NEWCOMER`, `STRANGER` and the item `UNSEEN`; 52 users, 51 items."""
    small = toy.checkerboard(N)
    train, valid, test = ([list(map(int, h)) for h in _rows(part)] for part in (small.train, small.valid, small.test))
    asked: dict[Part, Int32] = {"valid": np.arange(N, dtype=np.int32), "test": np.arange(N + 2, dtype=np.int32)}
    ids = np.arange(N + 1, dtype=np.int32)
    orders = [len(t) for t in train]
    return dataclasses.replace(
        small,
        n_users=N + 2,
        n_items=N + 1,
        train=toy.interactions([*train, [4], []], N + 1),
        valid=toy.interactions([*valid, [], []], N + 1, [*orders, 0, 0]),
        test=toy.interactions([*test, [8], [12]], N + 1, [*(n + 1 for n in orders), 1, 0]),
        candidates=np.ones(N + 1, bool),
        canonical=ids,
        item_order=ids,
        asked=asked,
        fingerprint="contract",
    )


def _rows(part: Any) -> list[Int32]:
    return [part.histories[u] for u in range(part.n_users)]


def other_test_items(split: Split) -> Split:
    """The same split with other test items: an answer that changes with it has looked at the test."""
    rng = np.random.default_rng(1)
    items = [rng.integers(0, split.n_items, 1).tolist() for _ in range(split.n_users)]
    return dataclasses.replace(split, test=toy.interactions(items, split.n_items, [N] * split.n_users))


Said = tuple[Int32 | None, Floats]
"""What a method says itself: (None, scores [b, n_items]) or (items [b, k], scores [b, k])."""

WORDS = ("cat horse", "hammer drill")
"""What even users and what odd users ask for in words; `toy.items` has texts with these."""


def with_requests(split: Split, other_answers: bool = False) -> Split:
    """The split with a request for each kind of item, to validate and to test; ``other_answers``: those of the test
    are the items of the other kind."""
    kinds = [np.arange(kind, split.n_items, 2, dtype=np.int32) for kind in (0, 1)]

    def asks(first: int) -> Requests:
        rows = [kinds[first], kinds[1 - first]]
        indptr = np.array([0, len(rows[0]), split.n_items], np.int64)
        return Requests(list(WORDS), Histories(indptr, np.concatenate(rows), split.n_items), ["by kind"] * 2)

    return dataclasses.replace(split, requests={"valid": asks(0), "test": asks(1 if other_answers else 0)})


@dataclass
class Subject:
    """A method under examination, asked by one of its verbs: the first, unless another is given. Fits are kept, failed
    ones too: each (seed, global seed, test items) happens once.

    It is asked for the task ``topn``; what belongs to that task (the split it is fitted on, the questions it is asked)
    are methods of their own, which a subject of another task replaces.
    """

    task: ClassVar[TaskName] = "topn"

    name: str
    cls: type
    params: dict[str, Any] = field(default_factory=dict)
    verb: str = ""
    fits: dict[tuple[int, int, bool], tuple[Any, Context] | Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.verb = self.verb or next(iter(self.verbs), "")

    @property
    def verbs(self) -> tuple[str, ...]:
        """All that it can be asked."""
        return tuple(verb for verb in VERBS if callable(getattr(self.cls, verb, None)))

    @property
    def family(self) -> str:
        return str(getattr(self.cls, "family", "collaborative"))

    @property
    def seeded(self) -> bool:
        return bool(getattr(self.cls, "seeded", True))

    def board(self) -> Split:
        """The small split that it is fitted on; one that is searched knows that there are requests."""
        return with_requests(board()) if self.verb == "search" else board()

    def other_board(self) -> Split:
        """The same split with another test part."""
        other = other_test_items(board())
        return with_requests(other, other_answers=True) if self.verb == "search" else other

    def said(self, method: Any) -> Said:
        """What a fitted method answers to all questions, without the harness between."""
        return self.ask(method, everyone())

    def fitted(self, seed: int = 0, global_seed: int = 0, other_test: bool = False) -> Any:
        """The method fitted on the board."""
        return self._fit_once(seed, global_seed, other_test)[0]

    @property
    def context(self) -> Context:
        """The context of the first fit: which random streams were used, how many epochs were chosen."""
        return self._fit_once(0, 0, False)[1]

    def _fit_once(self, seed: int, global_seed: int, other_test: bool) -> tuple[Any, Context]:
        how = (seed, global_seed, other_test)
        if how not in self.fits:
            try:
                self.fits[how] = self.fit_anew(seed, global_seed, self.other_board() if other_test else self.board())
            except Exception as error:
                self.fits[how] = error
        done = self.fits[how]
        if isinstance(done, Exception):
            raise done
        return done

    def fit_anew(self, seed: int, global_seed: int, split: Split, epochs: int | None = None) -> tuple[Any, Context]:
        """A fresh fit, from this seed, with the global random generators in this state. It validates unless ``epochs``
        says for how long to train."""
        facts, validate = TASKS[self.task], implementation(self.task).validate
        ctx = Context(
            seed=seed, items=toy.items(split.n_items), epochs=epochs, watched=facts.primary, better=facts.better
        )
        if epochs is None:
            ctx.validate = lambda method: validate(method, split)
        seed_everything(global_seed)
        try:
            method = self.cls(**{**getattr(self.cls, "quick", {}), **self.params})
            method.fit(split, ctx)
        except UserError as error:
            raise NotApplicable(f"cannot run here: {error}") from error
        return method, ctx

    def ask(self, method: Any, some: Users, k: int = 10) -> Said:
        """Put the question to the method, without the harness between: about every item, or for k of them."""
        n_items = board().n_items
        if self.verb == "generate":
            written = method.generate(some, k, True)
            return np.asarray(written.items), np.asarray(written.scores)
        if self.verb == "search":
            items, scores = method.search([WORDS[user % 2] for user in some.ids], k)
            return np.asarray(items), np.asarray(scores)
        if self.verb == "score":
            scores = method.score(some)
            return None, np.asarray(scores.toarray() if hasattr(scores, "toarray") else scores)
        every = np.tile(np.arange(n_items, dtype=np.int32), len(some))
        rows = Histories(np.arange(len(some) + 1) * n_items, every, n_items)
        answers = np.asarray(method.rerank(some, rows))
        if answers.shape != every.shape:
            raise Broken(f"{self.verb}() gave shape {answers.shape} for {len(every)} questions")
        return None, answers.reshape(len(some), n_items)

    def lists(self, k: int = 20) -> TopK:
        """Lists for all users of the test, through the same code as a run where there is one for lists of users."""
        from llmrec.evaluate import answer

        if self.verb not in ("score", "generate"):
            items, scores = self.ask(self.fitted(), everyone(), k)
            if items is None:
                items = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)
                scores = np.take_along_axis(scores, items, 1)
            return TopK(everyone().ids, items, scores)
        try:
            lists = answer(_Only(self.fitted(), self.verb), board(), "test", k=k).topk
        except MethodError as error:
            raise Broken(str(error)) from error
        assert lists is not None
        return lists


class _Only:
    """A method of which only one verb is seen."""

    def __init__(self, method: Any, verb: str) -> None:
        self.name = getattr(method, "name", None) or type(method).__name__
        setattr(self, verb, getattr(method, verb))


def subject(name: str, extra: Path | None = None) -> Subject:
    """The method of this name (``recbole:BPR`` included); ``extra`` is a folder of the user's own.

    Raises:
        UserError: there is no such method. MethodError: its file raises on import.
    """
    return Subject(name, load_method(name, extra), arguments(name, {}))


def seed_everything(seed: int) -> None:
    """Put Python's, NumPy's and (if it is loaded) torch's global generators into a known state."""
    random.seed(seed)
    np.random.seed(seed)  # the global state is what is perturbed here  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def users(ids: Int32 | list[int]) -> Users:
    """Some of the board's users as the test asks them."""
    rows = np.asarray(ids, np.int32)
    return Users(rows, board().known("test").histories.take(rows))


def everyone() -> Users:
    return users(np.arange(N + 2, dtype=np.int32))
