"""What pair scoring is trained on: clicks among what was shown, next items of histories, words of items' texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from llmrec.bert.base import Base
from llmrec.bert.pairs import Pairs
from llmrec.bert.tune import Groups
from llmrec.types import NO_ITEM, Histories, Users

if TYPE_CHECKING:
    from llmrec.types import Bools, Impressions, Int32, Int64

SPAN = 4
"""Tokens of an item's text that stand for a request, at most."""

KEPT = 0.5
"""Share of the requests whose words stay in the item's text: with none, words would count for nothing; with all of
them, nothing else would. Lee, Chang and Toutanova (2019) keep .1 of long texts; items share most of their words."""


def clicks(
    pairs: Pairs, fit: Impressions, negatives: int, most: int, rng: np.random.Generator, base: Base | None = None
) -> Groups:
    """One group a click: the clicked item against others of its impression that were not clicked, drawn with
    replacement where there are fewer than ``negatives``; at most ``most`` clicks (0: all)."""
    rows, hit = fit.shown.rows, fit.clicked
    others = np.bincount(rows[~hit], minlength=len(fit))
    usable = np.flatnonzero(hit & (others[rows] > 0))
    usable = _some(usable, most, rng)
    owner = rows[usable]
    starts = np.cumsum(others) - others
    pool = fit.shown.items[~hit]  # in order of impressions
    places = np.array([_choose(int(others[row]), negatives, rng) for row in owner], np.int64).reshape(-1, negatives)
    items = np.column_stack([fit.shown.items[usable], pool[starts[owner][:, None] + places]])
    asked, left_of = np.unique(owner, return_inverse=True)
    users = Users(fit.users.ids[asked], fit.users.histories.take(asked))
    lefts, left_out = pairs.histories(users.histories)
    pairs.counts["history_items_cut"] = left_out
    start = base(users, np.repeat(left_of, 1 + negatives), items.reshape(-1)) if base is not None else None
    rights = [pairs.items[i] for i in items.reshape(-1)]
    return Groups([lefts[i] for i in left_of], rights, 1 + negatives, start=start)


def next_items(
    pairs: Pairs, histories: Histories, candidates: Bools, negatives: int, hard: float, most: int,
    rng: np.random.Generator, stage: Callable[[Users], Int32] | None = None, base: Base | None = None,
) -> Groups:  # fmt: skip
    """One group an event with something before it: the item against items that the user never took.

    A share ``hard`` of the negatives are what the first stage lists for the user at that moment, the rest are drawn
    evenly from the candidates. ``most``: events, drawn evenly (0: all).

    Args:
        stage: gives a list [b, k] for users at a moment, NO_ITEM at the end of short ones.
        base: gives the scores to which the encoder's output is added.
    """
    position = np.arange(len(histories.items)) - histories.indptr[:-1][histories.rows]
    events = _some(np.flatnonzero((position > 0) & candidates[histories.items]), most, rng)
    owners = histories.rows[events]
    prefixes = prefixes_of(histories, owners, position[events])
    n_hard = round(hard * negatives) if stage is not None else 0
    pool = np.flatnonzero(candidates)
    items = np.empty((len(events), 1 + negatives), np.int32)
    items[:, 0] = histories.items[events]
    items[:, 1:] = pool[rng.integers(len(pool), size=(len(events), negatives))]
    if n_hard and stage is not None:
        listed = stage(Users(owners.astype(np.int32), prefixes))
        taken = [set(histories[int(owner)].tolist()) for owner in owners]
        for row, (own, one) in enumerate(zip(taken, listed, strict=True)):
            left = [item for item in one.tolist() if item != NO_ITEM and item not in own]
            chosen = rng.permutation(len(left))[:n_hard]
            items[row, 1 : 1 + len(chosen)] = [left[i] for i in chosen]
    _avoid(items, histories, owners, pool, rng)
    lefts, left_out = pairs.histories(prefixes)
    pairs.counts["history_items_cut"] = left_out
    rows, flat = np.repeat(np.arange(len(events)), 1 + negatives), items.reshape(-1)
    start = base(Users(owners.astype(np.int32), prefixes), rows, flat) if base is not None else None
    return Groups(lefts, [pairs.items[int(i)] for i in flat], 1 + negatives, start=start)


