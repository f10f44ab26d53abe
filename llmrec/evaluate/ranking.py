"""From scores of every item to the ranks of the relevant ones and to top-k lists, a cache-sized block at a time.

Both are exact: ties count against the relevant item in its rank, and are broken by the split's priorities in a list.
"""

from __future__ import annotations

import os
from concurrent.futures import Executor
from typing import Any

import numpy as np
import numpy.typing as npt

from llmrec.errors import MethodError
from llmrec.types import NO_ITEM, NOT_RANKED, Floats, Int32, Int64, Split, Targets, Users

BLOCK_BYTES = 4 << 20
"""Scores ranked in one go. Blocks of 1 and of 4 MiB take the same time, within what one run differs from the next."""

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
    groups = max(128, 8 * k)  # see _contend
    width = -(-split.n_items // groups) * groups
    step = max(1, min(BLOCK_BYTES // (width * dtype.itemsize), -(-n_users // threads)))
    closed = np.flatnonzero(~split.candidates)
    starts = iter(range(0, n_users, step))  # shared: a worker that has done a block takes the next
    items = np.full((n_users, 2 * k), NO_ITEM, np.int32)
    best = np.full((n_users, 2 * k), MASKED, dtype)

    def work(_: int) -> None:
        block = np.empty((step, width), dtype)
        flags = np.empty((step, width), bool)
        for start in starts:
            rows = slice(start, min(start + step, n_users))
            size = rows.stop - rows.start
            masked, flag = block[:size], flags[:size]
            _copy_checked(scores[rows], masked, flag, users.ids[rows], name)
            pairs = slice(targets.indptr[rows.start], targets.indptr[rows.stop])
            at = np.repeat(np.arange(size), np.diff(targets.indptr[rows.start : rows.stop + 1])), targets.items[pairs]
            own = masked[at]
            if split.mask_history:
                _mask_histories(masked, users, rows)
            if len(closed):
                masked[:, closed] = MASKED
                own = np.where(split.candidates[at[1]], own, MASKED)
            in_lists = masked[at]  # -inf where the relevant item was seen before: no list may hold it
            masked[at] = MASKED
            before = _before(masked, flag, at[0], own)
            ranks[pairs] = np.where(own == MASKED, NOT_RANKED, 1 + before)
            if k:
                masked[at] = in_lists
                _contend(masked, items[rows], best[rows], groups, split.item_order)

    list(pool.map(work, range(threads)))
    return ranks, *_best_first(items, best, split.item_order)


def thread_count() -> int:
    """Threads for ranking: OMP_NUM_THREADS, which the suite sets for each run, else the cores that we may use."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    if chosen.isdigit():
        return max(1, int(chosen))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def _before(masked: Floats, flags: npt.NDArray[np.bool_], rows: Int64, own: Floats) -> Int64:
    """For each relevant pair (row, score), how many items come before it, int64 [pairs]; rows ascend.

    Those are the row's unmasked items, none of them relevant, that score at least as much, and the row's own relevant
    items with a better score (or with the same, and earlier).
    """
    if len(rows) == len(masked) and (rows == np.arange(len(masked))).all():  # one relevant item a user
        np.greater_equal(masked, own[:, None], out=flags)
        eights = np.bitwise_count(flags.view(np.uint64))  # a true is one bit: four times as fast as counting bytes
        return np.asarray(eights.sum(axis=1, dtype=np.int64))
    pairs = zip(rows.tolist(), own, strict=True)
    others = np.array([np.count_nonzero(masked[row] >= score) for row, score in pairs], np.int64)
    order = np.lexsort((-own, rows))
    position = np.empty(len(rows), np.int64)
    position[order] = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return others + position


def _contend(masked: Floats, items: Int32, best: Floats, groups: int, priority: Int32) -> None:
    """Fill in, for each row, up to 2 k items [b, 2 k] with their scores [b, 2 k], among which are its k best.

    Item i belongs to group i mod ``groups``. The groups' maxima are scores of different items, so the k-th largest of
    them is at most the row's k-th best score. Few groups reach this bound (k if there are no ties), and few items of
    theirs (21 for k = 20 and random scores). Rows where it is otherwise are looked at one by one.
    """
    size, width = masked.shape
    k = items.shape[1] // 2
    members = masked.reshape(size, -1, groups)
    maxima = members.max(axis=1)
    bound = np.sort(maxima, axis=1)[:, groups - k]
    bound = np.maximum(bound, np.finfo(masked.dtype).min)  # in a row of fewer than k items it is -inf: masked ones
    reached = maxima >= bound[:, None]
    crowded = reached.sum(axis=1) > 2 * k
    reached[crowded] = False
    row, group = np.divmod(np.flatnonzero(reached), groups)
    scores = members[row, :, group]  # [groups that reach the bound, members]
    which, member = np.divmod(np.flatnonzero(scores >= bound[row, None]), width // groups)
    scores, row, item = scores[which, member], row[which], group[which] + groups * member
    counts = np.bincount(row, minlength=size)
    if (counts > 2 * k).any():
        crowded |= counts > 2 * k
        kept = ~crowded[row]
        scores, row, item, counts = scores[kept], row[kept], item[kept], np.where(crowded, 0, counts)
    column = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    items[row, column], best[row, column] = item, scores
    for place in np.flatnonzero(crowded):
        chosen = _best_of(masked[place], bound[place], k, priority)
        items[place, :k], best[place, :k] = chosen, masked[place, chosen]


def _best_of(scores: Floats, bound: Any, k: int, priority: Int32) -> Int64:
    """The k best items of a row of which at least k reach ``bound``, ties by priority; in no order."""
    better = np.flatnonzero(scores > bound)
    if len(better) >= k:
        bound = np.partition(scores[better], len(better) - k)[len(better) - k]
        better = better[scores[better] > bound]
    tied = np.flatnonzero(scores == bound)
    missing = k - len(better)
    return np.concatenate([better, tied[np.argpartition(priority[tied], missing - 1)[:missing]]])


def _best_first(items: Int32, scores: Floats, priority: Int32) -> tuple[Int32, Floats]:
    """The first half of each row's items [b, 2 k] and scores by score, ties by priority; NO_ITEM is last, at -inf."""
    k = items.shape[1] // 2
    order = np.argsort(-scores, axis=1)[:, : k + 1]
    rows = np.arange(len(items))[:, None]
    falling = scores[rows, order]
    tied = np.flatnonzero((falling[:, 1:] == falling[:, :-1]).any(axis=1))  # only these need the sort by two keys
    order[tied] = np.lexsort((priority[items[tied]], -scores[tied]))[:, : k + 1]
    return items[rows, order[:, :k]], scores[rows, order[:, :k]]
