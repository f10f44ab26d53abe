"""The metrics of impressions against scikit-learn and the formulas of the MIND challenge, one impression at a time.

The three functions in the middle are what evaluate.py of the challenge (github.com/msnews/MIND) computes, written out.
"""

import numpy as np
import pytest

from llmrec.evaluate.shown import per_impression, place
from llmrec.types import Histories

TOLERANCE = 1e-9


def gain(labels, scores, k):
    best = np.take(labels, np.argsort(scores)[::-1][:k])
    return np.sum((2**best - 1) / np.log2(np.arange(len(best)) + 2))


def mind_ndcg(labels, scores, k):
    return gain(labels, scores, k) / gain(labels, labels, k)


def mind_mrr(labels, scores):
    falling = np.take(labels, np.argsort(scores)[::-1])
    return np.sum(falling / (np.arange(len(falling)) + 1)) / np.sum(falling)


def random_impressions(rng, n, levels=None):
    """n impressions of 2 to 40 candidates with at least one that was clicked and one that was not; ``levels``: scores
    take so many different values only, so they tie."""
    lengths = rng.integers(2, 41, n)
    shown = Histories(np.r_[0, np.cumsum(lengths)], np.zeros(lengths.sum(), np.int32), 1)
    clicked = np.concatenate(
        [rng.permutation(np.arange(length) < rng.integers(1, min(length, 6))) for length in lengths]
    )
    scores = rng.standard_normal(lengths.sum())
    return shown, clicked, scores if levels is None else np.round(scores * levels)


def one_by_one(shown, clicked, scores):
    for start, end in zip(shown.indptr[:-1], shown.indptr[1:], strict=True):
        yield clicked[start:end].astype(int), scores[start:end]


def measured(shown, clicked, scores, **how):
    counts = np.bincount(shown.rows[clicked], minlength=len(shown))
    return per_impression(place(scores, shown, clicked), shown.lengths, counts, **how)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_equal_to_the_challenge_and_to_sklearn_without_ties(dtype):
    from sklearn.metrics import ndcg_score, roc_auc_score

    shown, clicked, scores = random_impressions(np.random.default_rng(0), 500)
    scores = scores.astype(dtype)
    ours = measured(shown, clicked, scores)
    for row, (labels, some) in enumerate(one_by_one(shown, clicked, scores)):
        assert len(set(some)) == len(some)  # no ties
        assert ours["auc"][row] == pytest.approx(roc_auc_score(labels, some), abs=TOLERANCE)
        assert ours["mrr"][row] == pytest.approx(mind_mrr(labels, some), abs=TOLERANCE)
        for k in (5, 10):
            assert ours[f"ndcg@{k}"][row] == pytest.approx(mind_ndcg(labels, some, k), abs=TOLERANCE)
            assert ours[f"ndcg@{k}"][row] == pytest.approx(ndcg_score([labels], [some], k=k), abs=TOLERANCE)


@pytest.mark.parametrize("levels", [2, 0.5])
def test_ties_are_worth_half_in_auc_and_the_worst_order_in_ranks(levels):
    from sklearn.metrics import roc_auc_score

    shown, clicked, scores = random_impressions(np.random.default_rng(1), 300, levels)
    ours = measured(shown, clicked, scores)
    for row, (labels, some) in enumerate(one_by_one(shown, clicked, scores)):
        assert ours["auc"][row] == pytest.approx(roc_auc_score(labels, some), abs=TOLERANCE)
        worst = some - 1e-6 * labels
        assert ours["mrr"][row] == pytest.approx(mind_mrr(labels, worst), abs=TOLERANCE)
        assert ours["ndcg@5"][row] == pytest.approx(mind_ndcg(labels, worst, 5), abs=TOLERANCE)


def test_shuffled_ties_are_sklearns_and_the_mean_over_many_orders():
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(2)
    shown, clicked, scores = random_impressions(rng, 200, 1)
    ours = measured(shown, clicked, scores, shuffled=True)
    for row, (labels, some) in enumerate(one_by_one(shown, clicked, scores)):
        for k in (5, 10):  # scikit-learn averages over the orders of tied candidates too
            assert ours[f"ndcg@{k}"][row] == pytest.approx(ndcg_score([labels], [some], k=k), abs=TOLERANCE)
    orders = [measured(shown, clicked, scores + 1e-6 * rng.random(len(scores))) for _ in range(400)]
    for name in ("auc", "mrr"):
        drawn = np.mean([order[name] for order in orders], axis=0)
        assert ours[name] == pytest.approx(drawn, abs=0.06)
        assert ours[name].mean() == pytest.approx(drawn.mean(), abs=0.003)
