"""The fast ways to settle ties and to find first events, beside the plain ones; also in pieces of a few rows."""

import numpy as np
import polars as pl
import pytest

from llmrec.seeds import hash64
from llmrec.split import blocks
from llmrec.split.events import Events, first_of_pairs
from llmrec.split.ties import by_hash


def drawn(seed, n_users, n_items, n_times, n=3000):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, n_users, n).astype(np.int32), rng.integers(0, n_items, n).astype(np.int32)
    time, value = rng.integers(0, n_times, n), rng.integers(1, 6, n).astype(np.float32)
    order = np.lexsort((time, user))
    return user[order], item[order], value[order], time[order]


@pytest.mark.parametrize("block", [4, 50, 1 << 17])
@pytest.mark.parametrize("sizes", [(40, 30, 9), (3, 2, 2), (1, 500, 1), (900, 4, 2000)])
@pytest.mark.parametrize("known", [True, False])
def test_ties_by_hash_are_a_plain_sort_by_all_keys(monkeypatch, block, sizes, known):
    """Two items, two times, five values: equal events of different values are many among (3, 2, 2)."""
    monkeypatch.setattr(blocks, "BLOCK", block)
    user, item, value, time = drawn(0, *sizes)
    if not known:
        time = np.zeros_like(time)
    columns = [pl.Series(column) for column in (user, item, value)]
    rows, source = by_hash(7, *columns, pl.Series(time) if known else None)
    after = np.arange(len(user))
    after[rows] = source
    wanted = np.lexsort((value, item, hash64(7, user, item, time), time, user))
    for column in (user, item, value, time):
        assert (column[after] == column[wanted]).all()
    assert sorted(source) == rows.tolist()


@pytest.mark.parametrize("block", [4, 50, 1 << 17])
@pytest.mark.parametrize("sizes", [(40, 30), (3, 2), (1, 3000), (2900, 2)])
def test_first_of_pairs(monkeypatch, block, sizes):
    monkeypatch.setattr(blocks, "BLOCK", block)
    user, item, *_ = drawn(1, *sizes, 5)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=sizes[0]))]).astype(np.int64)
    events = Events(pl.DataFrame({"user": user, "item": item}), None, indptr, sizes[1], False)
    sides = np.random.default_rng(2).integers(0, 4, len(user)).astype(np.uint8)
    seen, on_side, best = set(), set(), {}
    first, first_on_side = [], []
    for row, (who, what, side) in enumerate(zip(user.tolist(), item.tolist(), sides.tolist(), strict=True)):
        first.append((who, what) not in seen)
        first_on_side.append((who, what, side) not in on_side)
        seen.add((who, what))
        on_side.add((who, what, side))
        best[who, what] = min(best.get((who, what), (9, 0)), (side, row))
    assert first_of_pairs(events).tolist() == first
    assert first_of_pairs(events, sides, each_side=True).tolist() == first_on_side
    assert np.flatnonzero(first_of_pairs(events, sides)).tolist() == sorted(row for _, row in best.values())
