"""The task request: what a method is asked, what broken answers are told, figures, slices, stored answers."""

import dataclasses

import numpy as np
import polars as pl
import pytest
import pytrec_eval

from llmrec import toy
from llmrec.best import best
from llmrec.errors import MethodError, UserError
from llmrec.tasks import TASKS
from llmrec.tasks import request as task
from llmrec.types import NO_ITEM, NOT_RANKED, Histories, Requests

ITEMS = 60
KINDS = ["shares words", "shares no word"]


def requests(rows):
    """Requests "r0", "r1", ... with the given relevant items, of alternating kinds."""
    indptr = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    items = np.array([item for row in rows for item in row], np.int32)
    texts = [f"r{row}" for row in range(len(rows))]
    return Requests(texts, Histories(indptr, items, ITEMS), [KINDS[row % 2] for row in range(len(rows))])


@pytest.fixture
def split():
    """Five requests to test, one with more relevant items than a list holds, and two to validate; item 59 is no
    candidate; the card's id of item i is 59 - i."""
    test = requests([[3], [1, 5, 9], list(range(25)), [58, 0], [7]])
    plain = toy.leave_one_out([[0, 1, 2, 3]] * 3, ITEMS)
    return dataclasses.replace(
        plain,
        candidates=np.arange(ITEMS) < ITEMS - 1,
        canonical=np.arange(ITEMS, dtype=np.int32)[::-1].copy(),
        requests={"valid": requests([[2, 4], [6]]), "test": test},
    )


class Finds:
    """Answers each request with the items (and scores) that it was given for it."""

    name = "finds"

    def __init__(self, items, scores=None):
        self.items = items
        self.scores = scores if scores is not None else [[float(-p) for p in range(len(row))] for row in items]
        self.asked = []

    def search(self, texts, k):
        self.asked.append(list(texts))
        found = np.full((len(texts), k), NO_ITEM, np.int32)
        scores = np.full((len(texts), k), -np.inf)
        for row, text in enumerate(texts):
            items = self.items[int(text[1:])]
            found[row, : len(items)], scores[row, : len(items)] = items, self.scores[int(text[1:])]
        return found, scores


LISTS = [[3, 4], [5, 2, 1], list(range(20, 40)), [0, 1, 58], []]


def test_ranks_and_figures_by_hand(split):
    answers = task.answer(Finds(LISTS), split, "test")
    ranks = answers.ranks.tolist()
    assert ranks[0] == 1 and ranks[1:4] == [3, 1, NOT_RANKED]
    assert ranks[4:29] == [NOT_RANKED] * 20 + [1, 2, 3, 4, 5] and ranks[29:] == [3, 1, NOT_RANKED]
    measured = task.measure(answers, split, toy.items(ITEMS))
    rows = {name: measured.users[name].to_list() for name in task.METRICS}
    log = np.log2
    assert rows["precision@10"] == [0.1, 0.2, 0.5, 0.2, 0.0]
    assert rows["recall@10"] == [1.0, 2 / 3, 5 / 25, 1.0, 0.0]
    assert rows["ndcg@10"][1] == pytest.approx((1 + 1 / log(4)) / (1 + 1 / log(3) + 1 / log(4)))
    ideal = sum(1 / log(rank + 1) for rank in range(1, 11))  # of 25 relevant items a list of ten can hold ten
    assert rows["ndcg@10"][2] == pytest.approx(sum(1 / log(r + 1) for r in range(1, 6)) / ideal)
    assert measured.users["user"].to_list() == [0, 1, 2, 3, 4] and measured.users["targets"].to_list() == [
        1,
        3,
        25,
        2,
        1,
    ]
    assert measured.metrics["precision@10"] == pytest.approx(0.2)
    assert measured.counts == {
        "requests": 5, "targets": 32, "candidates": 59, "unanswered": 1, "empty_places": 18 + 17 + 17 + 20,
    }  # fmt: skip
    assert set(measured.metrics) == set(task.METRICS) == set(TASKS["request"].accuracy)
    words = measured.slices["requests:shares words"]
    assert words["requests"] == 3 and words["precision@10"] == pytest.approx((0.1 + 0.5 + 0.0) / 3)
    assert measured.slices["requests:shares no word"]["requests"] == 2


