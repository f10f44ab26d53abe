"""Orders of candidates that a model's answers make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llmrec.lm.prompts import read_ranking
from llmrec.seeds import hash64
from llmrec.types import Floats


@dataclass(frozen=True)
class Order:
    """A user's candidates, named by their places in the first stage's list, best first."""

    places: list[int]
    scores: Floats  # [candidates], falling
    shown_first: int = -1  # the place of the candidate that stood first in the prompt
    answered: bool = True  # False: the first stage's order, for want of an answer
    invalid: int = 0  # answers that said nothing
    duplicate: int = 0
    unknown: int = 0  # lines that name no candidate
    written: int = 0  # answers in all


def falling(n: int) -> Floats:
    """Scores of an order that has no others."""
    return -np.arange(n, dtype=np.float64)


def kept(n: int, invalid: int, written: int, shown_first: int = -1) -> Order:
    """The first stage's order."""
    return Order(list(range(n)), falling(n), shown_first, n == 0, invalid, 0, 0, written)


def shuffled(n: int, seed: int, user: int, which: int = 0) -> Order:
    """A random order that depends on the seed and the user alone; ``which``: the first, the second, ..."""
    keys = hash64(seed, np.full(n, user), np.full(n, which), np.arange(n))
    return Order(np.argsort(keys, kind="stable").tolist(), falling(n), written=n)


def by_score(values: Floats) -> Order:
    """Best score first, equal ones as the first stage has them; its own order where a score is missing."""
    lost = int((~np.isfinite(values)).sum())
    if lost:
        return kept(len(values), lost, len(values))
    places = np.argsort(-values, kind="stable")
    return Order(places.tolist(), values[places], written=len(values))


def by_reply(reply: str | None, titles: Sequence[str], shown: Sequence[int]) -> Order:
    """The order that a model wrote about candidates shown in the order ``shown``. Candidates that it does not name
    follow in the first stage's order."""
    n = len(titles)
    first = shown[0] if n else -1
    if reply is None:
        return kept(n, 1, 1, first)
    found = read_ranking(reply, [titles[place] for place in shown])
    if not found.places:
        return kept(n, max(found.lines, 1), max(found.lines, 1), first)
    named = [shown[place] for place in found.places]
    rest = sorted(set(range(n)) - set(named))
    return Order(
        named + rest, falling(n), first, True, 0, found.repeated, found.unknown, found.lines,
    )  # fmt: skip


def bubbled(
    shown: Sequence[Sequence[int]], passes: int, better: Callable[[list[tuple[int, int, int]]], list[float]]
) -> list[Order]:
    """Orders by comparing neighbours from the end to the start, ``passes`` times: what deserves it rises to the top.
    All users' comparisons of one step are asked together; a user takes passes x (candidates - 1) of them, less those
    that earlier passes have settled (pass p leaves the p - 1 first places alone).

    Args:
        better: for each (row, a, b) a number above 0 where a should stand before b, NaN where nobody knows.
    """
    rows = [list(some) for some in shown]
    asked, lost = [0] * len(rows), [0] * len(rows)
    longest = max(map(len, rows), default=0)
    for settled in range(passes):
        for step in range(longest - 1, settled, -1):
            here = [(row, step) for row, some in enumerate(rows) if step < len(some)]
            if not here:
                continue
            values = better([(row, rows[row][at - 1], rows[row][at]) for row, at in here])
            for (row, at), value in zip(here, values, strict=True):
                asked[row] += 1
                if not np.isfinite(value):
                    lost[row] += 1
                elif value < 0:
                    rows[row][at - 1], rows[row][at] = rows[row][at], rows[row][at - 1]
    made = []
    for some, before, n, failed in zip(rows, shown, asked, lost, strict=True):
        first = before[0] if before else -1
        if failed:
            made.append(kept(len(some), failed, n, first))
        else:
            made.append(Order(some, falling(len(some)), first, written=n))
    return made
