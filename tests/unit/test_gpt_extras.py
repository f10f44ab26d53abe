"""What a history tells beside its items decides what is next where nothing else can."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.gpt.extras import GAPS, gaps_of  # noqa: E402
from llmrec.types import Histories, Interactions, Split, Users  # noqa: E402

USERS = 120
PARAMS: dict[str, Any] = {
    "signal": "random", "codes": 4, "window": 1, "width": 32, "dropout": 0.0, "batch_tokens": 128, "epochs": 30,
    "patience": 99, "learning_rate": 5e-3,
}  # fmt: skip
READS = ("tokens", "items")


def timed(events: Interactions, times: Any) -> Interactions:
    """Events with times[user][order]."""
    rows = zip(events.user.tolist(), events.frame["order"].to_list(), strict=True)
    column = pl.Series("time", [times[user][order] for user, order in rows], pl.Int64)
    return dataclasses.replace(events, frame=events.frame.with_columns(column))


def split() -> Split:
    """Item 0, then 1 or 2: 1 for even users, whose items follow at once, 2 for odd ones, who wait for a day."""
    made = toy.leave_one_out([[3, 0, 1 + u % 2] * 3 for u in range(USERS)], 5, mask_history=False)
    times = [np.arange(9) * (86_400 if u % 2 else 10) for u in range(USERS)]
    return dataclasses.replace(made, train=timed(made.train, times), valid=timed(made.valid, times))


def learnt(**params: Any) -> Any:
    method = load_method("gpt-semantic-id")(**PARAMS | params)
    method.fit(split(), Context(seed=0, items=toy.items(5)))
    return method


def told_apart(method: Any) -> float:
    """Share of users for whom the first item after a 0 is theirs."""
    rows = [[3, 0]] * USERS
    times = np.array([[0, 86_400 if u % 2 else 10] for u in range(USERS)]).ravel()
    histories = Histories(np.arange(USERS + 1) * 2, np.array(rows, np.int32).ravel(), 5, times)
    found = method.generate(Users(np.arange(USERS, dtype=np.int32), histories), 1, False)
    return float((found.items[:, 0] == 1 + np.arange(USERS) % 2).mean())


@pytest.mark.parametrize("read", READS)
def test_a_users_token_tells_users_apart(read):
    assert told_apart(learnt(read=read, user_tokens=2)) == 1.0
    assert told_apart(learnt(read=read)) == 0.5


@pytest.mark.parametrize("read", READS)
def test_gaps_of_time_tell_users_apart(read):
    assert told_apart(learnt(read=read, time_gaps=True)) == 1.0


@pytest.mark.parametrize("read", READS)
def test_answers_do_not_depend_on_who_else_is_asked(read):
    method = learnt(read=read, user_tokens=7, time_gaps=True, search="exact")
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 4, 20)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    times = rng.integers(0, 10**6, indptr[-1])
    histories = Histories(indptr, rng.integers(0, 5, indptr[-1]).astype(np.int32), 5, times)
    users = Users(np.arange(20, dtype=np.int32) + 1000, histories)
    together = method.generate(users, 5, False)
    for row in range(20):
        alone = method.generate(Users(users.ids[[row]], histories.take(np.array([row]))), 5, False)
        assert np.allclose(alone.scores[0], together.scores[row], atol=1e-5)


def test_gaps_are_powers_of_two_and_the_first_has_none():
    times = np.array([50, 50, 51, 53, 57, 40, 40 + 2**30, 7, 2**40], np.int64)
    histories = Histories(np.array([0, 5, 5, 7, 9]), np.zeros(9, np.int32), 1, times)
    assert gaps_of(histories).tolist() == [0, 1, 2, 3, 4, 0, 32, 0, GAPS - 1]


def test_data_without_times_are_refused():
    bare = toy.leave_one_out([[3, 0, 1] * 3 for _ in range(9)], 5)
    with pytest.raises(UserError, match="say nothing of times"):
        load_method("gpt-semantic-id")(**PARAMS, time_gaps=True).fit(bare, Context(seed=0, items=toy.items(5)))
    with pytest.raises(UserError, match="user_tokens = -1"):
        load_method("gpt-semantic-id")(**PARAMS, user_tokens=-1).fit(bare, Context(seed=0, items=toy.items(5)))
