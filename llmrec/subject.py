"""A method under examination: the small split it is fitted on, its fits, and what it says when it is asked."""

from __future__ import annotations

import dataclasses
import random
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import arguments, load_method
from llmrec.errors import MethodError, UserError
from llmrec.types import Floats, Int32, Part, Split, TopK, Users

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


@dataclass
class Subject:
    """A method under examination. Fits are kept, failed ones too: each (seed, global seed, test items) happens once."""

    name: str
    cls: type
    params: dict[str, Any] = field(default_factory=dict)
    fits: dict[tuple[int, int, bool], tuple[Any, Context] | Exception] = field(default_factory=dict)

    @property
    def family(self) -> str:
        return str(getattr(self.cls, "family", "collaborative"))

    @property
    def seeded(self) -> bool:
        return bool(getattr(self.cls, "seeded", True))

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
                self.fits[how] = self.fit_anew(seed, global_seed, other_test_items(board()) if other_test else board())
            except Exception as error:
                self.fits[how] = error
        done = self.fits[how]
        if isinstance(done, Exception):
            raise done
        return done

    def fit_anew(self, seed: int, global_seed: int, split: Split, epochs: int | None = None) -> tuple[Any, Context]:
        """A fresh fit, from this seed, with the global random generators in this state. It validates unless ``epochs``
        says for how long to train."""
        from llmrec.evaluate import validate

        ctx = Context(seed=seed, items=toy.items(split.n_items), epochs=epochs)
        if epochs is None:
            ctx.validate = lambda method: validate(method, split)
        seed_everything(global_seed)
        try:
            method = self.cls(**{**getattr(self.cls, "quick", {}), **self.params})
            method.fit(split, ctx)
        except UserError as error:
            raise NotApplicable(f"cannot run here: {error}") from error
        return method, ctx

    def lists(self, k: int = 20) -> TopK:
        """Lists for all users of the test, through the same code as a run."""
        from llmrec.evaluate import answer

        try:
            lists = answer(self.fitted(), board(), "test", k=k).topk
        except MethodError as error:
            raise Broken(str(error)) from error
        assert lists is not None
        return lists


def subject(name: str, extra: Path | None = None) -> Subject:
    """The method of this name (``recbole:BPR`` included); ``extra`` is a folder of the user's own.

    Raises:
        UserError: there is no such method. MethodError: its file raises on import.
    """
    return Subject(name, load_method(name, extra), arguments(name, {}))


Said = tuple[Int32 | None, Floats]
"""What a method says itself: (None, scores [b, n_items]) or (items [b, k], scores [b, k])."""


def ask(method: Any, some: Users, k: int = 10) -> Said:
    """Put the question to the method, without the harness between."""
    if hasattr(method, "score"):
        scores = method.score(some)
        return None, np.asarray(scores.toarray() if hasattr(scores, "toarray") else scores)
    written = method.generate(some, k, True)
    return np.asarray(written.items), np.asarray(written.scores)


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
