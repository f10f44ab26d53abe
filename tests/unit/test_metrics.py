"""Accuracy metrics by hand."""

import numpy as np
import pytest

from llmrec.evaluate import per_user
from llmrec.types import Targets


def test_two_relevant_items_by_hand():
    targets = Targets(np.array([7], np.int32), np.array([0, 2]), np.array([3, 1], np.int32))
    values = per_user(np.array([6, 2], np.int32), targets, (1, 5, 10))
    ideal = 1 + 1 / np.log2(3)
    expected = {
        "recall": [0, 1 / 2, 1],
        "precision": [0, 1 / 5, 2 / 10],
        "hit": [0, 1, 1],
        "mrr": [0, 1 / 2, 1 / 2],
        "ndcg": [0, (1 / np.log2(3)) / ideal, (1 / np.log2(3) + 1 / np.log2(7)) / ideal],
        "map": [0, (1 / 2) / 2, (1 / 2 + 2 / 6) / 2],
    }
    for name, row in expected.items():
        assert [values[f"{name}@{k}"][0] for k in (1, 5, 10)] == pytest.approx(row), name


def test_more_relevant_items_than_places():
    """A list of hits only is perfect for ndcg and map, though recall cannot be 1."""
    targets = Targets(np.array([0], np.int32), np.array([0, 8]), np.arange(8, dtype=np.int32))
    values = per_user(np.arange(1, 9, dtype=np.int32), targets, (5,))
    assert values["ndcg@5"][0] == pytest.approx(1)
    assert values["map@5"][0] == pytest.approx(1)
    assert values["recall@5"][0] == pytest.approx(5 / 8)


def test_one_relevant_item_makes_recall_hit_rate():
    targets = Targets(np.arange(4, dtype=np.int32), np.arange(5), np.zeros(4, np.int32))
    values = per_user(np.array([1, 5, 6, 11], np.int32), targets)
    assert (values["recall@5"] == values["hit@5"]).all()
    assert values["ndcg@10"] == pytest.approx([1, 1 / np.log2(6), 1 / np.log2(7), 0])
    assert (values["mrr@10"] == values["map@10"]).all()