def test_validation(split):
    figures = task.validate(Finds([[2, 4], [1]]), split)
    assert figures == {"ndcg@10": 0.5, "precision@10": pytest.approx(0.1), "recall@10": 0.5}
    assert TASKS["request"].primary in figures


def test_pytrec_eval_agrees(split):
    """On random lists without ties, to 1e-9; ndcg_cut's ideal is over min(relevant, k), too."""
    rng = np.random.default_rng(0)
    relevant = [rng.choice(59, size=n, replace=False).tolist() for n in rng.integers(1, 40, 60)]
    lists = [rng.choice(59, size=n, replace=False).tolist() for n in rng.integers(0, 21, 60)]
    lists[0] = relevant[0][:20]
    many = dataclasses.replace(split, requests={"test": requests(relevant)})
    ours = task.measure(task.answer(Finds(lists), many, "test"), many, toy.items(ITEMS)).users
    names = {"ndcg@5": "ndcg_cut_5", "ndcg@10": "ndcg_cut_10", "ndcg@20": "ndcg_cut_20", "precision@5": "P_5",
             "precision@10": "P_10", "precision@20": "P_20", "recall@5": "recall_5", "recall@10": "recall_10",
             "recall@20": "recall_20"}  # fmt: skip
    truth = {f"q{row}": {f"d{item}": 1 for item in items} for row, items in enumerate(relevant)}
    run = {f"q{row}": {f"d{item}": -float(p) for p, item in enumerate(items)} for row, items in enumerate(lists)}
    judge = pytrec_eval.RelevanceEvaluator(truth, {"ndcg_cut.5,10,20", "P.5,10,20", "recall.5,10,20"})
    theirs = judge.evaluate(run)
    assert set(names) == set(task.METRICS)
    for row in range(60):
        for mine, its in names.items():
            value = theirs.get(f"q{row}", {}).get(its, 0.0)  # it leaves out requests without an answer
            assert ours[mine][row] == pytest.approx(value, abs=1e-9)


def test_ties_count_against_the_method(split):
    """Ten items of one score: the relevant one comes last among them, wherever it was put."""
    lists = [[3, *range(10, 19)], [1, 5, 2, 4], [40], [0], [7]]
    scores = [[1.0] * 10, [2.0, 1.0, 1.0, 1.0], [1.0], [1.0], [1.0]]
    ranks = task.answer(Finds(lists, scores), split, "test").ranks
    assert ranks[:4].tolist() == [10, 1, 4, NOT_RANKED]


def test_random_lists_are_worth_the_share_of_relevant_items():
    rng = np.random.default_rng(1)
    plain = toy.leave_one_out([[0, 1, 2, 3]] * 3, ITEMS)
    asked = requests([rng.choice(ITEMS, 12, replace=False).tolist() for _ in range(600)])
    many = dataclasses.replace(plain, requests={"test": asked})
    lists = [rng.permutation(ITEMS)[:20].tolist() for _ in range(600)]
    figures = task.measure(task.answer(Finds(lists), many, "test"), many, toy.items(ITEMS)).metrics
    assert figures["precision@10"] == pytest.approx(12 / ITEMS, abs=0.01)
    assert figures["recall@20"] == pytest.approx(20 / ITEMS, abs=0.01)


def found(items, scores):
    return lambda texts, k: (np.array([items] * len(texts)), np.array([scores] * len(texts), float))


