"""recent-popularity counts the newest events by time; by place in the history where there are no times."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.types import Histories, Users

NOBODY = Users(np.array([0], np.int32), Histories(np.array([0, 0]), np.array([], np.int32), 6))


def scores(train, **params):
    split = dataclasses.replace(toy.leave_one_out([[0, 1, 2]], 6), train=train, n_users=train.n_users)
    method = load_method("recent-popularity")(**params)
    method.fit(split, Context(seed=0, items=toy.items(6)))
    return method.score(NOBODY)[0]


def timed(*events):
    """Interactions from (user, item, time), each user's in order of time."""
    sequences = [[i for u, i, _ in events if u == user] for user in range(3)]
    train = toy.interactions(sequences, 6)
    times = [t for user in range(3) for u, _, t in events if u == user]
    return dataclasses.replace(train, frame=train.frame.with_columns(time=pl.Series(times, dtype=pl.Int64)))


EVENTS = timed((0, 0, 1), (0, 1, 2), (0, 2, 9), (1, 0, 3), (1, 3, 8), (2, 0, 4), (2, 2, 10), (2, 4, 8))


def test_newest_by_time():
    assert scores(EVENTS, share=0.25) == pytest.approx([3e-6, 1e-6, 2 + 2e-6, 1e-6, 1e-6, 0.0], abs=1e-12)


def test_events_of_one_moment_stay_together():
    """Three of eight are asked for; the third newest shares its time with another, so that four count."""
    assert np.round(scores(EVENTS, share=3 / 8)).tolist() == [0, 0, 2, 1, 1, 0]


def test_everything_is_popularity():
    found = scores(EVENTS, share=1.0)
    assert np.argsort(-found, kind="stable").tolist() == np.argsort(-np.bincount(EVENTS.item, minlength=6)).tolist()
    assert np.round(found).tolist() == [3, 1, 2, 1, 1, 0]


def test_without_times_the_newest_of_each_user_count():
    train = toy.interactions([[0, 1, 2, 3], [4, 2], [5]], 6)
    assert np.round(scores(train, share=0.5)).tolist() == [0, 0, 2, 1, 0, 1]
    assert np.round(scores(train, share=0.01)).tolist() == [0, 0, 1, 1, 0, 1]  # at least one each


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_share_out_of_range(share):
    with pytest.raises(ValueError, match="expected a share of the events"):
        scores(EVENTS, share=share)
