"""The task impressions: what a method is asked, what broken answers are told, figures, slices and stored answers."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import MethodError, UserError
from llmrec.evaluate import shown
from llmrec.tasks import impressions as task

ITEMS = 12


class Scores:
    """Item i scores ``values[i]`` for everybody."""

    def __init__(self, values):
        self.values = np.asarray(values)
        self.asked = []

    def score(self, users):
        self.asked.append(len(users))
        return np.tile(self.values, (len(users), 1))


class Reranks:
    """Asked for the candidates only."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def rerank(self, users, candidates):
        assert len(users) == len(candidates)
        return self.values[candidates.items]

    def score(self, users):
        raise AssertionError("a method that reranks is not asked for all items")


@pytest.fixture
def split():
    """Three impressions to fit on, two to validate, and six to test: one of user 1 twice, one of whom nothing is known,
    one without a click, one of clicks only."""
    rows = {
        "fit": [(0, [1, 2], [3, 4], [3]), (1, [2], [3, 5], [5]), (2, [], [1, 2, 3], [1])],
        "valid": [(0, [1, 2, 3], [4, 5, 6], [4]), (1, [2, 5], [6, 7], [7])],
        "test": [
            (0, [1, 2, 3, 4], [5, 6, 7, 8], [6]),
            (1, [2, 5, 7], [1, 2, 3, 9, 10], [3, 9]),
            (1, [2, 5, 7], [1, 2], [2]),
            (3, [], [4, 5, 6], [4]),
            (4, [1], [7, 8], []),
            (5, [1], [9, 10], [9, 10]),
        ],
    }
    small = toy.leave_one_out([[1, 2, 3], [2, 5], [1]], ITEMS)
    canonical = np.random.default_rng(0).permutation(ITEMS).astype(np.int32)
    given = {part: toy.impressions(some, ITEMS) for part, some in rows.items()}
    train = toy.interactions([[1, 2, 3], [2, 5], [1]], ITEMS)
    return dataclasses.replace(small, train=train, canonical=canonical, impressions=given)


def test_score_and_rerank_say_the_same(split):
    values = np.random.default_rng(1).standard_normal(ITEMS)
    gathered, asked = task.answer(Scores(values), split, "test"), task.answer(Reranks(values), split, "test")
    assert np.array_equal(gathered.scores, values[split.impressions["test"].shown.items])
    assert np.array_equal(gathered.scores, asked.scores)


def test_batches_are_bounded_in_memory_and_change_nothing(split, monkeypatch):
    values = np.arange(ITEMS)
    whole = task.answer(Scores(values), split, "test")
    assert whole.scores.dtype == np.float64  # counts lose nothing
    monkeypatch.setattr(task, "BATCH_BYTES", 2 * 8 * ITEMS)
    method = Scores(values)
    assert np.array_equal(task.answer(method, split, "test").scores, whole.scores)
    assert method.asked == [2, 2, 2]


def test_the_method_sees_histories_and_candidates_but_no_clicks(split):
    seen = []

    class Looks:
        def rerank(self, users, candidates):
            seen.append((users, candidates))
            return np.zeros(len(candidates.items))

    task.answer(Looks(), split, "test")
    ((users, candidates),) = seen
    assert users.ids.tolist() == [0, 1, 1, 3, 4, 5] and users.histories[1].tolist() == [2, 5, 7]
    assert candidates[1].tolist() == [1, 2, 3, 9, 10]
    assert not hasattr(users, "clicked") and not hasattr(candidates, "clicked")


