"""Lists of items that a method found for requests: checked, and the ranks of the relevant items in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from llmrec.errors import MethodError
from llmrec.types import NO_ITEM, NOT_RANKED, Bools, Floats, Int32, Targets


def check_found(given: Any, texts: Sequence[str], k: int, candidates: Bools, name: str) -> tuple[Int32, Floats]:
    """What ``search`` gave for some requests as ids int32 and scores [b, k], short lists filled up.

    Raises:
        MethodError: wrong shape, type or order, an id that is no candidate's or stands twice in a list, or a score that
            is not finite; names method and request.
    """
    if not isinstance(given, tuple) or len(given) != 2:
        raise MethodError(f"{name}: search() returned {type(given).__name__}; expected two arrays, ids and scores.")
    items, scores = np.asarray(given[0]), np.asarray(given[1])
    if items.ndim != 2 or len(items) != len(texts) or items.shape[1] > k or scores.shape != items.shape:
        raise MethodError(
            f"{name}: search() returned ids of shape {items.shape} and scores of shape {scores.shape} for {len(texts)} "
            f"requests, of which {texts[0]!r} is the first; both should be ({len(texts)}, {k}), or less wide."
        )
    if not np.issubdtype(items.dtype, np.integer) or not np.issubdtype(scores.dtype, np.floating):
        raise MethodError(
            f"{name}: search() returned ids of type {items.dtype} and scores of type {scores.dtype}; ids are integers "
            "and scores floating numbers."
        )
    _check_rows(items, scores, texts, candidates, name)
    missing = ((0, 0), (0, k - items.shape[1]))
    return (
        np.pad(items.astype(np.int32), missing, constant_values=NO_ITEM),
        np.pad(scores.astype(np.result_type(scores.dtype, np.float32)), missing, constant_values=-np.inf),
    )


def _check_rows(items: Any, scores: Floats, texts: Sequence[str], candidates: Bools, name: str) -> None:
    def refuse(wrong: Bools, what: str) -> None:
        if wrong.any():
            row, place = np.argwhere(wrong)[0]
            raise MethodError(
                f"{name}: search() for the request {texts[row]!r}, place {place + 1}: item {items[row, place]}, score "
                f"{scores[row, place]}: {what}."
            )

    there = items != NO_ITEM
    before = np.ones((len(items), 1), bool)
    higher = np.full((len(items), 1), np.inf)
    refuse((items < NO_ITEM) | (items >= len(candidates)), f"item ids go from 0 to {len(candidates) - 1}")
    refuse(there & ~candidates[items], "this item is no candidate; keep to split.candidates")
    refuse(there & ~np.hstack([before, there[:, :-1]]), "an item behind an empty place")
    refuse(there & ~np.isfinite(scores), "an item's score must be finite")
    refuse(~there & ~np.isneginf(scores), "the score of an empty place must be -inf")
    refuse(scores > np.hstack([higher, scores[:, :-1]]), "scores must fall along the list")
    first = np.zeros(items.shape, bool)
    keys = np.arange(len(items))[:, None] * (len(candidates) + 1) + items + 1
    first.reshape(-1)[np.unique(keys, return_index=True)[1]] = True
    refuse(there & ~first, "this item stands twice in the list")


def place_found(items: Int32, scores: Floats, targets: Targets) -> Int32:
    """The place of every relevant item in its list, from 1, in the order of ``targets.items``; NOT_RANKED where it is
    not listed. Of items with one score the relevant ones come last: ties count against the method.

    Args:
        items, scores: [n, k], one row for each row of ``targets``.
    """
    width = int(max(items.max(initial=0), targets.items.max(initial=0))) + 2  # an id, or NO_ITEM, which becomes 0
    listed = np.arange(len(items))[:, None] * width + items + 1  # [n, k]: one number for each (request, item)
    wanted = np.repeat(np.arange(len(targets)), targets.counts) * width + targets.items + 1
    listed = np.take_along_axis(listed, np.lexsort((np.isin(listed, wanted), -scores), axis=1), axis=1)
    ranks = np.full(len(wanted), NOT_RANKED, np.int32)
    order = np.argsort(wanted)
    at = np.searchsorted(wanted, listed, sorter=order)  # [n, k]
    found = at < len(wanted)
    found[found] = wanted[order[at[found]]] == listed[found]
    ranks[order[at[found]]] = np.broadcast_to(np.arange(1, items.shape[1] + 1), items.shape)[found]
    return ranks
