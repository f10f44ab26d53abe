"""What must hold of the metrics of ratings whatever the ratings and predictions are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from llmrec.evaluate.ratings import auc, grouped_auc, mae, per_user, rmse

USERS = 5


@st.composite
def predictions(draw):
    """Users, ratings in half stars, and predictions on a coarse grid, so that there are ties."""
    n = draw(st.integers(1, 40))
    owner = draw(arrays(np.int64, n, elements=st.integers(0, USERS - 1)))
    stars = draw(arrays(np.int64, n, elements=st.integers(1, 10))) / 2
    predicted = draw(arrays(np.int64, n, elements=st.integers(-4, 24))) / 4
    return owner, stars, predicted


@settings(max_examples=200, deadline=None)
@given(predictions())
def test_errors(case):
    owner, stars, predicted = case
    assert 0 <= mae(stars, predicted) <= rmse(stars, predicted) + 1e-12 <= np.abs(stars - predicted).max() + 2e-12
    assert rmse(stars, stars) == mae(stars, stars) == 0
    users = per_user(owner, stars, predicted, USERS)
    assert np.nanmin(users["mae"]) - 1e-12 <= mae(stars, predicted) <= np.nanmax(users["mae"]) + 1e-12
    assert np.nanmin(users["rmse"]) - 1e-12 <= rmse(stars, predicted) <= np.nanmax(users["rmse"]) + 1e-12


@settings(max_examples=200, deadline=None)
@given(predictions(), st.integers(0, 2**32 - 1))
def test_area(case, seed):
    owner, stars, predicted = case
    liked = stars >= 4
    area = auc(liked, predicted)
    if liked.all() or not liked.any():
        assert np.isnan(area)
        return
    assert 0 <= area <= 1
    assert auc(liked, -predicted) == pytest.approx(1 - area, abs=1e-12)
    assert auc(liked, np.exp(predicted)) == area  # only the order counts
    assert auc(liked, np.zeros(len(liked))) == 0.5
    order = np.random.default_rng(seed).permutation(len(liked))
    assert auc(liked[order], predicted[order]) == area
    within = grouped_auc(owner, liked, predicted, USERS)
    moved = predicted + np.arange(USERS)[owner] * 100.0  # a constant for each user changes nothing within users
    np.testing.assert_array_equal(grouped_auc(owner, liked, moved, USERS), within)
