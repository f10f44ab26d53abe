"""gpt-semantic-id on problems with a known answer, and on the edges of its input."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import llmrec
from llmrec import toy
from llmrec.context import Context
from llmrec.errors import MethodError, UserError
from llmrec.types import NO_ITEM, Histories, Users


def _load():
    path = Path(llmrec.__file__).parent / "methods/gpt/gpt_semantic_id.py"
    spec = importlib.util.spec_from_file_location("gpt_semantic_id_under_test", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MODULE = _load()
GptSemanticId = MODULE.GptSemanticId
SMALL = {
    "signal": "random", "levels": 2, "codes": 8, "window": 6, "layers": 2, "width": 32, "dropout": 0.0,
    "batch_tokens": 256, "learning_rate": 5e-3, "weight_decay": 0.0, "beams": 8, "epochs": 25, "patience": 99,
}  # fmt: skip
N_ITEMS = 30


def chain():
    """Item i is always followed by the same item, on one cycle through all 30."""
    cycle = np.random.default_rng(0).permutation(N_ITEMS)
    return toy.leave_one_out([[int(cycle[(u + s) % N_ITEMS]) for s in range(12)] for u in range(150)], N_ITEMS)


def hits(method, split, part):
    """Share of users whose first item is the target."""
    right = asked = 0
    for users, targets in split.batches(part, 64):
        right += int((method.generate(users, 3, True).items[:, 0] == targets.items).sum())
        asked += len(users)
    return right / asked


def context(split, **kwargs):
    validate = lambda method: {"ndcg@10": hits(method, split, "valid")}  # noqa: E731
    return Context(seed=0, items=toy.items(split.n_items), validate=validate, **kwargs)


FORMS = {
    "codes": {},
    "item tokens": {"item_tokens": True},
    "item positions": {"item_tokens": True, "read": "items", "filter_share": 0.0},
    "item positions, filter": {"read": "items"},
}


@pytest.fixture(scope="module", params=FORMS.values(), ids=FORMS)
def learnt(request):
    split = chain()
    method = GptSemanticId(**SMALL | request.param)
    method.fit(split, context(split))
    return method, split


def test_a_deterministic_chain_is_learnt_completely(learnt):
    method, split = learnt
    assert hits(method, split, "valid") == 1.0
    assert hits(method, split, "test") == 1.0


def test_other_peoples_histories_are_worth_chance(learnt):
    method, split = learnt
    users, targets = next(iter(split.batches("test", 150)))
    others = np.random.default_rng(1).permutation(len(users))
    answer = method.generate(Users(users.ids, users.histories.take(others)), 3, False)
    assert (answer.items[:, 0] == targets.items).mean() < 0.2


def test_batch_size_does_not_change_the_answer(learnt):
    method, split = learnt
    whole = next(method.generate(users, 10, True) for users, _ in split.batches("test", 1000))
    parts = [method.generate(users, 10, True) for users, _ in split.batches("test", 7)]
    np.testing.assert_allclose(np.concatenate([p.scores for p in parts]), whole.scores, rtol=1e-5, atol=1e-5)
    assert (np.concatenate([p.items for p in parts]) == whole.items).mean() > 0.999


def test_exact_search_and_full_beams_agree(learnt):
    method, split = learnt
    users, _ = next(iter(split.batches("test", 20)))
    beams = method.generate(users, N_ITEMS, True)
    method.search = "exact"
    exact = method.generate(users, N_ITEMS, True)
    method.search = "beam"
    np.testing.assert_allclose(beams.scores, exact.scores, rtol=1e-5, atol=1e-4)
    assert (beams.items == exact.items).mean() > 0.99
    assert (exact.written == N_ITEMS - np.array([len(set(h)) for h in (users.histories[r] for r in range(20))])).all()


@pytest.mark.parametrize("search", ["beam", "exact"])
def test_more_than_the_catalogue_and_no_history(learnt, search):
    method, _ = learnt
    histories = Histories(np.array([0, 0, 2]), np.array([4, 4], np.int32), N_ITEMS)
    method.search = search
    answer = method.generate(Users(np.array([0, 1], np.int32), histories), N_ITEMS + 5, True)
    method.search = "beam"
    assert answer.items.shape == (2, N_ITEMS + 5)
    assert sorted(answer.items[0, :N_ITEMS].tolist()) == list(range(N_ITEMS))
    assert (answer.items[0, N_ITEMS:] == NO_ITEM).all() and np.isneginf(answer.scores[0, N_ITEMS:]).all()
    assert 4 not in answer.items[1] and (answer.items[1] != NO_ITEM).sum() == N_ITEMS - 1
    assert answer.written.tolist() == [N_ITEMS, N_ITEMS - 1]


def test_history_may_come_back_when_it_is_not_masked(learnt):
    method, split = learnt
    users, _ = next(iter(split.batches("test", 5)))
    assert (method.generate(users, N_ITEMS, False).items != NO_ITEM).all()


def test_same_seed_same_answer_and_a_killed_run_resumes(tmp_path):
    split = chain()
    short = SMALL | {"epochs": 3, "validate_every": 1}
    users, _ = next(iter(split.batches("test", 40)))
    whole = GptSemanticId(**short)
    whole.fit(split, context(split))

    class Killed(Exception):
        pass

    killed = context(split, folder=tmp_path)
    usual, calls = killed.validate, []

    def dies_at_the_second(method):
        calls.append(1)
        if len(calls) == 2:
            raise Killed
        return usual(method)

    killed.validate = dies_at_the_second
    with pytest.raises(Killed):
        GptSemanticId(**short).fit(split, killed)
    again = GptSemanticId(**short)
    events = []
    again.fit(split, context(split, folder=tmp_path, emit=events.append))
    assert any(event.get("resumed_at") == 1 for event in events)
    one, two = whole.generate(users, 10, True), again.generate(users, 10, True)
    assert np.array_equal(one.items, two.items) and np.array_equal(one.scores, two.scores)


def test_the_ids_are_logged():
    split = chain()
    events = []
    method = GptSemanticId(**SMALL | {"epochs": 1})
    method.fit(split, context(split, emit=events.append))
    assert events[0]["ids"] == method.ids.fingerprint and events[0]["sizes"] == "8x8"


@pytest.mark.parametrize("item_tokens", [False, True])
def test_only_candidates_are_recommended(item_tokens):
    import dataclasses

    candidates = np.arange(N_ITEMS) % 3 > 0
    split = dataclasses.replace(chain(), candidates=candidates)
    method = GptSemanticId(**SMALL | {"epochs": 1, "item_tokens": item_tokens})
    method.fit(split, Context(seed=0, items=toy.items(N_ITEMS)))
    users = Users(np.arange(30, dtype=np.int32), split.known("test").histories.take(np.arange(30)))
    items = method.generate(users, N_ITEMS, True).items
    assert candidates[items[items != NO_ITEM]].all()


def test_codes_follow_the_catalogue():
    assert [MODULE.enough_codes(n, 2) for n in (51, 1682, 12_101, 1_000_000)] == [16, 64, 256, 2048]
    assert MODULE.enough_codes(12_101, 3) == 32


def test_wrong_parameters_are_named():
    split = chain()
    with pytest.raises(UserError, match="signal = 'texts'"):
        GptSemanticId(**SMALL | {"signal": "texts"}).fit(split, context(split))
    with pytest.raises(UserError, match="search = 'beams'"):
        GptSemanticId(**SMALL | {"search": "beams"}).fit(split, context(split))
    with pytest.raises(UserError, match="read = 'item', expected one of tokens"):
        GptSemanticId(**SMALL | {"read": "item"}).fit(split, context(split))
    with pytest.raises(UserError, match="filter_share = 1"):
        GptSemanticId(**SMALL | {"filter_share": 1}).fit(split, context(split))
    with pytest.raises(MethodError, match="Take more levels"):
        GptSemanticId(**SMALL | {"levels": 1}).fit(split, context(split))
