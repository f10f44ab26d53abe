"""Metrics of ratings: against scikit-learn, by hand, and where they are not defined."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, roc_auc_score, root_mean_squared_error

from llmrec.evaluate.ratings import auc, grouped_auc, mae, per_user, rmse

RNG = np.random.default_rng(3)
GIVEN = RNG.integers(1, 6, 5000).astype(np.float64)
CASES = {
    "continuous": RNG.normal(3.5, 1.0, 5000),
    "half stars, many ties": RNG.integers(2, 11, 5000) / 2,
    "constant": np.full(5000, 3.5),
    "perfect": GIVEN.copy(),
    "reversed": 6 - GIVEN,
}


@pytest.mark.parametrize("predicted", CASES.values(), ids=CASES)
def test_agrees_with_scikit_learn(predicted):
    assert rmse(GIVEN, predicted) == pytest.approx(root_mean_squared_error(GIVEN, predicted), abs=1e-12)
    assert mae(GIVEN, predicted) == pytest.approx(mean_absolute_error(GIVEN, predicted), abs=1e-12)
    assert auc(GIVEN >= 4, predicted) == pytest.approx(roc_auc_score(GIVEN >= 4, predicted), abs=1e-12)


@pytest.mark.parametrize("predicted", CASES.values(), ids=CASES)
def test_each_user_agrees_with_scikit_learn(predicted):
    owner = RNG.integers(0, 300, 5000)
    owner[owner == 17] = 18  # nobody is user 17
    errors = per_user(owner, GIVEN, predicted, 301)
    areas = grouped_auc(owner, GIVEN >= 4, predicted, 301)
    for user in range(301):
        own = owner == user
        if not own.any():
            assert np.isnan([errors["rmse"][user], errors["mae"][user], areas[user]]).all()
            continue
        assert errors["rmse"][user] == pytest.approx(root_mean_squared_error(GIVEN[own], predicted[own]), abs=1e-12)
        assert errors["mae"][user] == pytest.approx(mean_absolute_error(GIVEN[own], predicted[own]), abs=1e-12)
        liked = GIVEN[own] >= 4
        if liked.all() or not liked.any():
            assert np.isnan(areas[user])
        else:
            assert areas[user] == pytest.approx(roc_auc_score(liked, predicted[own]), abs=1e-12)


def test_by_hand():
    given, predicted = np.array([5.0, 3.0, 1.0, 4.0]), np.array([4.0, 4.0, 1.0, 2.0])
    assert rmse(given, predicted) == pytest.approx(np.sqrt((1 + 1 + 0 + 4) / 4))
    assert mae(given, predicted) == pytest.approx((1 + 1 + 0 + 2) / 4)
    # liked: 4.0 and 2.0; others: 4.0 and 1.0. Pairs: tie, win, loss, win
    assert auc(given >= 4, predicted) == pytest.approx((0.5 + 1 + 0 + 1) / 4)


def test_the_means_over_pairs_follow_from_the_users_values():
    owner = RNG.integers(0, 40, 5000)
    errors, pairs = per_user(owner, GIVEN, CASES["continuous"], 40), np.bincount(owner, minlength=40)
    assert np.average(errors["mae"], weights=pairs) == pytest.approx(mae(GIVEN, CASES["continuous"]))
    assert np.sqrt(np.average(errors["rmse"] ** 2, weights=pairs)) == pytest.approx(rmse(GIVEN, CASES["continuous"]))


def test_nobody_liked_anything():
    assert np.isnan(auc(np.zeros(3, bool), np.arange(3.0)))
    assert np.isnan(auc(np.ones(3, bool), np.arange(3.0)))
    assert np.isnan(grouped_auc(np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0), 2)).all()


def test_large_users_do_not_overflow():
    n = 200_000  # liked x others is 10^10
    liked = np.arange(n) % 2 == 0
    assert auc(liked, liked.astype(np.float64)) == 1.0
    assert auc(liked, np.zeros(n)) == 0.5
