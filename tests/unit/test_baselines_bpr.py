"""bpr against implicit's own run, and the early stopping that implicit does not have."""

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.types import Histories, Users

pytest.importorskip("implicit")

SPLIT = toy.checkerboard(40)
NOBODY = toy.leave_one_out([*([int(i) for i in SPLIT.train.histories[u]] for u in range(40)), []], 40)
PARAMS = {"factors": 8, "learning_rate": 0.05, "regularization": 0.002}


def fitted(split=SPLIT, seed=0, epochs=None, validate=None, **params):
    ctx = Context(seed=seed, items=toy.items(40), epochs=epochs, validate=validate)
    events = []
    ctx.emit = events.append
    method = load_method("bpr")(**PARAMS, **params)
    method.fit(split, ctx)
    return method, ctx, events


def asking(*ids) -> Users:
    return Users(np.array(ids, np.int32), Histories(np.zeros(len(ids) + 1, np.int64), np.empty(0, np.int32), 40))


def test_bpr_is_implicits(monkeypatch):
    """The same factors to the last bit, whatever the number of threads; another seed gives others."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    method, ctx, _ = fitted(epochs=7)
    peer = BayesianPersonalizedRanking(
        **PARAMS, iterations=7, num_threads=1, random_state=ctx.seed_for("initialisation") % 2**32
    )
    peer.fit(SPLIT.train.matrix(), show_progress=False)
    assert (method.user_factors == peer.user_factors).all() and (method.item_factors == peer.item_factors).all()
    assert method.score(asking(3, 1)) == pytest.approx(peer.user_factors[[3, 1]] @ peer.item_factors.T)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (fitted(epochs=7)[0].item_factors == method.item_factors).all()
    assert (fitted(epochs=7, seed=1)[0].item_factors != method.item_factors).any()


def test_the_best_epoch_is_kept():
    """Validation that is best at epoch 3: training ends ``patience`` epochs later, with the factors of epoch 3."""
    figures = iter([0.1, 0.2, 0.5, 0.4, 0.5, 0.3, 0.9])
    method, ctx, events = fitted(validate=lambda _: {"ndcg@10": next(figures)}, patience=3)
    assert ctx.chosen_epochs == 3
    assert [event["epoch"] for event in events] == [1, 2, 3, 4, 5, 6]
    refit, again, _ = fitted(epochs=3)
    assert (method.item_factors == refit.item_factors).all() and again.chosen_epochs == 3


def test_a_user_unknown_to_training_is_answered_by_the_items_biases():
    method, _, _ = fitted(NOBODY, epochs=5)
    assert (method.score(asking(40))[0] == method.item_factors[:, -1]).all()
    assert np.isfinite(method.score(asking(0, 40))).all()
