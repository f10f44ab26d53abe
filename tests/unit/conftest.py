"""What the tests of sequence methods share: users that walk one chain of items, and a training that is cut off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.types import Split

Walks = Callable[..., Split]
CutOff = Callable[[Callable[[], Any], Split], tuple[Any, Any]]


@pytest.fixture
def chains() -> Walks:
    """``chains(n_items, n_users)``: every user walks 0, 1, ..., n_items - 1, 0, ... from a random item for a random
    time, so that many histories are longer than a window of 8."""

    def walk(n_items: int, n_users: int = 60) -> Split:
        rng = np.random.default_rng(0)
        starts, lengths = rng.integers(n_items, size=n_users), rng.integers(4, 30, size=n_users)
        return toy.leave_one_out(
            [[(s + i) % n_items for i in range(n)] for s, n in zip(starts, lengths, strict=True)], n_items
        )

    return walk


@pytest.fixture
def cut_off(tmp_path: Path) -> CutOff:
    """``cut_off(make, split)``: a method trained without a break, and one that was killed in its third epoch, after an
    epoch that a checkpoint keeps, and went on from there."""

    class Killed(Exception):
        pass

    class Mortal(Context):
        def rng(self, axis: str, step: int = 0) -> np.random.Generator:
            if step == 2:
                raise Killed
            return super().rng(axis, step)

    def train(make: Callable[[], Any], split: Split) -> tuple[Any, Any]:
        whole, killed, resumed = make(), make(), make()
        items, events = toy.items(split.n_items), []
        whole.fit(split, Context(seed=3, items=items))
        with pytest.raises(Killed):
            killed.fit(split, Mortal(seed=3, items=items, folder=tmp_path))
        resumed.fit(split, Context(seed=3, items=items, folder=tmp_path, emit=events.append))
        assert [event["resumed_at"] for event in events if "resumed_at" in event] == [2]
        return whole, resumed

    return train
