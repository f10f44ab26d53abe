"""Ranks and lists against a slow, obvious reference; masks, ties, and what a broken method is told."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse

from llmrec import toy
from llmrec.errors import MethodError
from llmrec.evaluate.answers import answer
from llmrec.types import NO_ITEM, NOT_RANKED, Generated


class Table:
    """Scores from a table [n_users, n_items]."""

    def __init__(self, table):
        self.table = table

    def fit(self, split, ctx): ...

    def score(self, users):
        return self.table[users.ids]


class Lists:
    """Lists from a table [n_users, any], as they are."""

    def __init__(self, table):
        self.table = table

    def generate(self, users, k, exclude):
        items = self.table[users.ids, :k]
        none = np.zeros(len(users), np.int32)
        scores = np.where(items == NO_ITEM, -np.inf, -np.arange(items.shape[1], dtype=np.float32))
        return Generated(items, scores, none, none, none, np.full(len(users), items.shape[1], np.int32))


def make_split(rng, n_users=23, n_items=40, targets=1, mask_history=True, closed=0):
    """Up to ``targets`` test items a user, shuffled tie priorities, and ``closed`` items that are no candidates."""
    sequences = [rng.permutation(n_items)[: rng.integers(4, 12)].tolist() for _ in range(n_users)]
    split = toy.leave_one_out(sequences, n_items, mask_history=mask_history)
    if targets > 1:
        rest = [np.setdiff1d(np.arange(n_items), s) for s in sequences]
        split = dataclasses.replace(
            split, test=toy.interactions([rng.permutation(r)[: rng.integers(1, targets + 1)] for r in rest], n_items)
        )
    candidates = np.ones(n_items, bool)
    candidates[rng.permutation(n_items)[:closed]] = False
    return dataclasses.replace(split, item_order=rng.permutation(n_items).astype(np.int32), candidates=candidates)


def slow_ranks_and_lists(table, split, k):
    targets, histories = split.targets("test"), split.train_and_valid.histories
    ranks, lists = [], []
    for row, user in enumerate(targets.users):
        own, relevant = table[user], targets.items[targets.indptr[row] : targets.indptr[row + 1]].tolist()
        seen = set(histories[user].tolist()) if split.mask_history else set()
        allowed = [i for i in range(split.n_items) if split.candidates[i] and i not in seen]
        ranked = sorted((i for i in relevant if split.candidates[i]), key=lambda i: -own[i])
        for item in relevant:
            if item not in ranked:
                ranks.append(NOT_RANKED)
                continue
            others = sum(own[j] >= own[item] for j in allowed if j not in relevant)
            ranks.append(1 + others + ranked.index(item))
        best = sorted(allowed, key=lambda i: (-own[i], split.item_order[i]))[:k]
        lists.append(best + [NO_ITEM] * (k - len(best)))
    return np.array(ranks), np.array(lists)


@pytest.mark.parametrize("levels", [2, 5, 10_000])  # many ties, some, none
@pytest.mark.parametrize("targets", [1, 6])
@pytest.mark.parametrize("mask_history", [True, False])
@pytest.mark.parametrize("closed", [0, 7])
def test_ranks_and_lists_equal_the_slow_reference(levels, targets, mask_history, closed):
    rng = np.random.default_rng(levels + targets)
    split = make_split(rng, targets=targets, mask_history=mask_history, closed=closed)
    table = rng.integers(0, levels, (split.n_users, split.n_items)).astype(np.float32)
    answers = answer(Table(table), split, "test", k=20)
    ranks, lists = slow_ranks_and_lists(table, split, 20)
    if levels < 10_000 and targets > 1:  # a user's relevant items with equal scores may stand in any order
        ranks, ours = (_sorted_per_user(r, answers.targets) for r in (ranks, answers.ranks))
    else:
        ours = answers.ranks
    assert (ours == ranks).all()
    assert (answers.topk.items == lists).all()
    filled = lists != NO_ITEM
    rows = np.arange(len(lists))[:, None]
    assert (answers.topk.scores == np.where(filled, table[answers.targets.users][rows, lists], -np.inf)).all()


def _sorted_per_user(ranks, targets):
    rows = np.repeat(np.arange(len(targets)), targets.counts)
    return ranks[np.lexsort((ranks, rows))]


@pytest.mark.parametrize("levels", [1, 3, 10**9])
def test_large_catalogue_with_long_runs_of_ties(levels):
    rng = np.random.default_rng(3)
    split = make_split(rng, n_users=150, n_items=1500, closed=100)
    table = rng.integers(0, levels, (150, 1500)).astype(np.float64)
    table[:50] = np.sort(table[:50], axis=1)  # the best items side by side
    answers = answer(Table(table), split, "test", k=20)
    ranks, lists = slow_ranks_and_lists(table, split, 20)
    assert (answers.ranks == ranks).all()
    assert (answers.topk.items == lists).all()


@pytest.mark.parametrize("targets", [1, 5])
def test_batch_size_and_threads_change_nothing(targets, monkeypatch):
    rng = np.random.default_rng(0)
    split = make_split(rng, n_users=101, targets=targets)
    method = Table(rng.integers(0, 9, (101, split.n_items)).astype(np.float32))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    whole = answer(method, split, "test", batch_size=1000)
    for size, threads in [(1, "1"), (7, "3"), (100, "2"), (1000, "4")]:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        parts = answer(method, split, "test", batch_size=size)
        assert (parts.ranks == whole.ranks).all()
        assert (parts.topk.items == whole.topk.items).all()
        assert (parts.topk.scores == whole.topk.scores).all()


def test_constant_score_is_ranked_last():
    split = make_split(np.random.default_rng(0), n_items=40)
    answers = answer(Table(np.zeros((23, 40))), split, "test")
    unseen = 40 - split.train_and_valid.histories.lengths[answers.targets.users]
    assert (answers.ranks == unseen).all()


def test_large_counts_are_not_rounded_to_float32():
    split = toy.leave_one_out([[0, 1, 2]], 5)
    counts = np.array([[0, 0, 2**24, 2**24 + 1, 2**24 - 1]])
    assert answer(Table(counts), split, "test").ranks.tolist() == [2]  # in float32, 3 and 2 would be tied either way
    assert answer(Table(counts), split, "test").topk.items[0, :3].tolist() == [3, 2, 4]
    close = np.array([[0, 0, 2**24 + 1, 2**24, 2**24]])
    assert answer(Table(close), split, "test").ranks.tolist() == [1]


def test_a_target_seen_before_is_ranked_but_in_no_list():
    split = toy.leave_one_out([[2, 1, 0, 2]], 6)
    answers = answer(Table(np.array([[5.0, 4, 3, 2, 1, 0]])), split, "test", k=4)
    assert answers.ranks.tolist() == [1]  # 0 and 1 are masked
    assert answers.topk.items.tolist() == [[3, 4, 5, NO_ITEM]]


def test_a_target_outside_the_candidates_is_not_ranked():
    split = toy.leave_one_out([[0, 1, 2, 3], [0, 1, 2, 4]], 6)

    class Wide(type(split)):  # Split itself gives no such target
        def targets(self, part):
            return split.targets(part)

    fields = {f.name: getattr(split, f.name) for f in dataclasses.fields(split)}
    wide = Wide(**{**fields, "candidates": np.arange(6) != 3})
    answers = answer(Table(np.tile(np.arange(6.0), (2, 1))), wide, "test")
    assert answers.ranks.tolist() == [NOT_RANKED, 2]
    assert 3 not in answers.topk.items


def test_users_without_a_target_are_asked_but_have_no_rank():
    split = toy.leave_one_out([[0, 1, 2, 3], [0, 1, 2, 4]], 6)
    split = dataclasses.replace(split, candidates=np.arange(6) != 3)
    answers = answer(Table(np.tile(np.arange(6.0), (2, 1))), split, "test", k=2)
    assert answers.targets.counts.tolist() == [0, 1]
    assert answers.ranks.tolist() == [2]
    assert answers.topk.items.tolist() == [[5, 4], [5, 4]]


def test_the_methods_own_array_is_left_as_it_is():
    split = make_split(np.random.default_rng(0))
    table = np.random.default_rng(0).random((23, 40), dtype=np.float32)

    class View(Table):
        def score(self, users):
            return self.table if len(users) == len(self.table) else np.broadcast_to(self.table[0], (len(users), 40))

    before = table.copy()
    answer(View(table), split, "test", batch_size=23)
    answer(View(table), split, "test", batch_size=5)
    assert (table == before).all()


def test_validation_asks_with_less_history_than_the_test():
    split = toy.leave_one_out([[0, 1, 2, 3]], 5)
    method = Table(np.array([[0.0, 1, 2, 3, 4]]))
    assert answer(method, split, "valid").topk.items[0, :3].tolist() == [4, 3, 2]
    assert answer(method, split, "test").topk.items[0, :2].tolist() == [4, 3]
    assert answer(method, split, "valid", lists=False).topk is None


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32, bool])
def test_any_number_type_and_sparse_matrices(kind):
    rng = np.random.default_rng(2)
    split = make_split(rng)
    table = rng.integers(0, 2, (23, 40)).astype(kind)
    ranks, lists = slow_ranks_and_lists(table.astype(float), split, 20)
    for method in [Table(table), Table(scipy.sparse.csr_matrix(table.astype(np.float64)))]:
        answers = answer(method, split, "test")
        assert (answers.ranks == ranks).all()
        assert (answers.topk.items == lists).all()


def test_lists_longer_than_the_catalogue_end_empty():
    split = make_split(np.random.default_rng(0))
    answers = answer(Table(np.random.default_rng(0).random((23, 40))), split, "test", k=60)
    assert answers.topk.items.shape == (23, 60)
    assert (answers.topk.items[:, 40:] == NO_ITEM).all()
    assert np.isneginf(answers.topk.scores[:, 40:]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(value):
    split = make_split(np.random.default_rng(0))
    table = np.random.default_rng(0).random((23, 40))
    table[17, 4] = value
    with pytest.raises(MethodError, match=rf"Table: the score of item 4 for user 17 is {value}"):
        answer(Table(table), split, "test", batch_size=5)


def test_scores_of_the_wrong_shape_or_type_are_refused():
    split = make_split(np.random.default_rng(0))
    with pytest.raises(MethodError, match=r"Table: score\(\) returned shape \(23, 39\).*expected \(23, 40\)"):
        answer(Table(np.zeros((23, 39))), split, "test")
    with pytest.raises(MethodError, match="type <U1"):
        answer(Table(np.full((23, 40), "a")), split, "test")
    with pytest.raises(MethodError, match="neither score"):
        answer(object(), split, "test")


def test_no_users_no_answers():
    split = dataclasses.replace(
        make_split(np.random.default_rng(0)), asked={"valid": np.empty(0, np.int32), "test": np.empty(0, np.int32)}
    )
    answers = answer(Table(np.zeros((23, 40))), split, "test")
    assert len(answers.ranks) == 0 and answers.topk.items.shape == (0, 20)


def test_generated_lists_are_cleaned_and_ranked():
    split = toy.leave_one_out([[0, 1, 2, 3], [4, 5, 6, 7]], 10)  # test targets: 3 and 7; all before them is seen
    split = dataclasses.replace(split, candidates=np.arange(10) != 9)
    table = np.array([[0, 8, 8, 3, NO_ITEM, 9], [5, NO_ITEM, 6, 1, 2, 1]])
    answers = answer(Lists(table), split, "test", k=6, batch_size=1)
    assert answers.topk.items.tolist() == [[8, 3] + [NO_ITEM] * 4, [1, 2] + [NO_ITEM] * 4]
    assert answers.topk.scores[:, :2].tolist() == [[-1, -3], [-3, -4]]
    assert answers.ranks.tolist() == [2, NOT_RANKED]
    assert answers.rates == {
        "invalid_rate": 0.0,
        "duplicate_rate": 2 / 12,
        "out_of_catalogue_rate": 0.0,
        "masked_rate": 4 / 12,
    }
    together = answer(Lists(table), split, "test", k=6, batch_size=2)
    assert (together.topk.items == answers.topk.items).all() and together.rates == answers.rates


def test_generated_lists_agree_with_the_scores_they_were_made_from():
    rng = np.random.default_rng(5)
    split = make_split(rng, targets=4)
    table = rng.random((23, 40))
    scored = answer(Table(table), split, "test", k=40)
    written = answer(Lists(np.argsort(-table, axis=1)), split, "test", k=40)
    assert (written.ranks == scored.ranks).all()
    assert (written.topk.items == scored.topk.items).all()


def test_rates_add_up_over_batches():
    split = make_split(np.random.default_rng(0), n_users=4)

    class Counting(Lists):
        def generate(self, users, k, exclude):
            assert exclude is True
            lists = super().generate(users, k, exclude)
            return dataclasses.replace(
                lists, invalid=users.ids, written=np.full(len(users), 10, np.int32), out_of_catalogue=users.ids * 2
            )

    answers = answer(Counting(np.full((4, 3), NO_ITEM)), split, "test", k=3, batch_size=3)
    assert answers.rates["invalid_rate"] == 6 / 40
    assert answers.rates["out_of_catalogue_rate"] == 12 / 40
    assert (answers.ranks == NOT_RANKED).all()


@pytest.mark.parametrize("item", [40, -2])
def test_generated_ids_out_of_range_are_refused(item):
    split = make_split(np.random.default_rng(0))
    table = np.zeros((23, 3), int)
    table[9, 1] = item
    with pytest.raises(MethodError, match=rf"Lists: generate\(\) listed item {item} for user 9"):
        answer(Lists(table), split, "test", k=3)


def test_generated_lists_of_the_wrong_shape_are_refused():
    split = make_split(np.random.default_rng(0))

    class Short(Lists):
        def generate(self, users, k, exclude):
            lists = super().generate(users, k, exclude)
            return dataclasses.replace(lists, items=lists.items[1:])

    class Long(Lists):
        def generate(self, users, k, exclude):
            return super().generate(users, k + 1, exclude)

    class Fractions(Lists):
        def generate(self, users, k, exclude):
            lists = super().generate(users, k, exclude)
            return dataclasses.replace(lists, items=lists.items.astype(float))

    for broken, message in [(Short, "shape"), (Long, "shape"), (Fractions, "integers")]:
        with pytest.raises(MethodError, match=message):
            answer(broken(np.zeros((23, 9), int)), split, "test", k=3)
