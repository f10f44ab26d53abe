"""Coverage, gini, novelty, diversity and popularity: by hand, against plain loops, and against RecBole."""

import dataclasses
from itertools import combinations

import numpy as np
import pytest

from llmrec import toy
from llmrec.evaluate.lists import category_bits, coverage, genre_diversity, gini, list_metrics, text_diversity
from llmrec.evaluate.lists import unit_vectors as units
from llmrec.evaluate.popularity import Popularity
from llmrec.types import NO_ITEM, TopK


def random_lists(seed=0, users=40, n_items=60, k=10, short=True):
    rng = np.random.default_rng(seed)
    items = np.stack([rng.permutation(n_items)[:k] for _ in range(users)]).astype(np.int32)
    if short:
        for row, kept in enumerate(rng.integers(0, k + 1, users)):
            items[row, kept:] = NO_ITEM
    return items


def test_coverage_counts_candidates():
    items = np.array([[0, 1], [1, NO_ITEM]])
    assert coverage(items, np.ones(8, bool)) == 2 / 8
    assert coverage(items, np.arange(8) < 4) == 2 / 4


def test_gini_by_hand():
    everyone = np.ones(4, bool)
    assert gini(np.array([[0, 1], [2, 3]]), everyone) == pytest.approx(0)
    assert gini(np.array([[0], [0], [0]]), everyone) == pytest.approx(3 / 4)  # (n - 1) / n: one item gets it all
    assert gini(np.array([[0], [0], [0]]), np.arange(4) < 1) == pytest.approx(0)
    assert np.isnan(gini(np.array([[NO_ITEM]]), everyone))


def test_coverage_gini_and_popularity_agree_with_recbole():
    pytest.importorskip("recbole")
    import torch

    from llmrec.recbole_mend import mended

    items = random_lists(short=False)
    split = toy.checkerboard(60)
    popularity = Popularity.of(split)
    with mended():
        from recbole.evaluator import collector, metrics

        data = collector.DataStruct()
        data.set("rec.items", torch.tensor(items))
        data.set("data.num_items", 60)
        data.set("data.count_items", dict(enumerate(popularity.counts.tolist())))
        config = {"topk": [10], "metric_decimal_place": 12}
        theirs = {}
        for name in ("ItemCoverage", "GiniIndex", "AveragePopularity"):
            theirs |= getattr(metrics, name)(config).calculate_metric(data)
    ours = list_metrics(TopK(np.arange(40), items, np.zeros((40, 10))), split, [[]] * 60)
    assert ours["coverage@10"] == pytest.approx(theirs["itemcoverage@10"])
    assert ours["gini@10"] == pytest.approx(theirs["giniindex@10"])
    assert ours["popularity@10"] == pytest.approx(theirs["averagepopularity@10"])


def test_text_diversity_is_the_mean_over_pairs():
    items = random_lists()
    embeddings = np.random.default_rng(1).standard_normal((60, 7)).astype(np.float32) * 3
    embeddings[5] = 0  # an item without text
    ours = text_diversity(items, units(embeddings))
    for row, value in zip(items, ours, strict=True):
        listed = [embeddings[i].astype(float) for i in row if i != NO_ITEM]
        if len(listed) < 2:
            assert np.isnan(value)
            continue
        cosines = [a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-30) for a, b in combinations(listed, 2)]
        assert value == pytest.approx(1 - np.mean(cosines), abs=1e-5)


@pytest.mark.parametrize("kinds", [5, 64, 200])
def test_genre_diversity_is_the_mean_over_pairs(kinds):
    items = random_lists()
    rng = np.random.default_rng(1)
    categories = [[str(c) for c in rng.integers(0, kinds, rng.integers(0, 5))] for _ in range(60)]
    ours = genre_diversity(items, category_bits(categories))
    for row, value in zip(items, ours, strict=True):
        sets = [set(categories[i]) for i in row if i != NO_ITEM]
        pairs = [len(a & b) / len(a | b) for a, b in combinations(sets, 2) if a and b]
        if pairs:
            assert value == pytest.approx(1 - np.mean(pairs))
        else:
            assert np.isnan(value)


def test_novelty_popularity_and_tail_by_hand():
    # item 0 stands in training 4 times, item 1 twice, items 2 and 3 once, item 4 never: 8 interactions
    split = dataclasses.replace(
        toy.leave_one_out([[0, 1, 2]], 5), train=toy.interactions([[0, 1, 2], [0, 1, 3], [0], [0]], 5)
    )
    popularity = Popularity.of(split)
    assert popularity.counts.tolist() == [4, 2, 1, 1, 0]
    assert popularity.information.tolist() == [1, 2, 3, 3, 3]
    assert popularity.head.tolist() == [True, False, False, False, False]  # 20 % of 4 items, rounded up
    assert popularity.cold.tolist() == [False, False, False, False, True]
    items = np.array([[0, 1, 2, 3, 4], [0, NO_ITEM, NO_ITEM, NO_ITEM, NO_ITEM]])
    ours = list_metrics(TopK(np.arange(2), items, np.zeros((2, 5))), split, [[]] * 5)
    assert ours["novelty@5"] == pytest.approx((12 / 5 + 1) / 2)
    assert ours["popularity@5"] == pytest.approx((8 / 5 + 4) / 2)
    assert ours["tail@5"] == pytest.approx((4 / 5 + 0) / 2)


def test_head_of_equally_popular_items_follows_the_splits_priorities():
    split = dataclasses.replace(
        toy.leave_one_out([list(range(10)), list(range(10))], 10), item_order=np.arange(10, dtype=np.int32)[::-1]
    )
    assert np.flatnonzero(Popularity.of(split).head).tolist() == [
        6,
        7,
    ]  # 8 items in training, the last two are held out


def test_what_cannot_be_computed_is_left_out():
    split = toy.checkerboard(60)
    lists = TopK(np.arange(40), random_lists(), np.zeros((40, 10)))
    ours = list_metrics(lists, split, [[]] * 60)
    assert not [name for name in ours if "diversity" in name or "@20" in name]
    nobody = TopK(np.empty(0, np.int32), np.empty((0, 10), np.int32), np.empty((0, 10)))
    assert list_metrics(nobody, split, [["a"]] * 60, np.ones((60, 3))) == {}
    empty = TopK(np.arange(3), np.full((3, 10), NO_ITEM), np.full((3, 10), -np.inf))
    assert list_metrics(empty, split, [["a"]] * 60, np.ones((60, 3))) == {"coverage@5": 0, "coverage@10": 0}
