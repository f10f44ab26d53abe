"""What a method is: one dataclass in one file, whose fields are its parameters.

    @dataclass
    class MyMethod:
        '''One sentence that `llmrec list methods` prints.'''

        family: ClassVar[str] = "collaborative"
        shrink: float = tune(10.0, low=0.0, high=500.0)

        def fit(self, split: Split, ctx: Context) -> None: ...
        def score(self, users: Users) -> np.ndarray: ...      # [b, n_items], higher is better

A method answers in the forms natural to it; each task says which it takes (`llmrec.tasks`):

    score(users)                 every item's score                       topn, impressions
    generate(users, k, exclude)  its own lists of items                   topn
    rerank(users, candidates)    scores of the given candidates           impressions
    predict(users, items)        the rating of (user, item) pairs         rating
    search(texts, k)             items for a request in words             request

Class attributes say what the harness must know; all have defaults:

    family       "non-personal" | "collaborative" | "sequential" | "content" | "bert" | "gpt" | "hybrid"
    seeded       False: no random stream is used, one run stands for all seeds (default True)
    early_stops  True: trains by epochs and stops on validation (default False)
    requires     importable packages that it needs beyond the suite's own, e.g. ("implicit",)
    needs_text   True: reads item texts (default False)
    folds_in     False: knows users only from training, not from the history at hand, so that it has nothing to say
                 to users unseen in training and is skipped under ``user-holdout`` (default True)
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmrec.context import Context
    from llmrec.types import Floats, Generated, Histories, Int32, Split, Users

FAMILIES = ("non-personal", "collaborative", "sequential", "content", "bert", "gpt", "hybrid", "external")


def tune(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A dataclass field with its own search space: a range [low, high] (log-uniform if ``log``) or ``choices``.

    The bounds are the search space of tuning only; a suite may set any value of the right type. They are read without
    importing the file: write them out, or as constants of the file itself.
    """
    if (choices is None) == (low is None or high is None):
        raise TypeError("tune() wants either low= and high=, or choices=")
    return field(default=default, metadata={"tune": {"low": low, "high": high, "log": log, "choices": choices}})


@runtime_checkable
class Scorer(Protocol):
    """Scores every item for a batch of users."""

    def fit(self, split: Split, ctx: Context) -> None: ...

    def score(self, users: Users) -> Floats:
        """Scores [b, n_items], finite, in any float precision; higher is better. The harness masks seen items."""
        ...


@runtime_checkable
class Generator(Protocol):
    """Writes its own recommendation lists."""

    def fit(self, split: Split, ctx: Context) -> None: ...

    def generate(self, users: Users, k: int, exclude: bool) -> Generated:
        """At most k items per user, best first. ``exclude``: leave out the items of each user's own history."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores given candidates, e.g. the news that were shown."""

    def fit(self, split: Split, ctx: Context) -> None: ...

    def rerank(self, users: Users, candidates: Histories) -> Floats:
        """Row r of ``candidates`` was shown to row r of ``users``; scores [len(candidates.items)], in that order."""
        ...


@runtime_checkable
class Predictor(Protocol):
    """Predicts ratings."""

    def fit(self, split: Split, ctx: Context) -> None: ...

    def predict(self, users: Int32, items: Int32) -> Floats:
        """The rating [n] that user ``users[j]`` would give item ``items[j]``; either may be unknown to training."""
        ...


@runtime_checkable
class Searcher(Protocol):
    """Finds items for requests in words."""

    def fit(self, split: Split, ctx: Context) -> None: ...

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        """Up to k different items a request, best first: ids [n, k], NO_ITEM where there is none, and scores [n, k],
        falling, -inf where there is no item."""
        ...


def parameters(cls: type) -> dict[str, Any]:
    """Parameter names of a method class with their defaults."""
    import dataclasses

    return {
        f.name: f.default_factory() if callable(f.default_factory) else f.default
        for f in dataclasses.fields(cls)
        if f.init
    }


def count_parameters(method: object) -> int:
    """Learnt numbers that a fitted method holds: torch modules' parameters and floating arrays among its attributes."""
    total = 0
    for value in vars(method).values():
        if hasattr(value, "parameters") and callable(value.parameters):
            total += sum(int(p.numel()) for p in value.parameters())
        elif isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating):
            total += value.size
        elif hasattr(value, "nnz"):
            total += int(value.nnz)
    return total