def test_figures_by_hand(split):
    values = np.zeros(ITEMS)
    values[[5, 6, 7, 8]] = [4, 3, 2, 1]  # impression 0: the click is second of four
    values[[1, 2, 3, 9, 10]] = [1, 2, 5, 3, 4]  # impression 1: clicks first and third of five; impression 2: first of 2
    values[4] = 4  # impression 3: 4 ties with 5, over 6
    measures = task.measure(task.answer(Scores(values), split, "test"), split, toy.items(ITEMS))
    users = measures.users
    assert users["user"].to_list() == [0, 1, 2, 3]
    assert users["history"].to_list() == [4, 3, 3, 0] and users["shown"].to_list() == [4, 5, 2, 3]
    assert users["auc"].to_list() == pytest.approx([2 / 3, 5 / 6, 1, 0.75])
    assert users["mrr"].to_list() == pytest.approx([1 / 2, (1 + 1 / 3) / 2, 1, 1 / 2])
    second, third = 1 / np.log2(3), 1 / 2
    assert users["ndcg@5"].to_list() == pytest.approx([second, (1 + third) / (1 + second), 1, second])
    assert users["ndcg@10"].to_list() == users["ndcg@5"].to_list()  # nothing longer was shown
    assert measures.metrics == pytest.approx({name: users[name].mean() for name in shown.METRICS})
    assert measures.counts == {
        "impressions": 4,
        "impressions_without_choice": 2,
        "shown": 14,
        "clicked": 5,
        "tied_impressions": 1,
    }
    shuffled = measures.slices["ties:shuffled"]
    assert shuffled["auc"] == pytest.approx(measures.metrics["auc"])
    assert shuffled["mrr"] == pytest.approx((1 / 2 + 2 / 3 + 1 + 3 / 4) / 4)


def test_slices(split):
    measures = task.measure(task.answer(Scores(np.arange(ITEMS)), split, "test"), split, toy.items(ITEMS))
    sizes = {name: part["impressions"] for name, part in measures.slices.items()}
    # items 1, 2, 3, 5 occur in training: the clicks of impressions 0, 1 (one of two) and 3 are cold
    assert sizes["items:cold"] == 3 and sizes["items:warm"] == 1
    assert [sizes[f"users:{third}"] for third in ("low", "mid", "high")] == [3, 0, 1]  # histories 0, 3, 3 stay together
    assert sum(sizes[f"shown:{third}"] for third in ("few", "some", "many")) == 4
    assert measures.slices["users:mid"] == {"impressions": 0}
    rows = measures.users.filter(pl.col("user") == 2)
    assert measures.slices["items:warm"]["auc"] == rows["auc"].item()


def test_equally_long_impressions_have_no_slices_by_length(split):
    same = split.impressions["test"].take(np.array([0, 0]))
    answers = task.answer(Scores(np.arange(ITEMS)), dataclasses.replace(split, impressions={"test": same}), "test")
    assert not any(name.startswith("shown:") for name in task.measure(answers, split, toy.items(ITEMS)).slices)


def test_a_constant_score_earns_nothing(split):
    measures = task.measure(task.answer(Scores(np.ones(ITEMS)), split, "test"), split, toy.items(ITEMS))
    assert measures.metrics["auc"] == 0.5
    assert measures.users["mrr"].to_list() == pytest.approx([1 / 4, (1 / 4 + 1 / 5) / 2, 1 / 2, 1 / 3])  # the worst
    assert measures.counts["tied_impressions"] == 4


def test_nothing_to_judge(split):
    none = dataclasses.replace(split, impressions={part: toy.impressions([], ITEMS) for part in ("valid", "test")})
    measures = task.measure(task.answer(Scores(np.ones(ITEMS)), none, "test"), none, toy.items(ITEMS))
    assert measures.metrics == {} and len(measures.users) == 0 and measures.counts["impressions"] == 0
    assert task.validate(Scores(np.ones(ITEMS)), none)["auc"] == 0.0


def test_validation_looks_at_the_validation_part(split):
    values = np.zeros(ITEMS)
    values[[4, 7]] = 1  # the clicks of the validation part
    assert task.validate(Scores(values), split) == {"auc": 1.0, "mrr": 1.0, "ndcg@5": 1.0, "ndcg@10": 1.0}
    assert task.validate(Scores(-values), split)["auc"] == 0.0


def broken(answer):
    class Broken:
        name = "broken"

        def rerank(self, users, candidates):
            return answer(len(candidates.items))

    return Broken()