def words(pairs: Pairs, candidates: Bools, negatives: int, most: int, rng: np.random.Generator) -> Groups:
    """One group an item: some words of its text, and its text (with or without them) against texts of others that do
    not hold them all (the inverse cloze task of Lee, Chang & Toutanova, ACL 2019). ``most``: how many groups, each item
    about equally often (0: each item once)."""
    pool = np.flatnonzero(candidates)
    usable = np.flatnonzero(candidates & np.array([len(text) > 1 for text in pairs.items]))
    asked = np.resize(rng.permutation(usable), most or len(usable))
    said = [set(text.tolist()) for text in pairs.items]
    lefts: list[Int32] = []
    rights: list[Int32] = []
    for item in asked:
        text = pairs.items[item]
        start = int(rng.integers(len(text)))
        stop = start + int(rng.integers(1, SPAN + 1))
        lefts.append(text[start:stop])
        own = set(lefts[-1].tolist())
        rest = np.concatenate([text[:start], text[stop:]])
        rights.append(text if rng.random() < KEPT or not len(rest) else rest)
        for _ in range(negatives):
            drawn = pool[rng.integers(len(pool), size=10)]
            other = next((one for one in drawn if not said[one] >= own), drawn[-1])
            rights.append(pairs.items[other])
    return Groups(lefts, rights, 1 + negatives)


def both(first: Groups, second: Groups) -> Groups:
    """The groups of two sources, of one size."""
    starts = [groups.start for groups in (first, second) if groups.start is not None]
    start = np.concatenate(starts) if starts else None
    return Groups([*first.lefts, *second.lefts], [*first.rights, *second.rights], first.m, start=start)


def prefixes_of(histories: Histories, owners: Int64, lengths: Int64) -> Histories:
    """The first items of some histories."""
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    source = np.repeat(histories.indptr[:-1][owners] - indptr[:-1], lengths) + np.arange(indptr[-1])
    return Histories(indptr, histories.items[source], histories.n_items)


def _avoid(items: Int32, histories: Histories, owners: Int64, pool: Int64, rng: np.random.Generator) -> None:
    """Draw negatives anew that the user has taken; after ten draws what is left stays."""
    keys = np.unique(histories.rows * histories.n_items + histories.items)
    for _ in range(10):
        own = np.isin(owners[:, None] * histories.n_items + items[:, 1:], keys)
        if not own.any():
            return
        items[:, 1:][own] = pool[rng.integers(len(pool), size=int(own.sum()))]


def _choose(n: int, k: int, rng: np.random.Generator) -> Int64:
    return rng.permutation(n)[:k] if n >= k else rng.integers(n, size=k)


def _some(rows: Int64, most: int, rng: np.random.Generator) -> Int64:
    return np.sort(rng.permutation(rows)[:most]) if most and most < len(rows) else rows


def rating_marks(values: Sequence[float], pairs: Pairs) -> list[Int32]:
    """The tokens that say a rating before an item's text, one array a value: "4:" or "3.5:"."""
    said = sorted(set(values))
    tokens = dict(zip(said, pairs.words([f"{value:g}:" for value in said]), strict=True))
    return [tokens[value] for value in values]


def without(histories: Histories, events: Int64) -> tuple[Histories, Int64]:
    """For each event, its history without itself, and the events that stand in it, int64 [items]."""
    owners = histories.rows[events]
    every = [np.arange(histories.indptr[row], histories.indptr[row + 1]) for row in owners]
    kept = [some[some != event] for some, event in zip(every, events, strict=True)]
    indptr = np.concatenate([[0], np.cumsum([len(some) for some in kept])]).astype(np.int64)
    places = np.concatenate(kept) if kept else np.empty(0, np.int64)
    return Histories(indptr, histories.items[places], histories.n_items), places
