"""The task rating: what is asked, what is refused, how it is judged and stored."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.errors import MethodError, UserError
from llmrec.tasks import TASKS, rating

USERS, ITEMS = 12, 20
RNG = np.random.default_rng(5)


def some_ratings(n):
    pairs = RNG.permutation(10 * 18)[:n]  # users 10 and 11, items 18 and 19 are never drawn
    return [(int(p % 10), int(p // 10), float(RNG.integers(1, 6))) for p in pairs]


ROWS = some_ratings(150)
TRAIN, VALID, TEST = ROWS[:90], ROWS[90:110], [*ROWS[110:], (3, 18, 4.0), (10, 2, 5.0), (10, 18, 1.0)]
SPLIT = toy.rated(TRAIN, VALID, TEST, USERS, ITEMS)


class Formula:
    """Predicts by a formula of user and item, and remembers what it was asked."""

    def __init__(self, formula=lambda user, item: 1.0 + (user * 7 + item * 3) % 40 / 10):
        self.formula, self.batches = formula, []

    def predict(self, users, items):
        self.batches.append((users, items))
        return np.array([self.formula(int(u), int(i)) for u, i in zip(users, items, strict=True)])


def measured(method, split=SPLIT):
    return rating.measure(rating.answer(method, split, "test"), split, toy.items(ITEMS))


def test_every_held_out_rating_is_asked_once():
    answers = rating.answer(Formula(), SPLIT, "test")
    found = sorted(zip(answers.users.tolist(), answers.items.tolist(), answers.given.tolist(), strict=True))
    assert found == sorted(TEST)
    assert answers.predicted.dtype == np.float32
    assert (np.diff(answers.users) >= 0).all()


def test_the_size_of_the_batches_changes_nothing():
    whole = rating.answer(Formula(), SPLIT, "test")
    method = Formula()
    parts = rating.answer(method, SPLIT, "test", batch=7)
    assert [len(users) for users, _ in method.batches] == [7] * (len(TEST) // 7) + [len(TEST) % 7]
    np.testing.assert_array_equal(whole.predicted, parts.predicted)


def test_a_method_that_writes_into_its_arguments_spoils_nothing():
    class Careless(Formula):
        def predict(self, users, items):
            found = super().predict(users.copy(), items.copy())
            users[:], items[:] = 0, 0
            return found

    careless, careful = (rating.answer(method, SPLIT, "test") for method in (Careless(), Formula()))
    np.testing.assert_array_equal(careless.items, careful.items)
    np.testing.assert_array_equal(careless.predicted, careful.predicted)


def test_a_sample_of_users_is_asked_alone():
    split = dataclasses.replace(SPLIT, asked={**SPLIT.asked, "test": np.array([3, 7], np.int32)})
    assert set(rating.answer(Formula(), split, "test").users) == {3, 7}


def test_items_that_are_no_candidates_are_not_asked():
    candidates = np.ones(ITEMS, bool)
    candidates[18] = False
    split = dataclasses.replace(SPLIT, candidates=candidates)
    assert 18 not in rating.answer(Formula(), split, "test").items
    assert measured(Formula(), split).counts["targets"] == len(TEST) - 2


def test_figures_by_hand():
    measures = measured(Formula())
    predicted = np.array([np.float32(Formula().formula(u, i)) for u, i, _ in TEST], np.float64)
    given = np.array([value for _, _, value in TEST])
    assert measures.metrics["rmse"] == pytest.approx(np.sqrt(((predicted - given) ** 2).mean()), abs=1e-12)
    assert measures.metrics["mae"] == pytest.approx(np.abs(predicted - given).mean(), abs=1e-12)
    higher = predicted[given >= 4][:, None] - predicted[given < 4]
    assert measures.metrics["auc"] == pytest.approx(((higher > 0) + (higher == 0) / 2).mean(), abs=1e-12)
    assert measures.counts == {
        "users": len({u for u, _, _ in TEST}),
        "users_without_rating": USERS - len({u for u, _, _ in TEST}),
        "targets": len(TEST),
        "clipped": 0,
        "liked": int((given >= 4).sum()),
    }


def test_the_users_figures():
    users = measured(Formula()).users
    assert users.columns == ["user", "targets", "history", *TASKS["rating"].accuracy]
    for user, targets, history, rmse, mae in users.iter_rows():
        own = [(i, value) for u, i, value in TEST if u == user]
        errors = np.array([np.float64(np.float32(Formula().formula(user, i))) - value for i, value in own])
        assert targets == len(own)
        assert history == sum(u == user for u, _, _ in TRAIN + VALID)
        assert rmse == pytest.approx(np.sqrt((errors**2).mean()), abs=1e-12)
        assert mae == pytest.approx(np.abs(errors).mean(), abs=1e-12)
    assert users["user"].to_list() == sorted({u for u, _, _ in TEST})


def test_predictions_outside_the_scale_are_judged_at_its_end_and_counted():
    measures = measured(Formula(lambda user, item: 9.0 if user == 3 else -2.0))
    given = np.array([(value, 5.0 if u == 3 else 1.0) for u, _, value in TEST])
    assert measures.metrics["mae"] == pytest.approx(np.abs(given[:, 0] - given[:, 1]).mean())
    assert measures.counts["clipped"] == len(TEST)
    unbounded = measured(Formula(lambda user, item: 9.0), dataclasses.replace(SPLIT, scale=None))
    assert unbounded.metrics["mae"] == pytest.approx(9.0 - given[:, 0].mean())
    assert unbounded.counts["clipped"] == 0


def test_slices_divide_users_and_items():
    slices = measured(Formula()).slices
    thirds = [slices[f"users:{name}"]["targets"] for name in ("low", "mid", "high")]
    assert sum(thirds) == slices["items:head"]["targets"] + slices["items:tail"]["targets"] == len(TEST)
    assert slices["users:cold"]["targets"] == 2  # user 10
    assert slices["items:cold"]["targets"] >= 2  # item 18
    cold = [np.float32(Formula().formula(u, i)) - value for u, i, value in TEST if u == 10]
    assert slices["users:cold"]["mae"] == pytest.approx(np.abs(cold).mean(), abs=1e-6)


def test_an_empty_slice_has_its_counts_only():
    rows = [(0, 0, 4.0), (0, 1, 2.0), (1, 0, 5.0), (1, 2, 1.0), (0, 2, 3.0), (1, 1, 3.0)]
    split = toy.rated(rows, [], [(0, 0, 3.0)], 2, 3)
    assert measured(Formula(), split).slices["users:cold"] == {"targets": 0.0, "users": 0.0}


def test_without_liked_ratings_there_is_no_auc():
    assert set(measured(Formula(), dataclasses.replace(SPLIT, liked=None)).metrics) == {"rmse", "mae"}
    assert set(measured(Formula(), dataclasses.replace(SPLIT, liked=6.0)).metrics) == {"rmse", "mae"}
    assert "liked" not in measured(Formula(), dataclasses.replace(SPLIT, liked=None)).counts


def test_the_metrics_are_those_of_the_facts():
    assert set(measured(Formula()).metrics) == set(TASKS["rating"].metrics)
    assert TASKS["rating"].primary in rating.validate(Formula(), SPLIT)


def test_validation_judges_the_validation_part():
    given = np.array([value for _, _, value in VALID])
    assert rating.validate(Formula(lambda user, item: 3.0), SPLIT)["mae"] == pytest.approx(np.abs(given - 3).mean())
    assert (
        rating.validate(Formula(), dataclasses.replace(SPLIT, asked={**SPLIT.asked, "valid": np.zeros(0, np.int32)}))
        == {}
    )


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda u, i: np.full(len(u), np.nan), r"returned nan for user 0 and item \d+; ratings are finite"),
        (lambda u, i: np.where(u == 3, np.inf, 3.0), "returned inf for user 3 and item"),
        (lambda u, i: np.full(len(u), 1e300), "1e\\+300"),
        (lambda u, i: np.zeros((len(u), 2)), r"returned shape \(43, 2\) .* begin with user 0 .* expected \(43,\)"),
        (lambda u, i: np.zeros(len(u) - 1), r"returned shape \(42,\)"),
        (lambda u, i: 3.0, r"returned shape \(\)"),
        (lambda u, i: np.array(["good"] * len(u)), "type <U4; ratings are real numbers"),
        (lambda u, i: np.full(len(u), 1j), "ratings are real numbers"),
    ],
)
def test_what_is_no_rating_is_refused(predict, message):
    method = type("Odd", (), {"predict": staticmethod(predict)})()
    with pytest.raises(MethodError, match=f"Odd: predict\\(\\) .*{message}"):
        rating.answer(method, SPLIT, "test")


def test_a_method_that_cannot_predict_is_refused():
    with pytest.raises(MethodError, match=r"has no predict\(users, items\)"):
        rating.answer(object(), SPLIT, "test")


def test_what_is_stored_gives_the_same_figures(tmp_path):
    moved = dataclasses.replace(SPLIT, canonical=RNG.permutation(ITEMS).astype(np.int32))
    answers = rating.answer(Formula(lambda user, item: user / 3 + item / 7), moved, "test")
    hashes = rating.write(answers, moved, tmp_path)
    table = pl.read_parquet(tmp_path / "answers.parquet")
    assert table.schema == {"user": pl.Int32, "item": pl.Int32, "prediction": pl.Float32}
    np.testing.assert_array_equal(table["item"], moved.canonical[answers.items])
    assert rating.hashes(table) == hashes
    again = rating.read(tmp_path, moved, {})
    assert (
        rating.measure(again, moved, toy.items(ITEMS)).metrics
        == rating.measure(answers, moved, toy.items(ITEMS)).metrics
    )
    assert (
        rating.measure(again, moved, toy.items(ITEMS)).counts == rating.measure(answers, moved, toy.items(ITEMS)).counts
    )


def test_fingerprints_tell_predictions_apart(tmp_path):
    one, other = (rating.answer(Formula(lambda u, i, plus=plus: 3 + plus), SPLIT, "test") for plus in (0, 1e-3))
    assert rating.write(one, SPLIT, tmp_path)["answers"] != rating.write(other, SPLIT, tmp_path)["answers"]


def test_answers_that_are_gone_broken_or_of_another_split(tmp_path):
    with pytest.raises(UserError, match=r"answers\.parquet: not here"):
        rating.read(tmp_path, SPLIT, {})
    rating.write(rating.answer(Formula(), SPLIT, "test"), SPLIT, tmp_path)
    other = toy.rated(TRAIN, VALID, TEST[:-1], USERS, ITEMS)
    with pytest.raises(UserError, match="belong to another split"):
        rating.read(tmp_path, other, {})
    (tmp_path / "answers.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="cannot be read"):
        rating.read(tmp_path, SPLIT, {})