def one_nan(n):
    scores = np.zeros(n)
    scores[5] = np.nan
    return scores


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (one_nan, r"broken: the score of item 2 in impression 1 \(user 1\) is nan"),
        (lambda n: np.full(n, np.inf), r"broken: the score of item 5 in impression 0 \(user 0\) is inf"),
        (
            lambda n: np.zeros(n - 1),
            r"broken: rerank\(\) returned shape \(17,\) for the impressions 0 to 5; expected \(18",
        ),
        (lambda n: np.zeros((n, 1)), r"shape \(18, 1\)"),
        (lambda n: ["a"] * n, "scores are real numbers"),
        (lambda n: np.zeros(n, complex), "scores are real numbers"),
    ],
)
def test_broken_answers_name_method_and_impression(split, answer, says):
    with pytest.raises(MethodError, match=says):
        task.answer(broken(answer), split, "test")


def test_scores_of_another_shape(split):
    with pytest.raises(MethodError, match=r"Scores: score\(\) returned shape \(6, 11\).*expected \(6, 12\)"):
        task.answer(Scores(np.zeros(ITEMS - 1)), split, "test")


def test_a_method_that_cannot_answer(split):
    with pytest.raises(MethodError, match="neither rerank"):
        task.answer(object(), split, "test")


def test_stored_answers_are_in_the_cards_ids_and_come_back(split, tmp_path):
    answers = task.answer(Scores(np.random.default_rng(2).standard_normal(ITEMS)), split, "test")
    hashes = task.write(answers, split, tmp_path)
    table = pl.read_parquet(tmp_path / "answers.parquet")
    assert table["item"].to_list() == split.canonical[split.impressions["test"].shown.items].tolist()
    assert table["impression"].to_list() == [0] * 4 + [1] * 5 + [2] * 2 + [3] * 3 + [4] * 2 + [5] * 2
    assert task.hashes(table) == hashes
    again = task.read(tmp_path, split, {})
    assert np.array_equal(again.scores, answers.scores)
    assert task.measure(again, split, toy.items(ITEMS)).metrics == (
        task.measure(answers, split, toy.items(ITEMS)).metrics
    )


def test_fingerprints_tell_the_order_from_the_scores(split, tmp_path):
    values = np.random.default_rng(3).standard_normal(ITEMS)

    def hashes(some):
        return task.write(task.answer(Scores(some), split, "test"), split, tmp_path)

    first, scaled, other = hashes(values), hashes(2 * values), hashes(-values)
    assert first["answers"] == scaled["answers"] != other["answers"]
    assert first["scores"] != scaled["scores"]


def test_stored_answers_of_another_split(split, tmp_path):
    with pytest.raises(UserError, match="not here"):
        task.read(tmp_path, split, {})
    task.write(task.answer(Scores(np.zeros(ITEMS)), split, "test"), split, tmp_path)
    other = dataclasses.replace(split, impressions={"test": split.impressions["test"].take(np.arange(5))})
    with pytest.raises(UserError, match="another split"):
        task.read(tmp_path, other, {})
    (tmp_path / "answers.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="cannot be read"):
        task.read(tmp_path, split, {})


def test_first_shown_keeps_the_logs_order(split):
    method = load_method("first-shown")()
    method.fit(split, Context(seed=0, items=toy.items(ITEMS)))
    scores = task.answer(method, split, "test").scores
    assert scores.tolist() == [3, 2, 1, 0, 4, 3, 2, 1, 0, 1, 0, 2, 1, 0, 1, 0, 1, 0]


def test_news_that_nobody_clicked_before_are_ranked_by_their_text(split):
    rows = [(0, [2, 4], [7, 8, 9, 11], [8]), (1, [5, 1], [6, 9, 10], [9])]  # even items are animals, odd ones tools
    fresh = dataclasses.replace(split, impressions={**split.impressions, "test": toy.impressions(rows, ITEMS)})
    method = load_method("tfidf")()
    method.fit(fresh, Context(seed=0, items=toy.items(ITEMS)))
    measures = task.measure(task.answer(method, fresh, "test"), fresh, toy.items(ITEMS))
    assert measures.metrics["auc"] == 1.0
    assert measures.slices["items:cold"]["impressions"] == 2
