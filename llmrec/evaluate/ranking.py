"""From scores of every item to the ranks of the relevant ones and to top-k lists, a cache-sized block at a time.

Both are exact: ties count against the relevant item in its rank, and are broken by the split's priorities in a list.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import MethodError
from llmrec.types import NO_ITEM, NOT_RANKED, Floats, Int32, Int64, Split, Targets, Users

BLOCK_BYTES = 1 << 20
"""Scores ranked in one go; about one core's second-level cache, which the passes over a block then stay in."""

MASKED = -np.inf
"""Below every score that a method may give."""


def rank_scores(
    scores: Floats, users: Users, targets: Targets, split: Split, k: int, name: str, pool: Executor, threads: int
) -> tuple[Int32, Int32, Floats]:
    """Ranks of the relevant items, and the k best items with their scores.

    Seen items (if the split masks them) and items outside the candidates are left out; a relevant item is ranked even
    if it was seen before. rank = 1 + unmasked items that are not relevant and score at least as high + the user's own
    relevant items before it. A relevant item outside the candidates gets NOT_RANKED.

    Args:
        scores: [b, n_items], left as it is.
        k: length of the lists; 0 for none.
        name: the method's, for errors.

    Returns:
        ranks int32 [relevant pairs], items int32 [b, k] and scores [b, k]; NO_ITEM and -inf fill short lists.

    Raises:
        MethodError: a score is not finite.
    """
    n_users = len(users)
    dtype = np.result_type(scores.dtype, np.float32)  # counts become float64; nothing loses precision
    ranks = np.empty(len(targets.items), np.int32)
    items = np.full((n_users, k), NO_ITEM, np.int32)
    best = np.full((n_users, k), MASKED, dtype)
    columns = max(128, 8 * k)  # see _top_k
    width = -(-split.n_items // columns) * columns
    step = max(1, min(BLOCK_BYTES // (width * dtype.itemsize), -(-n_users // threads)))
    closed = np.flatnonzero(~split.candidates)
    starts = count(0, step)  # next() is atomic: each worker takes the next block when it has done its last

    def work(_: int) -> None:
        block = np.empty((step, width), dtype)
        flags = np.empty((step, width), bool)
        for start in _until(starts, n_users):
            rows = slice(start, min(start + step, n_users))
            size = rows.stop - rows.start
            masked, flag = block[:size], flags[:size]
            _copy_checked(scores[rows], masked, flag, users.ids[rows], name)
            pairs = slice(targets.indptr[rows.start], targets.indptr[rows.stop])
            at = np.repeat(np.arange(size), np.diff(targets.indptr[rows.start : rows.stop + 1])), targets.items[pairs]
            own = masked[at]
            if split.mask_history:
                _mask_histories(masked, users, rows)
            masked[:, closed] = MASKED
            own = np.where(split.candidates[at[1]], own, MASKED)
            in_lists = masked[at]  # -inf where the relevant item was seen before: no list may hold it
            masked[at] = MASKED
            found = 1 + _at_least(masked, flag, at[0], own) + _own_position(at[0], own)
            ranks[pairs] = np.where(own == MASKED, NOT_RANKED, found)
            if k:
                masked[at] = in_lists
                items[rows], best[rows] = _top_k(masked, flag, k, columns, split.item_order)

    list(pool.map(work, range(threads)))
    return ranks, items, best


def thread_count() -> int:
    """Threads for ranking: OMP_NUM_THREADS, which the suite sets for each run, else the cores that we may use."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(chosen)) if chosen.isdigit() else len(os.sched_getaffinity(0))


def _until(starts: Iterator[int], end: int) -> Iterator[int]:
    while (start := next(starts)) < end:
        yield start


def _copy_checked(scores: Floats, out: Floats, flags: npt.NDArray[np.bool_], ids: Int32, name: str) -> None:
    """Copy (the method may still need its array) and refuse what is not finite; the padding on the right is masked."""
    n_items = scores.shape[1]
    out[:, :n_items] = scores
    out[:, n_items:] = MASKED
    finite = np.isfinite(out[:, :n_items], out=flags[:, :n_items])
    if not finite.all():
        row, item = np.argwhere(~finite)[0]
        raise MethodError(
            f"{name}: the score of item {item} for user {ids[row]} is {scores[row, item]}; every score must be finite."
        )


def _mask_histories(masked: Floats, users: Users, rows: slice) -> None:
    indptr = users.histories.indptr[rows.start : rows.stop + 1]
    seen = users.histories.items[indptr[0] : indptr[-1]]
    offsets = np.arange(0, masked.size, masked.shape[1])
    masked.reshape(-1)[np.repeat(offsets, np.diff(indptr)) + seen] = MASKED


def _at_least(masked: Floats, flags: npt.NDArray[np.bool_], rows: Int64, own: Floats) -> Int64:
    """For each pair (row, score), how many items of the row score at least that much, int64 [pairs]."""
    if len(rows) == len(masked) and (rows == np.arange(len(masked))).all():  # one relevant item a user
        np.greater_equal(masked, own[:, None], out=flags)
        eights = np.bitwise_count(flags.view(np.uint64))  # a true is one bit: four times as fast as counting bytes
        return np.asarray(eights.sum(axis=1, dtype=np.int64))
    pairs = zip(rows.tolist(), own, strict=True)
    return np.array([np.count_nonzero(masked[row] >= score) for row, score in pairs], np.int64)


def _own_position(rows: Int64, own: Floats) -> Int64:
    """How many of the same row's relevant items come before each, best score first, int64 [pairs]; rows ascend."""
    order = np.lexsort((-own, rows))
    position = np.empty(len(rows), np.int64)
    position[order] = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return position


def _top_k(masked: Floats, flags: npt.NDArray[np.bool_], k: int, columns: int, priority: Int32) -> tuple[Int32, Floats]:
    """The k best of each row, ties by priority: items int32 [b, k] and scores [b, k].

    The maxima of ``columns`` groups of items hold k different items, so their k-th largest bounds the row's k-th
    largest score from below. Few items reach it (21 for k = 20 and random scores), and only those are sorted.
    """
    size, width = masked.shape
    maxima = masked.reshape(size, -1, columns).max(axis=1)
    floor = np.partition(maxima, columns - k, axis=1)[:, columns - k]
    floor = np.maximum(floor, np.finfo(masked.dtype).min)  # a short row's bound is -inf, which the masked items reach
    np.greater_equal(masked, floor[:, None], out=flags)
    rows, items = np.divmod(np.flatnonzero(flags), width)
    counts = np.bincount(rows, minlength=size)
    ends = np.cumsum(counts)
    many = np.flatnonzero(counts > 4 * k)
    if len(many):  # rows full of ties, or with their best items in few groups
        picks = np.split(items, ends[:-1])
        for row in many:
            picks[row] = _trim(masked[row], picks[row], floor[row], k, priority)
        items, counts = np.concatenate(picks), np.array([len(p) for p in picks])
        rows, ends = np.repeat(np.arange(size), counts), np.cumsum(counts)
    found = np.full((size, max(k, int(counts.max()))), NO_ITEM)
    found[rows, np.arange(len(rows)) - np.repeat(ends - counts, counts)] = items
    scores = np.where(found == NO_ITEM, MASKED, np.take_along_axis(masked, found, axis=1))
    order = np.lexsort((priority[found], -scores))[:, :k]
    best = np.take_along_axis(found, order, axis=1)
    return best.astype(np.int32), np.take_along_axis(scores, order, axis=1)


def _trim(scores: Floats, items: Int64, floor: Any, k: int, priority: Int32) -> Int64:
    """The k best among ``items``, all of which score at least ``floor``, ties by priority; in no order."""
    own = scores[items]
    if np.count_nonzero(own > floor) >= k:
        floor = np.partition(own, len(own) - k)[len(own) - k]
    better, tied = items[own > floor], items[own == floor]
    missing = k - len(better)
    if len(tied) > missing:
        tied = tied[np.argpartition(priority[tied], missing - 1)[:missing]]
    return np.concatenate([better, tied])
