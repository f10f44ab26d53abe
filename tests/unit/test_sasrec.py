"""SASRec: it learns a deterministic chain, resumes bitwise, and each item of a history is a target exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.types import Histories, Split, Users  # noqa: E402

N_ITEMS = 20
CHAIN = np.random.default_rng(1).permutation(N_ITEMS)  # what follows item i


def sasrec(**params: Any) -> Any:
    return load_method("sasrec")(**params)


def users(*histories: list[int], n_items: int = N_ITEMS) -> Users:
    indptr = np.cumsum([0, *map(len, histories)])
    items = np.array([i for h in histories for i in h], np.int32)
    return Users(np.arange(len(histories), dtype=np.int32), Histories(indptr, items, n_items))


def chains(n_users: int = 60) -> Split:
    """Every user walks the one chain, from a random item and for a random time."""
    rng = np.random.default_rng(0)
    sequences = []
    for _ in range(n_users):
        walk = [int(rng.integers(N_ITEMS))]
        for _ in range(rng.integers(3, 30)):
            walk.append(int(CHAIN[walk[-1]]))
        sequences.append(walk)
    return toy.leave_one_out(sequences, N_ITEMS)


@pytest.mark.parametrize("loss", ["cross-entropy", "bce"])
def test_learns_a_deterministic_chain(loss: str) -> None:
    """Also with histories longer than the window, so that windows, shifts and positions must all be right."""
    split = chains()
    method = sasrec(
        length=8, width=32, epochs=40, learning_rate=5e-3, batch_size=32, dropout=0.0, loss=loss, negatives=5
    )
    method.fit(split, Context(seed=0, items=toy.items(N_ITEMS)))
    for asked, wanted in split.batches("test", 100):
        assert (method.score(asked).argmax(1) == wanted.items).mean() > 0.99


@pytest.mark.parametrize("length", [1, 4, 7, 50])
def test_each_item_of_a_history_is_a_target_once_and_follows_its_input(length: int) -> None:
    sequences = [[], [3], [], [4, 5, 6, 7], [1, 2] * 11, []]
    histories = toy.interactions(sequences, N_ITEMS).histories
    method = sasrec(length=length, batch_size=2)
    method.n_items, method.device = N_ITEMS, "cpu"
    for epoch in range(5):
        pairs: list[tuple[int, int]] = []
        for inputs, targets in method.batches(histories, np.random.default_rng(epoch)):
            assert inputs.shape == targets.shape and inputs.shape[1] <= length
            there = targets >= 0
            assert (there[:, 1:] <= there[:, :-1]).all()  # padding is on the right
            pairs += zip(inputs[there].tolist(), targets[there].tolist(), strict=True)
        expected = [(before, item) for s in sequences for before, item in zip([N_ITEMS, *s], s, strict=False)]
        assert sorted(pairs) == sorted(expected)


def test_windows_are_cut_elsewhere_in_each_epoch() -> None:
    histories = toy.interactions([list(range(10))], N_ITEMS).histories
    method = sasrec(length=8)
    method.n_items, method.device = N_ITEMS, "cpu"
    cuts = {tuple(next(method.batches(histories, np.random.default_rng(e)))[0][:, 0].tolist()) for e in range(30)}
    assert len(cuts) > 3


def test_resumed_run_gives_the_same_scores(tmp_path: Path) -> None:
    """Ended in its third epoch, after an epoch that a checkpoint keeps."""
    split, asked, items = chains(), users([1, 2, 3], [4], []), toy.items(N_ITEMS)
    params = {"length": 8, "width": 16, "dropout": 0.3, "batch_size": 16, "epochs": 4}
    whole = sasrec(**params)
    whole.fit(split, Context(seed=3, items=items))

    class Killed(Exception):
        pass

    class Mortal(Context):
        def rng(self, axis: str, step: int = 0) -> np.random.Generator:
            if step == 2:
                raise Killed
            return super().rng(axis, step)

    with pytest.raises(Killed):
        sasrec(**params).fit(split, Mortal(seed=3, items=items, folder=tmp_path))
    events: list[dict[str, Any]] = []
    resumed = sasrec(**params)
    resumed.fit(split, Context(seed=3, items=items, folder=tmp_path, emit=events.append))
    assert events[0]["resumed_at"] == 2
    assert np.array_equal(resumed.score(asked), whole.score(asked))


def test_scores_do_not_depend_on_who_else_is_in_the_batch() -> None:
    method = sasrec(epochs=1, length=8)
    method.fit(chains(), Context(seed=0, items=toy.items(N_ITEMS)))
    histories = [[], [1], [2, 3], list(range(7)), list(range(8)), list(range(20))]
    together = method.score(users(*histories))
    alone = np.concatenate([method.score(users(h)) for h in histories])
    assert together.dtype == np.float32 and together.shape == (6, N_ITEMS)
    assert np.abs(together - alone).max() <= 1e-5 * np.abs(together).max()


def test_older_items_than_the_window_change_nothing_and_order_matters() -> None:
    method = sasrec(epochs=1, length=4)
    method.fit(chains(), Context(seed=0, items=toy.items(N_ITEMS)))
    a, b, c = method.score(users([9, 1, 2, 3, 4], [8, 8, 1, 2, 3, 4], [4, 3, 2, 1]))
    assert np.array_equal(a, b) and not np.allclose(a, c)


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(UserError, match="Did you mean 'cross-entropy'"):
        sasrec(loss="crossentropy")
    with pytest.raises(UserError, match="no multiple of heads"):
        sasrec(width=10, heads=3)
