"""bm25 and category-profile against plain loops, and bm25 against the package bm25s where it is installed."""

import math

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.types import NO_ITEM, Histories, Items, Users

TEXTS = [
    "red apple red", "green apple", "red car with four wheels", "car", "blue sea and blue sky",
    "", "an apple tree beside the sea",
]  # fmt: skip
CATEGORIES = [["fruit"], ["fruit", "green"], ["car"], ["car"], ["nature"], [], ["fruit", "nature"]]
N_ITEMS = len(TEXTS)
NAMES = [str(i) for i in range(N_ITEMS)]
ITEMS = Items(
    pl.DataFrame(
        {"raw_id": NAMES, "title": NAMES, "text": TEXTS, "categories": CATEGORIES},
        schema_overrides={"categories": pl.List(pl.String)},
    )
)
SPLIT = toy.leave_one_out([[0, 1, 2, 3, 4], [0, 6, 1, 4, 2], [0, 2, 3, 1, 5]], N_ITEMS)
WORDS = [text.split() for text in TEXTS]


def fitted(name, **params):
    method = load_method(name)(**params)
    method.fit(SPLIT, Context(seed=0, items=ITEMS))
    return method


def asking(*histories) -> Users:
    items = np.array([item for history in histories for item in history], np.int32)
    indptr = np.cumsum([0, *map(len, histories)])
    return Users(np.arange(len(histories), dtype=np.int32), Histories(indptr, items, N_ITEMS))


def matches(query: list[str], k1: float, b: float) -> list[float]:
    """BM25 of every item for a query, word by word."""
    mean = sum(map(len, WORDS)) / N_ITEMS
    scores = []
    for words in WORDS:
        score = 0.0
        for word in query:
            having = sum(word in other for other in WORDS)
            often = words.count(word)
            held_back = k1 * (1 - b + b * len(words) / mean)
            if often:
                score += math.log(1 + (N_ITEMS - having + 0.5) / (having + 0.5)) * often / (often + held_back)
        scores.append(score)
    return scores


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (2.5, 0.0), (0.5, 1.0)])
def test_bm25_word_by_word(k1, b):
    method = fitted("bm25", k1=k1, b=b, decay=0.5)
    expected = (0.5 * np.array(matches(WORDS[0], k1, b)) + np.array(matches(WORDS[4], k1, b))) / 1.5
    assert method.score(asking([0, 4], []))[0] == pytest.approx(expected, abs=1e-12)
    assert not method.score(asking([], [0]))[0].any()


def test_bm25_finds_items_for_a_request():
    found, scores = fitted("bm25").search(["a red apple", "nothing of it"], 4)
    expected = np.array(matches(["red", "apple"], 1.2, 0.75))
    assert found[0].tolist() == [*np.argsort(-expected, kind="stable")[:4]]
    assert scores[0] == pytest.approx(np.sort(expected)[::-1][:4])
    assert found[1].tolist() == [NO_ITEM] * 4 and np.isneginf(scores[1]).all()


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (2.0, 0.3)])
def test_bm25s_agrees(k1, b):
    bm25s = pytest.importorskip("bm25s")
    peer = bm25s.BM25(method="lucene", k1=k1, b=b)
    peer.index(WORDS, show_progress=False)
    asked = ["red", "apple", "sea"]
    theirs = peer.get_scores(asked)
    found, scores = fitted("bm25", k1=k1, b=b).search([" ".join(asked)], N_ITEMS)
    ours = np.zeros(N_ITEMS)
    ours[found[0][found[0] != NO_ITEM]] = scores[0][found[0] != NO_ITEM]
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_bm25_reads_scripts_without_spaces():
    chinese = ["红苹果", "绿苹果", "红色汽车", "大海", "天空", "", "苹果树"]
    items = Items(ITEMS.frame.with_columns(text=pl.Series(chinese)))
    method = load_method("bm25")()
    method.fit(SPLIT, Context(seed=0, items=items))
    assert set(method.search(["苹果"], 5)[0][0].tolist()) == {0, 1, 6, NO_ITEM}


def test_bm25_without_texts_says_so():
    items = Items(ITEMS.frame.with_columns(text=pl.lit("")))
    with pytest.raises(ValueError, match="bm25 needs item texts"):
        load_method("bm25")().fit(SPLIT, Context(seed=0, items=items))


@pytest.mark.parametrize(("decay", "power"), [(1.0, 1.0), (0.6, 0.5), (0.9, 0.0)])
def test_category_profile_step_by_step(decay, power):
    taken = np.bincount(SPLIT.fit.item, minlength=N_ITEMS)
    history = [1, 6, 3]
    weights = np.array([decay**2, decay, 1.0])
    expected = np.zeros(N_ITEMS)
    for weight, item in zip(weights / weights.sum(), history, strict=True):
        for name in CATEGORIES[item]:
            members = [i for i in range(N_ITEMS) if name in CATEGORIES[i]]
            total = sum((1 + taken[i]) ** power for i in members)
            for i in members:
                expected[i] += weight / len(CATEGORIES[item]) * (1 + taken[i]) ** power / total
    scores = fitted("category-profile", decay=decay, power=power).score(asking(history, []))
    assert scores[0] == pytest.approx(expected, abs=1e-12)
    assert scores[0].sum() == pytest.approx(1.0)  # a probability: every item of the history has a category
    assert not scores[1].any() and expected[5] == 0.0


def test_category_profile_without_categories_says_so():
    items = Items(ITEMS.frame.with_columns(categories=pl.Series([[]] * N_ITEMS, dtype=pl.List(pl.String))))
    with pytest.raises(ValueError, match="needs categories"):
        load_method("category-profile")().fit(SPLIT, Context(seed=0, items=items))
