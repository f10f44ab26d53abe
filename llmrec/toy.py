"""Small splits made by hand: what the contract checks and the tests run methods on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl

from llmrec.types import Histories, Impressions, Interactions, Items, Split, Users


def interactions(sequences: Sequence[Sequence[int]], n_items: int, first: Sequence[int] | None = None) -> Interactions:
    """Interactions from one item sequence per user; user u's orders start at ``first[u]`` (default 0)."""
    starts = first if first is not None else [0] * len(sequences)
    rows = [(u, i, s + p) for u, (seq, s) in enumerate(zip(sequences, starts, strict=True)) for p, i in enumerate(seq)]
    user, item, order = (np.array(column, np.int32) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    frame = pl.DataFrame(
        {"user": user, "item": item, "order": order}, schema={"user": pl.Int32, "item": pl.Int32, "order": pl.Int32}
    ).select(
        "user",
        "item",
        pl.lit(1.0, pl.Float32).alias("value"),
        pl.lit(None, pl.Int64).alias("time"),
        "order",
    )
    return Interactions(frame, len(sequences), n_items)


def leave_one_out(
    sequences: Sequence[Sequence[int]],
    n_items: int,
    *,
    fit_data: Literal["train", "train+valid"] = "train",
    mask_history: bool = True,
) -> Split:
    """Last item of each sequence tests, last but one validates; users with fewer than three items only train."""
    cut = [2 if len(s) >= 3 else 0 for s in sequences]
    sizes = [len(s) - c for s, c in zip(sequences, cut, strict=True)]
    train = interactions([s[:n] for s, n in zip(sequences, sizes, strict=True)], n_items)
    valid = interactions([s[n : n + 1] for s, n in zip(sequences, sizes, strict=True)], n_items, sizes)
    test = interactions([s[n + 1 :] for s, n in zip(sequences, sizes, strict=True)], n_items, [n + 1 for n in sizes])
    asked = np.flatnonzero(cut).astype(np.int32)
    ids = np.arange(n_items, dtype=np.int32)
    return Split(
        n_users=len(sequences), n_items=n_items, train=train, valid=valid, test=test, fit_data=fit_data,
        mask_history=mask_history, candidates=np.ones(n_items, bool), canonical=ids, item_order=ids,
        asked={"valid": asked, "test": asked}, fingerprint="toy",
    )  # fmt: skip


def impressions(rows: Sequence[tuple[int, Sequence[int], Sequence[int], Sequence[int]]], n_items: int) -> Impressions:
    """Impressions from (user, history, items shown, items clicked)."""
    users, histories, shown, clicked = zip(*rows, strict=True) if rows else ((), (), (), ())
    hits = [item in some for items, some in zip(shown, clicked, strict=True) for item in items]
    asked = Users(np.array(users, np.int32), _rows(histories, n_items))
    return Impressions(asked, _rows(shown, n_items), np.array(hits, bool))


def _rows(sequences: Sequence[Sequence[int]], n_items: int) -> Histories:
    indptr = np.cumsum([0, *map(len, sequences)])
    return Histories(indptr, np.array([item for some in sequences for item in some], np.int32), n_items)


def items(n_items: int) -> Items:
    """A catalogue of numbered items in two alternating categories, with texts that tell the categories apart."""
    kinds = [("animal", "cat dog horse") if i % 2 == 0 else ("tool", "hammer saw drill") for i in range(n_items)]
    return Items(
        pl.DataFrame(
            {
                "raw_id": [str(i) for i in range(n_items)],
                "title": [f"{kind} {i}" for i, (kind, _) in enumerate(kinds)],
                "text": [f"{kind} {i}: {words}" for i, (kind, words) in enumerate(kinds)],
                "categories": [[kind] for kind, _ in kinds],
            }
        )
    )


def checkerboard(n: int = 50) -> Split:
    """implicit's checkerboard: even users take even items, odd users odd ones, but for one item each; order is by id.

    Whoever learns anything from co-occurrence recommends an item of the user's own parity. Each user's test and
    validation items are of that parity.
    """
    rng = np.random.default_rng(0)
    sequences = []
    for user in range(n):
        own = np.arange(user % 2, n, 2)
        sequences.append([int(i) for i in rng.permutation(own)[: len(own) - 3]])
    return leave_one_out(sequences, n)


def rated(
    train: Sequence[tuple[int, int, float]],
    valid: Sequence[tuple[int, int, float]],
    test: Sequence[tuple[int, int, float]],
    n_users: int,
    n_items: int,
    *,
    fit_data: Literal["train", "train+valid"] = "train",
    scale: tuple[float, float] | None = (1.0, 5.0),
    liked: float | None = 4.0,
) -> Split:
    """A split of ratings, each a (user, item, value); a user's ratings are in the order given, train before test."""
    parts, first = [], np.zeros(n_users, np.int32)
    for rows in (train, valid, test):
        frame = pl.DataFrame(
            list(rows), schema={"user": pl.Int32, "item": pl.Int32, "value": pl.Float32}, orient="row"
        ).sort("user", maintain_order=True)
        place = pl.int_range(pl.len(), dtype=pl.Int32).over("user") + pl.lit(first[frame["user"].to_numpy()])
        frame = frame.with_columns(time=pl.lit(None, pl.Int64), order=place)
        first = first + np.bincount(frame["user"].to_numpy(), minlength=n_users).astype(np.int32)
        parts.append(Interactions(frame, n_users, n_items))
    ids = np.arange(n_items, dtype=np.int32)
    asked = [np.unique(part.user).astype(np.int32) for part in parts[1:]]
    return Split(
        n_users=n_users, n_items=n_items, train=parts[0], valid=parts[1], test=parts[2], fit_data=fit_data,
        mask_history=True, candidates=np.ones(n_items, bool), canonical=ids, item_order=ids,
        asked={"valid": asked[0], "test": asked[1]}, fingerprint="toy", scale=scale, liked=liked,
    )  # fmt: skip
