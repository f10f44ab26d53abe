"""Accuracy metrics against pytrec_eval and RecBole's evaluator, on the same lists."""

import dataclasses
import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec import toy
from llmrec.evaluate import answer, per_user
from llmrec.evaluate.metrics import NAMES
from llmrec.types import NOT_RANKED, Targets

N_ITEMS = 30
CUTOFFS = (1, 5, 10, 20)


@st.composite
def lists_and_targets(draw):
    """A ranking of the catalogue and a set of relevant items for each of a few users."""
    users = draw(st.integers(1, 6))
    rankings = [draw(st.permutations(range(N_ITEMS))) for _ in range(users)]
    relevant = [draw(st.sets(st.integers(0, N_ITEMS - 1), min_size=1, max_size=25)) for _ in range(users)]
    return rankings, [sorted(items) for items in relevant]


def make_targets(relevant):
    indptr = np.cumsum([0] + [len(items) for items in relevant])
    return Targets(np.arange(len(relevant), dtype=np.int32), indptr, np.concatenate(relevant).astype(np.int32))


def ranks_of(rankings, relevant):
    return np.array([r.index(i) + 1 for r, own in zip(rankings, relevant, strict=True) for i in own], np.int32)


@given(lists_and_targets())
@settings(max_examples=150, deadline=None)
def test_agrees_with_trec_eval(case):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rankings, relevant = case
    ours = per_user(ranks_of(rankings, relevant), make_targets(relevant), CUTOFFS)
    truth = {f"u{u}": {f"i{i}": 1 for i in own} for u, own in enumerate(relevant)}
    measures = {f"{name}.{k}" for name in ("recall", "ndcg_cut", "success", "P", "map_cut") for k in CUTOFFS}
    judge = pytrec_eval.RelevanceEvaluator(truth, measures | {"recip_rank"})
    theirs = judge.evaluate(
        {f"u{u}": {f"i{i}": float(N_ITEMS - place) for place, i in enumerate(r)} for u, r in enumerate(rankings)}
    )
    pairs = {"recall": "recall", "ndcg": "ndcg_cut", "hit": "success", "precision": "P"}
    for u, own in enumerate(relevant):
        row = theirs[f"u{u}"]
        for k in CUTOFFS:
            for name, trec in pairs.items():
                assert ours[f"{name}@{k}"][u] == pytest.approx(row[f"{trec}_{k}"]), (name, k)
            # trec_eval divides by all relevant items, we by those that k places can hold
            assert ours[f"map@{k}"][u] == pytest.approx(row[f"map_cut_{k}"] * len(own) / min(len(own), k))
            first = row["recip_rank"]  # trec_eval's has no cut-off
            assert ours[f"mrr@{k}"][u] == pytest.approx(first if first >= 1 / k - 1e-9 else 0.0)


@given(lists_and_targets())
@settings(max_examples=60, deadline=None)
def test_agrees_with_recbole(case):
    metrics, collector = recbole_evaluator()
    import torch

    rankings, relevant = case
    ours = per_user(ranks_of(rankings, relevant), make_targets(relevant), CUTOFFS)
    hits = [[i in own for i in r[: max(CUTOFFS)]] + [len(own)] for r, own in zip(rankings, relevant, strict=True)]
    data = collector.DataStruct()
    data.set("rec.topk", torch.tensor(np.array(hits, np.int64)))
    config = {"topk": list(CUTOFFS), "metric_decimal_place": 12}
    for name in NAMES:
        theirs = getattr(metrics, RECBOLE_NAMES[name])(config).calculate_metric(data)
        for k in CUTOFFS:
            assert ours[f"{name}@{k}"].mean() == pytest.approx(float(theirs[f"{name}@{k}"]), abs=1e-9), (name, k)


RECBOLE_NAMES = {"recall": "Recall", "ndcg": "NDCG", "hit": "Hit", "mrr": "MRR", "map": "MAP", "precision": "Precision"}