INF = np.inf


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (None, "has no search"),
        (lambda texts, k: np.zeros((len(texts), k)), "returned ndarray; expected two arrays"),
        (
            lambda texts, k: (np.zeros((1, k), int), np.zeros((1, k))),
            r"ids of shape \(1, 20\).*'r0'.*should be \(5, 20\)",
        ),
        (lambda texts, k: (np.zeros((5, 21), int), np.zeros((5, 21))), r"\(5, 21\)"),
        (lambda texts, k: (np.zeros((5, 3), int), np.zeros((5, 2))), r"scores of shape \(5, 2\)"),
        (lambda texts, k: (np.zeros((5, 1)), np.zeros((5, 1))), "ids of type float64"),
        (lambda texts, k: (np.zeros((5, 1), int), np.zeros((5, 1), int)), "scores of type int64"),
        (found([1, 60], [2, 1]), r"'r0', place 2: item 60, .*item ids go from 0 to 59"),
        (found([-2], [1]), "place 1: item -2"),
        (found([1, 59], [2, 1]), r"place 2: item 59, .*no candidate; keep to split.candidates"),
        (found([1, 2, 1], [3, 2, 1]), "place 3: item 1, .*stands twice"),
        (found([1, 2], [1, 2]), "place 2: item 2, score 2.0: scores must fall"),
        (found([1, 2], [np.nan, 1]), "place 1: item 1, score nan: an item's score must be finite"),
        (found([1, 2], [1, np.nan]), "place 2: item 2, score nan"),
        (found([1, 2], [INF, 1]), "must be finite"),
        (found([1, -1, 2], [3, -INF, 1]), "place 3: item 2, .*behind an empty place"),
        (found([1, -1], [3, 0]), "the score of an empty place must be -inf"),
    ],
)
def test_broken_answers(split, search, said):
    method = type("Broken", (), {"name": "mine", **({"search": staticmethod(search)} if search else {})})()
    with pytest.raises(MethodError, match=said) as error:
        task.answer(method, split, "test")
    assert str(error.value).startswith("mine: ")


def test_one_broken_request_among_good_ones_is_named(split):
    with pytest.raises(MethodError, match=r"'r3', place 2: item 0, .*stands twice"):
        task.answer(Finds([[1], [2], [3], [0, 0], [4]]), split, "test")


def test_batches_shrink_with_the_catalogue(split, monkeypatch):
    monkeypatch.setattr(task, "BATCH_BYTES", 2 * 8 * ITEMS)
    method = Finds(LISTS)
    few = task.answer(method, split, "test")
    assert method.asked == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    monkeypatch.undo()
    assert np.array_equal(few.items, task.answer(Finds(LISTS), split, "test").items)


def test_stored_and_read_again(split, tmp_path):
    answers = task.answer(Finds(LISTS), split, "test")
    hashes = task.write(answers, split, tmp_path)
    table = pl.read_parquet(tmp_path / "answers.parquet")
    assert table.columns == ["request", "item", "score"] and len(table) == 5 * task.LIST_LENGTH
    assert table["item"].to_list()[:3] == [56, 55, NO_ITEM]  # the card's ids
    again = task.read(tmp_path, split, {})
    assert task.write(again, split, tmp_path) == hashes == task.hashes(table)
    for part in ("items", "scores", "ranks"):
        assert np.array_equal(getattr(again, part), getattr(answers, part))
    other = task.write(task.answer(Finds([[4, 3], *LISTS[1:]]), split, "test"), split, tmp_path)
    assert other["answers"] != hashes["answers"] and other["scores"] == hashes["scores"]


def test_answers_that_cannot_be_read(split, tmp_path):
    with pytest.raises(UserError, match=r"not here .*Run the suite with --stale"):
        task.read(tmp_path, split, {})
    task.write(task.answer(Finds(LISTS), split, "test"), split, tmp_path)
    fewer = dataclasses.replace(split, requests={**split.requests, "test": requests([[1]])})
    with pytest.raises(UserError, match="belong to another split"):
        task.read(tmp_path, fewer, {})
    (tmp_path / "answers.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read"):
        task.read(tmp_path, split, {})


def test_the_best_of_many():
    items = np.array([10, 11, 12, 13], np.int32)
    scores = np.array([[0.0, 2.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.5, -2.0]], np.float32)
    ids, values = best(scores, items, 3)
    assert ids.tolist() == [[11, 13, 12], [10, 11, 12], [12, 11, 10]] and values.dtype == np.float32
    ids, values = best(scores, items, 3, above=0.0)
    assert ids.tolist() == [[11, 13, 12], [NO_ITEM] * 3, [12, NO_ITEM, NO_ITEM]]
    assert values[2].tolist() == [0.5, -INF, -INF]
    assert best(scores, items, 9)[0].tolist()[0] == [11, 13, 12, 10, *[NO_ITEM] * 5]
