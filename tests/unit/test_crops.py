"""Windows that are cut at a random place."""

from __future__ import annotations

import numpy as np
import pytest

from llmrec.sequence.crops import crop


def windows(*sizes: int) -> np.ndarray:
    return np.array([[*range(size), *[-1] * (6 - size)] for size in sizes])


def test_ends_are_drawn_evenly_from_the_second_item_on() -> None:
    whole = windows(*[6] * 5000)
    cut, drawn = crop(whole, 1.0, np.random.default_rng(0))
    sizes = (cut >= 0).sum(axis=1)
    assert drawn.all() and np.array_equal(cut[cut >= 0], whole[np.arange(6) < sizes[:, None]])  # prefixes
    assert np.bincount(sizes, minlength=7) == pytest.approx([0, 0, 1000, 1000, 1000, 1000, 1000], abs=120)


def test_only_those_drawn_are_cut_and_none_to_nothing() -> None:
    whole = windows(*[0, 1, 2, 3, 6] * 800)
    cut, drawn = crop(whole, 0.3, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(0.3, abs=0.02)
    assert np.array_equal(cut[~drawn], whole[~drawn])
    before, after = (whole >= 0).sum(axis=1), (cut >= 0).sum(axis=1)
    assert (after[before <= 2] == before[before <= 2]).all() and (after >= np.minimum(before, 2)).all()
    untouched, none = crop(whole, 0.0, np.random.default_rng(0))
    assert np.array_equal(untouched, whole) and not none.any()