@given(lists_and_targets(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_whole_path_from_scores_agrees_with_recbole(case, seed):
    """RecBole's collector and evaluator on the same masked scores; without ties, about which it does not care."""
    _, collector = recbole_evaluator()
    import torch
    from recbole.evaluator.evaluator import Evaluator

    _, relevant = case
    rng = np.random.default_rng(seed)
    users = len(relevant)
    scores = rng.permuted(np.tile(np.arange(N_ITEMS, dtype=np.float32), (users, 1)), axis=1)
    seen = [np.setdiff1d(rng.integers(0, N_ITEMS, 3), own).tolist() for own in relevant]
    none = toy.interactions([[] for _ in relevant], N_ITEMS)
    split = dataclasses.replace(
        toy.leave_one_out([[0, 1, 2]] * users, N_ITEMS),
        train=toy.interactions(seen, N_ITEMS), valid=none, test=toy.interactions(relevant, N_ITEMS),
    )  # fmt: skip

    class Method:
        def score(self, batch):
            return scores[batch.ids]

    answers = answer(Method(), split, "test", batch_size=4)
    ours = per_user(answers.ranks, answers.targets, CUTOFFS)

    config = {
        "topk": list(CUTOFFS), "metric_decimal_place": 12, "device": "cpu", "eval_args": {"mode": "full"},
        "metrics": list(RECBOLE_NAMES.values()),
    }  # fmt: skip
    masked = torch.tensor(scores)
    for user, own in enumerate(seen):
        masked[user, own] = -torch.inf
    gather = collector.Collector(config)
    rows = torch.tensor(np.repeat(np.arange(users), [len(own) for own in relevant]))
    gather.eval_batch_collect(masked, None, rows, torch.tensor(np.concatenate(relevant).astype(np.int64)))
    theirs = Evaluator(config).evaluate(gather.get_data_struct())
    for name, values in ours.items():
        assert values.mean() == pytest.approx(float(theirs[name]), abs=1e-9), name
    for row, items in enumerate(answers.topk.items):
        best = torch.topk(masked[row], 20).indices.numpy()
        assert (items == best).all()


@given(lists_and_targets())
@settings(max_examples=60, deadline=None)
def test_bounds_and_monotony(case):
    rankings, relevant = case
    ours = per_user(ranks_of(rankings, relevant), make_targets(relevant), CUTOFFS)
    for name in NAMES:
        table = np.array([ours[f"{name}@{k}"] for k in CUTOFFS])
        assert (table >= 0).all() and (table <= 1 + 1e-12).all()
        if name in ("recall", "hit", "mrr"):
            assert (np.diff(table, axis=0) >= -1e-12).all()
    assert (ours["hit@10"] >= ours["recall@10"]).all()
    perfect = per_user(np.concatenate([np.arange(1, len(own) + 1) for own in relevant]), make_targets(relevant), (5,))
    assert perfect["ndcg@5"] == pytest.approx(1) and perfect["map@5"] == pytest.approx(1)


@given(lists_and_targets(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_of_a_users_targets_does_not_matter(case, random):
    rankings, relevant = case
    shuffled = [random.sample(own, len(own)) for own in relevant]
    one = per_user(ranks_of(rankings, relevant), make_targets(relevant), CUTOFFS)
    other = per_user(ranks_of(rankings, shuffled), make_targets(shuffled), CUTOFFS)
    for name, values in one.items():
        assert values == pytest.approx(other[name])


_RECBOLE = []


def recbole_evaluator():
    """RecBole's metric classes and collector; its metrics want np.float, which numpy has dropped."""
    if importlib.util.find_spec("recbole") is None:
        pytest.skip("recbole is not installed")
    if not _RECBOLE:
        from llmrec.recbole_mend import mended

        with mended():
            from recbole.evaluator import collector, metrics

            _RECBOLE.extend((metrics, collector))
    return _RECBOLE


@pytest.fixture(autouse=True)
def np_float(monkeypatch):
    monkeypatch.setattr(np, "float", float, raising=False)


def test_not_ranked_targets_are_missed():
    targets = make_targets([[0, 1], [2]])
    values = per_user(np.array([1, NOT_RANKED, NOT_RANKED], np.int32), targets, (5,))
    assert values["recall@5"].tolist() == [0.5, 0.0]
    assert values["mrr@5"].tolist() == [1.0, 0.0]
    assert values["ndcg@5"] == pytest.approx([1 / (1 + 1 / np.log2(3)), 0.0])
    assert all(np.isfinite(v).all() for v in values.values())


def test_no_users():
    values = per_user(
        np.empty(0, np.int32), Targets(np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.int32))
    )
    assert set(values) == {f"{name}@{k}" for name in NAMES for k in (5, 10, 20)}
    assert all(len(v) == 0 for v in values.values())


def test_users_without_a_target_have_no_value():
    targets = Targets(np.arange(3, dtype=np.int32), np.array([0, 0, 1, 1]), np.array([4], np.int32))
    values = per_user(np.array([2], np.int32), targets, (5,))
    for value in values.values():
        assert np.isnan(value).tolist() == [True, False, True]
