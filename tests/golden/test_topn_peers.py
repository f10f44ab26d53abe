"""Classic methods against other packages on the same split of MovieLens-100K, from the raw events to the figures."""

import numpy as np
import pytest
import scipy.linalg
from threadpoolctl import threadpool_limits

from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.evaluate import answer, per_user

K = 10


@pytest.fixture(scope="module")
def data(split_of):
    return split_of("ml-100k", fit_data="train+valid")


def ours(data, name, **params):
    """Our figures and every user's 10 best."""
    split, items = data
    method = load_method(name)(**params)
    method.fit(split, Context(seed=0, items=items))
    answers = answer(method, split, "test", k=K)
    return float(per_user(answers.ranks, answers.targets)["ndcg@10"].mean()), answers.topk.items, method


def by_peer(data, lists) -> float:
    """ndcg@10 of lists [n_users, 10], with one target a user."""
    targets = data[0].targets("test")
    hit = lists[targets.users] == targets.items[:, None]
    return float((hit / np.log2(np.arange(K) + 2)).sum(axis=1).mean())


def agreement(left, right) -> float:
    """The mean share of items that two lists [n, 10] of the same users have in common."""
    return float(np.mean([len(set(a) & set(b)) / K for a, b in zip(left.tolist(), right.tolist(), strict=True)]))


def test_item_knn_is_implicits(data):
    """implicit's CosineRecommender with all neighbours: each item is its own neighbour there, which its filter of the
    items already liked makes harmless."""
    peer = pytest.importorskip("implicit.nearest_neighbours")
    seen = data[0].fit.matrix().astype(np.float64).tocsr()
    with threadpool_limits(1, "blas"):
        model = peer.CosineRecommender(K=data[0].n_items, num_threads=1)
        model.fit(seen, show_progress=False)
        lists, _ = model.recommend(np.arange(seen.shape[0]), seen, N=K, filter_already_liked_items=True)
    figure, best, _ = ours(data, "item-knn")
    assert agreement(best, lists) > 0.999  # equal scores may stand in either order
    assert figure == pytest.approx(by_peer(data, lists), abs=1e-3)


def test_als_is_bare_implicit(data):
    """The same factors from the same seed; users are answered from the history at hand on both sides."""
    peer = pytest.importorskip("implicit.cpu.als")
    seen = data[0].fit.matrix().astype(np.float32).tocsr()
    seed = Context(seed=0, items=data[1]).seed_for("initialisation") % 2**32
    with threadpool_limits(1, "blas"):
        model = peer.AlternatingLeastSquares(
            factors=32, regularization=10.0, alpha=5.0, iterations=10, num_threads=1, random_state=seed
        )
        model.fit(seen, show_progress=False)
        lists, _ = model.recommend(
            np.arange(seen.shape[0]), seen, N=K, filter_already_liked_items=True, recalculate_user=True
        )
    figure, best, method = ours(data, "als", factors=32, regularization=10.0, alpha=5.0, iterations=10)
    assert np.abs(method.item_factors - model.item_factors).max() < 1e-5
    assert agreement(best, lists) > 0.99
    assert figure == pytest.approx(by_peer(data, lists), abs=2e-3)


def test_ease_is_the_closed_form_by_scipy(data):
    """A general inverse in float64, where we use Cholesky's: the same weights, lists and figure."""
    seen = data[0].fit.matrix().astype(np.float64)
    inverse = scipy.linalg.inv((seen.T @ seen).toarray() + 200.0 * np.eye(data[0].n_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    scores = np.where(seen.toarray() > 0, -np.inf, seen @ weights)
    lists = np.argsort(-scores, axis=1)[:, :K]
    figure, best, method = ours(data, "ease", l2=200.0)
    assert np.abs(method.weights - weights).max() < 1e-10
    assert agreement(best, lists) > 0.9999
    assert figure == pytest.approx(by_peer(data, lists), abs=1e-9)
