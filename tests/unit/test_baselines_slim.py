"""slim against its optimality conditions, scikit-learn's elastic net on the data themselves, and irspack."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.types import Histories, Users

N_USERS, N_ITEMS = 60, 25
RNG = np.random.default_rng(13)
SEQUENCES = [RNG.permutation(N_ITEMS - 1)[: RNG.integers(5, 15)].tolist() for _ in range(N_USERS)]
SPLIT = toy.leave_one_out(SEQUENCES, N_ITEMS)
X = SPLIT.train.matrix().toarray().astype(np.float64)  # the last item was taken by nobody
EXACT = {"tolerance": 1e-12, "neighbours": 0}


def fitted(**params):
    method = load_method("slim")(**params)
    method.fit(SPLIT, Context(seed=0, items=toy.items(N_ITEMS)))
    return method


def weights(**params):
    return fitted(**params).weights.toarray()


@pytest.fixture(params=["dense", "whole", "sparse"])
def way(request, monkeypatch):
    """The three ways to get at an item's part of the Gram matrix."""
    names = load_method("slim").fit.__globals__
    shares = {"dense": (0.0, 2.0), "whole": (0.0, 0.0), "sparse": (2.0, 2.0)}[request.param]
    monkeypatch.setattr("llmrec.discover.import_method", lambda found, cls=names["Slim"]: cls)
    monkeypatch.setitem(names, "DENSE_FROM", shares[0])
    monkeypatch.setitem(names, "WHOLE_FROM", shares[1])


@pytest.mark.parametrize(("l1", "l2"), [(0.3, 5.0), (2.0, 1.0)])
def test_optimality_conditions(way, l1, l2):
    """Where a weight is over 0 the gradient is 0, elsewhere it does not pull upwards: the problem is convex."""
    found = weights(l1=l1, l2=l2, **EXACT)
    slope = X.T @ X - (X.T @ X) @ found - l2 * found - l1
    np.fill_diagonal(slope, -1.0)
    assert (found >= 0).all() and not np.diag(found).any() and 20 < np.count_nonzero(found) < N_ITEMS**2
    assert np.abs(slope[found > 0]).max() < 1e-4
    assert slope[found == 0].max() < 1e-4


def test_elastic_net_on_the_histories():
    """scikit-learn's own objective is a mean over users, with the item's column left out of the data."""
    l1, l2 = 0.5, 4.0
    found = weights(l1=l1, l2=l2, **EXACT)
    for item in range(0, N_ITEMS, 4):
        others = np.delete(np.arange(N_ITEMS), item)
        penalty = (l1 + l2) / N_USERS
        peer = ElasticNet(
            penalty, l1_ratio=l1 / (l1 + l2), fit_intercept=False, positive=True, tol=1e-12, max_iter=9999
        )
        assert found[others, item] == pytest.approx(peer.fit(X[:, others], X[:, item]).coef_, abs=1e-6)


def test_irspack_agrees():
    irspack = pytest.importorskip("irspack")
    l1, l2 = 0.5, 4.0
    peer = irspack.SLIMRecommender(
        SPLIT.train.matrix().astype(float), alpha=(l1 + l2) / N_USERS, l1_ratio=l1 / (l1 + l2), positive_only=True,
        n_iter=2000, tol=1e-12, n_threads=1,
    ).learn()  # fmt: skip
    assert weights(l1=l1, l2=l2, **EXACT) == pytest.approx(peer.W.toarray(), abs=1e-4)


def test_few_neighbours_are_the_nearest_by_cosine():
    found = weights(l1=0.01, l2=1.0, neighbours=3)
    together, roots = X.T @ X, np.sqrt(np.maximum(X.sum(axis=0), 1.0))
    cosine = together / np.outer(roots, roots)
    np.fill_diagonal(cosine, 0.0)
    for item in range(N_ITEMS):
        used = np.flatnonzero(found[:, item])
        assert len(used) <= 3
        assert not len(used) or cosine[used, item].min() >= np.sort(cosine[:, item])[-3] - 1e-12


def test_a_history_at_hand_is_answered():
    asked = Users(np.array([999], np.int32), Histories(np.array([0, 2]), np.array([3, 4], np.int32), N_ITEMS))
    assert fitted(l1=0.1, l2=1.0).score(asked)[0] == pytest.approx(weights(l1=0.1, l2=1.0)[[3, 4]].sum(axis=0))


def test_penalties_out_of_range():
    with pytest.raises(ValueError, match="expected l1 over 0 and l2 of at least 0"):
        fitted(l1=0.0)


def test_too_little_memory_is_said_before_starting(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 2048})())
    with pytest.raises(MemoryError, match=r"slim with the Gram matrix of 25 items needs 0\.0 GiB"):
        fitted()
