"""The control by other people's histories: nobody keeps their own, and what was learnt of histories is worth chance."""

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import UserError
from llmrec.types import NO_ITEM, Histories, Users

N_ITEMS = 30
GENERATOR = {"signal": "random", "levels": 2, "codes": 8, "width": 16, "epochs": 1, "beams": N_ITEMS}


def chain(users=120):
    """Item i is always followed by the same item, on one cycle through all 30."""
    cycle = np.random.default_rng(0).permutation(N_ITEMS)
    return toy.leave_one_out([[int(cycle[(u + s) % N_ITEMS]) for s in range(12)] for u in range(users)], N_ITEMS)


def fitted(split, seed=0, **of):
    method = load_method("shuffled-history")(of=of)
    method.fit(split, Context(seed=seed, items=toy.items(split.n_items)))
    return method


def hits(method, users, targets):
    return (method.generate(users, 1, True).items[:, 0] == targets.items).mean()


def test_what_is_known_of_a_history_is_lost():
    split = chain()
    method = fitted(split, method="decayed-transitions")
    users, targets = next(iter(split.batches("test", 120)))
    scores = method.fitted.score(users)
    scores[users.histories.rows, users.histories.items] = -np.inf
    assert (scores.argmax(1) == targets.items).mean() > 0.95
    assert hits(method, users, targets) < 0.2


def test_everyone_has_somebody_elses_history_and_each_is_dealt_once():
    split = chain()
    method = fitted(split, method="popularity")
    assert (method.donors != np.arange(120)).all()
    assert sorted(method.donors.tolist()) == list(range(120))
    assert (fitted(split, seed=1, method="popularity").donors != method.donors).any()


@pytest.mark.parametrize("of", [{"method": "ease"}, {"method": "gpt-semantic-id", "params": GENERATOR}])
def test_own_items_are_left_out_and_all_others_come(of):
    split = chain(40)
    method = fitted(split, **of)
    histories = Histories(np.array([0, 0, 3]), np.array([4, 9, 4], np.int32), N_ITEMS)
    answer = method.generate(Users(np.array([0, 1], np.int32), histories), N_ITEMS + 2, True)
    assert sorted(answer.items[0, :N_ITEMS].tolist()) == list(range(N_ITEMS))
    assert sorted(answer.items[1, : N_ITEMS - 2].tolist()) == sorted(set(range(N_ITEMS)) - {4, 9})
    assert (answer.items[1, N_ITEMS - 2 :] == NO_ITEM).all() and np.isneginf(answer.scores[1, N_ITEMS - 2 :]).all()
    assert answer.written.tolist() == [N_ITEMS, N_ITEMS - 2]
    short = method.generate(Users(np.array([1], np.int32), histories.take(np.array([1]))), 5, True)
    assert short.items[0].tolist() == answer.items[1, :5].tolist()


def test_a_part_that_gives_no_lists_is_refused():
    with pytest.raises(UserError, match=r"shuffled-history: parameter .of.: .biased-mf. answers another task"):
        load_method("shuffled-history")(of={"method": "biased-mf"})
