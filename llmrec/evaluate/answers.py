"""Ask a fitted method for its recommendations, in batches, and keep what every metric needs: ranks and top-k lists."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llmrec.errors import MethodError
from llmrec.evaluate.ranking import rank_scores, thread_count
from llmrec.evaluate.written import clean_lists, rank_lists, rates
from llmrec.types import Floats, Int32, Part, Split, Targets, TopK, Users

BATCH_BYTES = 64 << 20
"""Scores asked for at a time: a batch is cut so that users x items stays below this in float64."""


@dataclass(frozen=True)
class Answers:
    """What a method answered to the users of one part of a split."""

    targets: Targets
    ranks: Int32  # [relevant pairs], from 1, in the order of targets.items; NOT_RANKED if it cannot be found at all
    topk: TopK | None  # one row a user asked, in the order of targets.users; None if no lists were asked for
    rates: dict[str, float] = field(default_factory=dict)  # generate() only: shares of the answers written
    part: Part = "test"


def answer(method: Any, split: Split, part: Part, *, k: int = 20, batch_size: int = 512, lists: bool = True) -> Answers:
    """Rank every relevant item of the part's users, and list each user's k best items.

    A method with ``score`` is asked for scores of all items; history (if the split masks it) and items outside the
    candidates are left out here, ties count against the relevant item, and a constant score is worth about nothing.
    A method with ``generate`` is asked for lists of k, which are cleaned; a rank is the place in the list.
    The batch size, which shrinks for large catalogues, has no influence on the answers.

    Raises:
        MethodError: scores that are not finite, answers of the wrong shape, ids out of range; names method and user.
    """
    name = getattr(method, "name", None) or type(method).__name__
    scores_items = callable(getattr(method, "score", None))
    if not scores_items and not callable(getattr(method, "generate", None)):
        raise MethodError(f"{name}: has neither score(users) nor generate(users, k, exclude).")
    size = max(1, min(batch_size, BATCH_BYTES // (8 * max(1, split.n_items))))
    threads = thread_count()
    targets = split.targets(part)
    ranks: list[Int32] = []
    items: list[Int32] = []
    scores: list[Floats] = []
    counts: dict[str, int] = {}
    with ThreadPoolExecutor(threads) as pool:
        for users, relevant in split.batches(part, size):
            if scores_items:
                given = _scores(method.score(users), users, split, name)
                ranked, best, values = rank_scores(
                    given, users, relevant, split, k if lists else 0, name, pool, threads
                )
            else:
                generated = method.generate(users, k, exclude=split.mask_history)
                best, values, counted = clean_lists(generated, users, split, k, name)
                ranked = rank_lists(best, relevant)
                counts = {kind: counts.get(kind, 0) + n for kind, n in counted.items()}
            ranks.append(ranked)
            if lists:
                items.append(best)
                scores.append(values)
    topk = None
    if lists:
        empty = np.empty((0, k))
        topk = TopK(targets.users, _stack(items, empty.astype(np.int32)), _stack(scores, empty.astype(np.float32)))
    return Answers(targets, _stack(ranks, np.empty(0, np.int32)), topk, rates(counts), part)


def _stack(parts: list[Any], empty: Any) -> Any:
    return np.concatenate(parts) if parts else empty


def _scores(given: Any, users: Users, split: Split, name: str) -> Floats:
    """A method's scores as an array [b, n_items] of numbers; a sparse matrix is filled up with zeros."""
    if hasattr(given, "toarray"):
        given = given.toarray()
    scores = np.asarray(given)
    if scores.shape != (len(users), split.n_items):
        raise MethodError(
            f"{name}: score() returned shape {scores.shape} for a batch that begins with user {users.ids[0]}; "
            f"expected ({len(users)}, {split.n_items}), one row a user and one column an item."
        )
    if not (np.issubdtype(scores.dtype, np.number) or scores.dtype == bool) or np.iscomplexobj(scores):
        raise MethodError(f"{name}: score() returned values of type {scores.dtype}; scores are real numbers.")
    return scores
