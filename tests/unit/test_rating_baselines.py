"""The rating baselines against independent computation: least squares by LSQR, damped means and gradients by loops."""

import math

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import lsqr

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method

USERS, ITEMS = 30, 25
RNG = np.random.default_rng(11)
PAIRS = RNG.permutation((USERS - 1) * (ITEMS - 1))[:400]  # the last user and the last item have no rating
ROWS = [(int(p // (ITEMS - 1)), int(p % (ITEMS - 1)), float(RNG.integers(1, 6))) for p in PAIRS]
SPLIT = toy.rated(ROWS[:360], ROWS[360:380], ROWS[380:], USERS, ITEMS)
BOTH = toy.rated(ROWS[:360], ROWS[360:380], ROWS[380:], USERS, ITEMS, fit_data="train+valid")
USER, ITEM = (np.array(column, np.int32) for column in list(zip(*ROWS[:360], strict=True))[:2])
VALUE = np.array([value for _, _, value in ROWS[:360]])
ALL = [axis.reshape(-1).astype(np.int32) for axis in np.mgrid[:USERS, :ITEMS]]
NAMES = ["global-mean", "user-item-bias", "biased-mf"]


def fitted(name, split=SPLIT, seed=0, **params):
    if name == "biased-mf":
        pytest.importorskip("surprise")
    method = load_method(name)(**params)
    method.fit(split, Context(seed=seed, items=toy.items(ITEMS)))
    return method


def table(method):
    return method.predict(*ALL).reshape(USERS, ITEMS)


@pytest.mark.parametrize("name", NAMES)
def test_everybody_and_everything_is_answered(name):
    """Users and items without a rating too; and no answer depends on what else is asked."""
    method = fitted(name)
    whole = table(method)
    assert np.isfinite(whole).all()
    alone = [method.predict(np.array([u], np.int32), np.array([i], np.int32))[0] for u, i in ((0, 0), (USERS - 1, 3))]
    assert alone == pytest.approx([whole[0, 0], whole[USERS - 1, 3]], rel=1e-12)
    assert method.predict(np.zeros(0, np.int32), np.zeros(0, np.int32)).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_a_stranger_with_a_new_item_gets_the_mean(name):
    assert table(fitted(name))[-1, -1] == pytest.approx(VALUE.mean(), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_the_validation_part_is_learnt_from_where_the_protocol_says_so(name):
    assert table(fitted(name, BOTH))[-1, -1] == pytest.approx(np.mean([v for _, _, v in ROWS[:380]]), abs=1e-12)


@pytest.mark.parametrize("damping", [(5.0, 2.0), (0.5, 30.0), (15.0, 10.0)])
def test_biases_are_the_least_squares_solution(damping):
    n, design = len(VALUE), np.arange(len(VALUE))
    x = scipy.sparse.csr_matrix(
        (np.ones(2 * n), (np.r_[design, design], np.r_[USER, USERS + ITEM])), (n, USERS + ITEMS)
    )
    penalty = scipy.sparse.diags(np.sqrt(np.r_[np.full(USERS, damping[0]), np.full(ITEMS, damping[1])]))
    goal = np.r_[VALUE - VALUE.mean(), np.zeros(USERS + ITEMS)]
    solution = lsqr(scipy.sparse.vstack([x, penalty]).tocsr(), goal, atol=1e-14, btol=1e-14, iter_lim=10_000)[0]
    method = fitted("user-item-bias", user_damping=damping[0], item_damping=damping[1])
    assert np.r_[method.user, method.item] == pytest.approx(solution, abs=1e-8)


@pytest.mark.parametrize(("biases", "of", "n"), [("user", USER, USERS), ("item", ITEM, ITEMS)])
@pytest.mark.parametrize("damping", [0.0, 3.0])
def test_one_bias_alone_is_a_damped_mean(biases, of, n, damping):
    whole = table(fitted("user-item-bias", biases=biases, user_damping=damping, item_damping=damping))
    for one in range(n):
        own = VALUE[of == one] - VALUE.mean()
        bias = own.sum() / (len(own) + damping) if len(own) else 0.0
        line = whole[one] if biases == "user" else whole[:, one]
        assert line == pytest.approx(VALUE.mean() + bias, abs=1e-12)


def test_biased_mf_is_gradient_descent_from_its_factors():
    """Surprise's steps by a loop: the same order, the same start, so the same numbers."""
    rate, penalty, epochs, factors = 0.01, 0.05, 7, 4
    context = Context(seed=3, items=toy.items(ITEMS))
    seed = context.seed_for("initialisation") % 2**32
    start = np.random.RandomState(seed)  # what Surprise draws from
    p, q = start.normal(0, 0.1, (USERS, factors)), start.normal(0, 0.1, (ITEMS, factors))
    b, c = np.zeros(USERS), np.zeros(ITEMS)
    frame = SPLIT.train.frame
    for _ in range(epochs):
        for u, i, r in frame.select("user", "item", "value").iter_rows():
            error = r - (VALUE.mean() + b[u] + c[i] + math.fsum(p[u] * q[i]))
            b[u] += rate * (error - penalty * b[u])
            c[i] += rate * (error - penalty * c[i])
            p[u], q[i] = p[u] + rate * (error * q[i] - penalty * p[u]), q[i] + rate * (error * p[u] - penalty * q[i])
    params = {"factors": factors, "epochs": epochs, "learning_rate": rate, "regularization": penalty}
    whole = table(fitted("biased-mf", seed=3, **params))
    expected = VALUE.mean() + b[:, None] + c + p @ q.T
    assert whole[:-1, :-1] == pytest.approx(expected[:-1, :-1], abs=1e-9)
    assert whole[-1, :-1] == pytest.approx(VALUE.mean() + c[:-1], abs=1e-9)  # the stranger's factors count for nothing
    assert whole[:-1, -1] == pytest.approx(VALUE.mean() + b[:-1], abs=1e-9)


def test_biased_mf_follows_its_seed_and_nothing_else():
    one = table(fitted("biased-mf"))
    np.random.seed(9)  # noqa: NPY002
    np.testing.assert_array_equal(one, table(fitted("biased-mf")))
    assert (one != table(fitted("biased-mf", seed=1))).any()


def test_biased_mf_finds_what_biases_cannot_say():
    """Even users like even items, odd ones odd: all means are equal, so biases know nothing and factors all of it."""
    rows = [(u, i, 5.0 if u % 2 == i % 2 else 1.0) for u in range(USERS) for i in range(ITEMS - 1)]
    held = [row for row in rows if (row[0] + 3 * row[1]) % 7 == 0]
    split = toy.rated([row for row in rows if row not in held], [], held, USERS, ITEMS)
    users, items, values = (np.array(column) for column in zip(*held, strict=True))
    bias, mf = fitted("user-item-bias", split), fitted("biased-mf", split, factors=10, epochs=60, learning_rate=0.02)
    assert np.abs(bias.predict(users, items) - values).mean() > 1.5
    assert np.abs(mf.predict(users, items) - values).mean() < 0.3
