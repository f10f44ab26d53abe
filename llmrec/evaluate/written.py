"""From the lists that a generative method wrote to clean top-k lists and the ranks of the relevant items."""

from __future__ import annotations

import numpy as np

from llmrec.errors import MethodError
from llmrec.types import NO_ITEM, NOT_RANKED, Floats, Generated, Int32, Int64, Split, Targets, Users

COUNTED = ("invalid", "duplicate", "out_of_catalogue")
"""Kinds of answers that a generative method threw away itself; ``masked`` are those that the harness had to remove."""


def clean_lists(
    generated: Generated, users: Users, split: Split, k: int, name: str
) -> tuple[Int32, Floats, dict[str, int]]:
    """The lists without repeated items, items outside the candidates and (if the split masks them) seen items.

    Returns:
        items int32 [b, k] and scores [b, k], NO_ITEM and -inf at the end of short lists; and the counts of answers
        written, invalid, duplicate, out of the catalogue, and masked (seen or no candidate).

    Raises:
        MethodError: wrong shape, ids out of range, or a score that is not a number.
    """
    items, scores = _checked(generated, users, split, k, name)
    rows = np.arange(len(users))
    filled = items != NO_ITEM
    keys = rows[:, None] * split.n_items + items  # one number for each (user, item)
    first = np.zeros(items.shape, bool)
    first.reshape(-1)[np.unique(np.where(filled, keys, -1), return_index=True)[1]] = True
    open_ = split.candidates[items]
    if split.mask_history:
        histories = users.histories
        open_ &= ~np.isin(keys, histories.rows * split.n_items + histories.items)
    counts = {kind: int(getattr(generated, kind).sum()) for kind in (*COUNTED, "written")}
    counts["duplicate"] += int((filled & ~first).sum())
    counts["masked"] = int((filled & first & ~open_).sum())
    kept = filled & first & open_
    order = np.argsort(~kept, axis=1, kind="stable")[:, :k]  # what stays moves up, in the method's order
    items, scores, kept = (np.take_along_axis(array, order, axis=1) for array in (items, scores, kept))
    return np.where(kept, items, NO_ITEM).astype(np.int32), np.where(kept, scores, -np.inf), counts


def rank_lists(items: Int32, targets: Targets) -> Int32:
    """Each relevant item's position in its user's list, from 1; NOT_RANKED where it is not listed; int32 [pairs]."""
    rows = np.repeat(np.arange(len(targets)), targets.counts)
    places = items[rows] == targets.items[:, None]
    return np.where(places.any(axis=1), places.argmax(axis=1) + 1, NOT_RANKED).astype(np.int32)


def rates(counts: dict[str, int]) -> dict[str, float]:
    """Counts as shares of all answers written, e.g. ``invalid_rate``; empty when nothing was written."""
    written = counts.get("written", 0)
    return {f"{kind}_rate": counts[kind] / written for kind in (*COUNTED, "masked")} if written else {}


def _checked(generated: Generated, users: Users, split: Split, k: int, name: str) -> tuple[Int64, Floats]:
    """Items int64 [b, k] and scores [b, k], padded to k."""
    items, scores = np.asarray(generated.items), np.asarray(generated.scores)
    if items.ndim != 2 or len(items) != len(users) or items.shape[1] > k or scores.shape != items.shape:
        raise MethodError(
            f"{name}: generate() returned items of shape {items.shape} and scores of shape {scores.shape}; "
            f"both should be ({len(users)}, {k})."
        )
    if not np.issubdtype(items.dtype, np.integer):
        raise MethodError(f"{name}: generate() returned items of type {items.dtype}; item ids are integers.")
    wrong = np.argwhere((items < NO_ITEM) | (items >= split.n_items))
    if len(wrong):
        row, place = wrong[0]
        raise MethodError(
            f"{name}: generate() listed item {items[row, place]} for user {users.ids[row]}; item ids go from 0 to "
            f"{split.n_items - 1}, and {NO_ITEM} stands for no answer."
        )
    if np.isnan(scores[items != NO_ITEM]).any():
        row = np.argwhere(np.isnan(scores) & (items != NO_ITEM))[0][0]
        raise MethodError(f"{name}: generate() gave a score that is not a number to user {users.ids[row]}.")
    for kind in (*COUNTED, "written"):
        if np.shape(getattr(generated, kind)) != (len(users),):
            raise MethodError(f"{name}: generate() returned {kind} of another shape than ({len(users)},).")
    missing = ((0, 0), (0, k - items.shape[1]))
    return (
        np.pad(items.astype(np.int64), missing, constant_values=NO_ITEM),
        np.pad(scores.astype(np.result_type(scores.dtype, np.float32)), missing, constant_values=-np.inf),
    )
