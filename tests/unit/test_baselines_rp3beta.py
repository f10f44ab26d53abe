"""rp3beta against a walk by dense matrices, and against irspack where it is installed."""

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.types import Histories, Users

N_USERS, N_ITEMS = 60, 25
RNG = np.random.default_rng(12)
SEQUENCES = [RNG.permutation(N_ITEMS - 1)[: RNG.integers(5, 15)].tolist() for _ in range(N_USERS)]
SPLIT = toy.leave_one_out(SEQUENCES, N_ITEMS)
TRAIN = [items[:-2] for items in SEQUENCES]
X = np.zeros((N_USERS, N_ITEMS))  # the last item was taken by nobody
for _user, _items in enumerate(TRAIN):
    X[_user, _items] = 1.0
ALL = Users(
    np.arange(N_USERS, dtype=np.int32),
    Histories(np.cumsum([0, *map(len, TRAIN)]), np.concatenate(TRAIN).astype(np.int32), N_ITEMS),
)


def fitted(**params):
    method = load_method("rp3beta")(**params)
    method.fit(SPLIT, Context(seed=0, items=toy.items(N_ITEMS)))
    return method


def walk(alpha: float, beta: float, neighbours: int = 0):
    """The method's formula with dense matrices, float64 [n_users, n_items]."""
    users_of = np.maximum(X.sum(axis=0), 1.0)
    from_item, from_user = (X / users_of).T, X / X.sum(axis=1, keepdims=True)
    steps = from_item**alpha @ from_user**alpha / users_of**beta
    np.fill_diagonal(steps, 0.0)
    for row in steps:
        if neighbours:
            row[np.argsort(-row, kind="stable")[neighbours:]] = 0.0
    return from_user**alpha @ steps


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.6, 0.5), (1.7, 1.0)])
@pytest.mark.parametrize("neighbours", [0, 6])
def test_dense_walk(alpha, beta, neighbours):
    ours = fitted(alpha=alpha, beta=beta, neighbours=neighbours).score(ALL)
    assert ours == pytest.approx(walk(alpha, beta, neighbours), abs=1e-12)


def test_three_steps_are_a_probability():
    """alpha = 1 and beta = 0, with the steps back to where they came from: each user's probabilities add up to 1."""
    back = (X / X.sum(axis=1, keepdims=True)) @ np.diag(
        ((X / np.maximum(X.sum(axis=0), 1)).T * (X / X.sum(axis=1, keepdims=True)).T).sum(axis=1)
    )
    assert (fitted(alpha=1.0, beta=0.0).score(ALL) + back).sum(axis=1) == pytest.approx(np.ones(N_USERS))


def test_blocks_do_not_matter(monkeypatch):
    method = fitted(neighbours=6)
    monkeypatch.setitem(type(method).fit.__globals__, "BLOCK", 7)
    method.fit(SPLIT, Context(seed=0, items=toy.items(N_ITEMS)))
    assert (method.score(ALL) == fitted(neighbours=6).score(ALL)).all()


@pytest.mark.parametrize("beta", [0.0, 0.6])
def test_irspack_agrees(beta):
    """With alpha = 1: theirs is a power of the data, which does nothing to ones, not of the probabilities."""
    irspack = pytest.importorskip("irspack")
    peer = irspack.RP3betaRecommender(SPLIT.train.matrix().astype(float), beta=beta, top_k=N_ITEMS, n_threads=1).learn()
    theirs = X @ np.asarray(peer.W.toarray())
    ours = fitted(alpha=1.0, beta=beta).score(ALL)
    unseen = X == 0
    for user in range(N_USERS):  # per user: theirs does not divide by the length of the history
        scale = ours[user, unseen[user]] / np.where(theirs[user, unseen[user]] > 0, theirs[user, unseen[user]], 1.0)
        scale = scale[theirs[user, unseen[user]] > 0]
        assert scale == pytest.approx(np.full(len(scale), scale[0]), rel=1e-6)
