"""ratio, random, user-holdout, official, impressions and requests on small data made by hand."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.errors import UserError
from llmrec.records import Protocol
from llmrec.split import make_split
from llmrec.types import Interactions, Items


def dataset(sequences, n_items=30, time="exact", **more):
    """Users with item sequences; event p of a user happens at time p and has the value p."""
    interactions = toy.interactions(sequences, n_items)
    known = pl.col("order").cast(pl.Int64) if time == "exact" else pl.lit(None, pl.Int64)
    frame = interactions.frame.with_columns(time=known, value=pl.col("order").cast(pl.Float32))
    protocols = ["temporal", "leave-one-out", "ratio", "random", "user-holdout", "official", "impressions", "requests"]
    return SimpleNamespace(**{
        "name": "by-hand", "card": SimpleNamespace(name="by-hand", time=time, protocols=protocols, rating=None),
        "interactions": Interactions(frame, len(sequences), n_items), "items": toy.items(n_items),
        "official": None, "impressions": None, "requests": None, **more,
    })  # fmt: skip


def canonical(split, interactions):
    return [[int(split.canonical[i]) for i in interactions.histories[user]] for user in range(split.n_users)]


def parts(split):
    return [canonical(split, part) for part in (split.train, split.valid, split.test)]


# ratio


@pytest.mark.parametrize(
    ("events", "sizes"),
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (2, 0, 1)), (5, (4, 0, 1)), (6, (4, 1, 1)), (10, (8, 1, 1)), (20, (16, 2, 2))],
)
def test_ratio_cuts_each_users_sequence(events, sizes):
    split, _ = make_split(dataset([list(range(events)), list(range(20))]), Protocol(name="ratio"))
    assert tuple(len(part[0]) for part in parts(split)) == sizes
    assert [i for part in parts(split) for i in part[0]] == list(range(events))


def test_ratio_tests_with_new_items():
    split, _ = make_split(dataset([[1, 2, 3, 4, 5, 6, 7, 1, 8, 8]]), Protocol(name="ratio", cuts=(0.5, 0.8)))
    assert parts(split) == [[[1, 2, 3, 4, 5]], [[6, 7]], [[8]]]
    assert split.counts["left_out_events"] == 2


def test_ratio_without_times_draws_instead_of_reading_an_order_into_the_file():
    protocol = Protocol(name="ratio")
    first, second = (
        make_split(dataset([order] * 4, time="none"), protocol)[0] for order in (list(range(20)), list(range(20))[::-1])
    )
    assert first.fingerprint != make_split(dataset([list(range(20))] * 4, time="order"), protocol)[0].fingerprint
    assert parts(first) == parts(second)
    tests = [tuple(sorted(items)) for items in parts(first)[2]]
    assert len(set(tests)) == 4 and all(len(items) == 2 for items in tests)
    with pytest.raises(UserError, match="nobody knows the newest events of by-hand"):
        make_split(dataset([[1, 2, 3]], time="none"), Protocol(name="ratio", max_history=2))


# random


def test_random_draws_exact_shares_and_keeps_values():
    sequences = [list(range(30)) for _ in range(20)]
    data = dataset(sequences)
    split, _ = make_split(data, Protocol(name="random"))
    assert [len(split.train), len(split.valid), len(split.test)] == [480, 60, 60]
    value = {(u, i): v for u, i, v, *_ in data.interactions.frame.iter_rows()}
    for part in (split.train, split.valid, split.test):
        for user, item, got, *_ in part.frame.iter_rows():
            assert got == value[user, split.canonical[item]]
    other = make_split(data, Protocol(name="random", seed=1))[0]
    assert set(zip(*split.test.frame.select("user", "item"), strict=True)) != set(
        zip(*other.test.frame.select("user", "item"), strict=True)
    )
    assert len({len(items) for items in parts(split)[2]}) > 1  # of all events, not of each user's


def test_random_keeps_a_pair_in_one_part():
    sequences = [[int(i) for i in np.random.default_rng(u).integers(0, 10, 40)] for u in range(10)]
    split, _ = make_split(dataset(sequences), Protocol(name="random"))
    train, valid, test = ({(u, i) for u, i in part.frame.select("user", "item").iter_rows()}
                          for part in (split.train, split.valid, split.test))  # fmt: skip
    assert not train & valid and not train & test and not valid & test
    assert len(test) == len(split.test)  # each pair is asked for once
    assert len(split.train) > len(train)  # repeated events train
    assert sum(split.counts[f"{name}_events"] for name in ("train", "valid", "test", "left_out")) == 400


# user-holdout


def test_user_holdout():
    """100 users with 12 items each: 80 train; of 10 and 10, 10 items are given and 2 asked for."""
    sequences = [[int(i) for i in np.random.default_rng(u).permutation(30)[:12]] for u in range(100)]
    split, _ = make_split(dataset(sequences), Protocol(name="user-holdout"))
    trained = {u for u, items in enumerate(canonical(split, split.train)) if items}
    assert len(trained) == 80
    held_out = {part: set(split.asked[part].tolist()) for part in ("valid", "test")}
    assert [len(users) for users in held_out.values()] == [10, 10]
    assert not trained & held_out["valid"] and not trained & held_out["test"]
    assert not held_out["valid"] & held_out["test"]
    for part, targets in (("valid", split.valid), ("test", split.test)):
        given, asked = canonical(split, split.known(part)), canonical(split, targets)
        for user in range(100):
            assert len(asked[user]) == (2 if user in held_out[part] else 0)
            assert len(given[user]) == (10 if user in held_out[part] else 0)
            if user in held_out[part]:
                assert sorted(given[user] + asked[user]) == sorted(sequences[user])
                assert given[user] == [i for i in sequences[user] if i in given[user]]  # in their order
    assert split.counts["given_events"] == 200 and split.counts["left_out_events"] == 0
    users, _ = next(split.batches("test", 100))
    assert users.histories.lengths.tolist() == [10] * 10


def test_user_holdout_asks_nobody_with_fewer_than_five_items():
    """Of 4 items a fifth is none; a target's repeats are not given."""
    sequences = [[0, 1, 2, 3]] * 50 + [[4, 5, 6, 7, 8, 4, 5, 6, 7, 8]] * 50
    split, _ = make_split(dataset(sequences), Protocol(name="user-holdout"))
    assert all(user >= 50 for part in ("valid", "test") for user in split.asked[part])
    for user in split.asked["test"].tolist():
        (target,), given = canonical(split, split.test)[user], canonical(split, split.given["test"])[user]
        assert target not in given and len(given) == 8
    counts = split.counts
    assert counts["left_out_events"] == len(split.asked["valid"]) + len(split.asked["test"])


def test_user_holdout_without_items_that_nobody_trained_on():
    """As in Mult-VAE: a target that no training user had is dropped, and with it a user who has no other."""
    sequences = [[0, 1, 2, 3, 4]] * 98 + [[5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]
    dropped = set()
    for seed in range(20):
        whole, known = (
            set(make_split(dataset(sequences), Protocol(name="user-holdout", seed=seed, candidates=c))[0].asked["test"])
            for c in ("all", "train")
        )
        assert known <= whole
        dropped |= whole - known
    assert dropped == {98, 99}  # each among the tested tenth in some of 20 draws


# official


def folds(n, lengths):
    return pl.Series([str(1 + p % n) for length in lengths for p in range(length)])


def test_official_folds_take_turns():
    data = dataset([list(range(10))] * 3, official=folds(5, [10] * 3))
    tested = []
    for fold in range(1, 6):
        split, _ = make_split(data, Protocol(name="official", fold=fold))
        train, valid, test = (part[0] for part in parts(split))
        assert test == [fold - 1, fold + 4] and valid == [fold % 5, fold % 5 + 5]
        assert sorted(train + valid + test) == list(range(10))
        tested += test
    assert sorted(tested) == list(range(10))


def test_official_parts():
    official = pl.Series(["train", "train", "valid", "test", None, "train", "test"])
    split, _ = make_split(dataset([[1, 2, 3, 4, 5], [1, 2]], official=official), Protocol(name="official"))
    assert parts(split) == [[[1, 2], [1]], [[3], []], [[4], [2]]]
    assert split.counts["left_out_events"] == 1


def test_official_leaves_out_a_target_that_stands_on_an_earlier_side_too():
    """The test event of item 1 comes first in time, and item 1 is trained on all the same: it is no target."""
    official = pl.Series(["test", "train", "valid", "test", "test"])
    split, _ = make_split(dataset([[1, 1, 2, 2, 3]], official=official), Protocol(name="official"))
    assert parts(split) == [[[1]], [[2]], [[3]]]


def test_official_follows_its_events_through_ties():
    """All events at one time: the hash moves them, and each keeps its part."""
    data = dataset([list(range(20))] * 3, official=pl.Series((["train"] * 12 + ["valid"] * 4 + ["test"] * 4) * 3))
    frame = data.interactions.frame.with_columns(time=pl.lit(7, pl.Int64))
    data.interactions = Interactions(frame, 3, 30)
    split, _ = make_split(data, Protocol(name="official"))
    train, valid, test = parts(split)
    assert all(sorted(items) == list(range(12)) for items in train) and train[0] != train[1]
    assert all(sorted(items) == [12, 13, 14, 15] for items in valid)
    assert all(sorted(items) == [16, 17, 18, 19] for items in test)


@pytest.mark.parametrize(
    ("official", "options", "message"),
    [
        (None, {}, "no split of its own"),
        (["1", "2", "3"], {}, r"3 official folds and none is chosen; set fold to a number from 1 to 3"),
        (["1", "2", "3"], {"fold": 4}, r"3 official folds and there is no fold 4"),
        (["train", "valid", "test"], {"fold": 1}, "has no folds but test, train, valid"),
        (["train", "train", "test"], {}, r"no validation part; use fit_data = 'train\+valid'"),
        (["a", "b", "c"], {"fold": 1}, "found a, b, c"),
    ],
)
def test_official_errors(official, options, message):
    data = dataset([[1, 2, 3]], official=None if official is None else pl.Series(official))
    with pytest.raises(UserError, match=message):
        make_split(data, Protocol(name="official", **options))


# impressions


def log(rows):
    schema = {
        "part": pl.String, "user": pl.Int32, "time": pl.Int64, "history": pl.List(pl.Int32),
        "shown": pl.List(pl.Int32), "clicked": pl.List(pl.Boolean),
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


LOG = [
    ("fit", 0, 10, [1, 2], [3, 4, 5], [True, False, False]),
    ("fit", 0, 20, [1, 2, 3], [6, 7], [False, True]),
    ("fit", 1, 15, [], [3, 8], [True, False]),
    ("valid", 1, 30, [3], [9, 10], [False, True]),
    ("test", 2, 40, [11, 12, 13], [1, 2, 14], [False, True, True]),
    ("test", 0, 41, [1, 2, 3, 7], [15, 16], [True, False]),
]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 3, 1, 4, 2, 0]])
def test_impressions_as_logged(order):
    data = dataset([[], [], []], impressions=log([LOG[i] for i in order]))
    split, items = make_split(data, Protocol(name="impressions"), "impressions")

    def own(ids):
        return [int(split.canonical[i]) for i in ids]

    assert canonical(split, split.train) == [[1, 2, 3, 7], [3], []]  # item 3: in the newest history, so once
    fit, valid, test = (split.impressions[part] for part in ("fit", "valid", "test"))
    assert [len(part) for part in (fit, valid, test)] == [3, 1, 2]
    assert test.users.ids.tolist() == [0, 2]
    assert [own(test.shown[row]) for row in range(2)] == [[15, 16], [1, 2, 14]]
    assert test.clicked.tolist() == [True, False, False, True, True]
    assert own(test.users.histories[1]) == [11, 12, 13]
    assert len(fit.users.histories[2]) == 0 and own(valid.shown[0]) == [9, 10]
    assert split.asked["test"].tolist() == [0, 2] and len(split.test) == 0
    assert items.texts[int(np.flatnonzero(split.canonical == 16)[0])] == data.items.texts[16]  # never clicked
    reference = make_split(dataset([[], [], []], impressions=log(LOG)), Protocol(name="impressions"), "impressions")[0]
    assert split.fingerprint == reference.fingerprint


def test_a_sample_of_impressions_holds_every_smaller_one():
    rows = [
        (part, u % 7, u, [int(u) % 5], [int(u) % 11, 12 + int(u) % 9], [True, False])
        for part in ("fit", "valid", "test") for u in range(60)
    ]  # fmt: skip
    data = dataset([[]] * 7, impressions=log(rows))
    seen = []
    for users in (5, 20, "all"):
        split = make_split(data, Protocol(name="impressions", users=users), "impressions")[0]
        test = split.impressions["test"]
        seen.append({(int(u), *map(int, test.shown[r])) for r, u in enumerate(test.users.ids)})
        assert len(test) == (60 if users == "all" else users) and len(split.impressions["fit"]) == 60
    assert seen[0] < seen[1] < seen[2]


def test_interactions_of_users_without_impressions_to_fit_on_train_too():
    """User 2 is only tested; user 0 is in the fit part, which knows better than the interactions."""
    split = make_split(
        dataset([[20], [], [11, 12]], impressions=log(LOG)), Protocol(name="impressions"), "impressions"
    )[0]
    assert canonical(split, split.train) == [[1, 2, 3, 7], [3], [11, 12]]


def test_impressions_with_the_newest_of_the_history():
    split = make_split(
        dataset([[], [], []], impressions=log(LOG)), Protocol(name="impressions", max_history=2), "impressions"
    )[0]
    assert canonical(split, split.train) == [[3, 7], [3], []]
    assert [int(split.canonical[i]) for i in split.impressions["test"].users.histories[1]] == [12, 13]


def test_histories_of_users_without_impressions_to_fit_on_train_too():
    data = dataset([[1, 2, 9], [], [], [4, 4, 6]], impressions=log(LOG))
    split, _ = make_split(data, Protocol(name="impressions"), "impressions")
    assert canonical(split, split.train) == [[1, 2, 3, 7], [3], [], [4, 4, 6]]  # of user 0 the impressions know it


def test_impressions_that_are_not_there():
    with pytest.raises(UserError, match="by-hand has no impressions"):
        make_split(dataset([[1]]), Protocol(name="impressions"), "impressions")
    with pytest.raises(UserError, match="no impressions in the part 'valid'"):
        make_split(dataset([[1]] * 3, impressions=log([LOG[0], LOG[4]])), Protocol(name="impressions"), "impressions")


# requests


def asks(rows):
    schema = {"text": pl.String, "items": pl.List(pl.Int32), "kind": pl.String, "field": pl.String, "part": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


ASKS = [
    ("a cat", [4, 2], "shares words", "categories", "test"),
    ("something that purrs", [2], "shares no word", "categories", "test"),
    ("a hammer", [1, 3, 3], "shares words", "categories", "valid"),
]


def requesting(rows, **more):
    data = dataset([[1, 2, 1], [3]], requests=asks(rows), **more)
    data.card.requests = None  # they came in a file
    data.fields = data.items.frame.select("title", "categories")
    data.items_without = lambda *fields: Items(data.items.frame.with_columns(text=pl.lit(f"no {', '.join(fields)}")))
    return data


@pytest.mark.parametrize("rows", [ASKS, ASKS[::-1]])
def test_requests(rows):
    split, items = make_split(requesting(rows), Protocol(name="requests"), "request")
    assert canonical(split, split.train) == [[1, 2, 1], [3]]  # all interactions train
    test, valid = split.requests["test"], split.requests["valid"]
    assert test.texts == ["a cat", "something that purrs"] and test.kinds == ["shares words", "shares no word"]
    assert sorted(int(split.canonical[i]) for i in test.relevant[0]) == [2, 4]
    assert sorted(int(split.canonical[i]) for i in valid.relevant[0]) == [1, 3]  # each answer once
    assert set(items.texts) == {"no categories"}
    assert sorted(split.canonical[split.candidates].tolist()) == [1, 2, 3, 4]
    leaking, whole = make_split(requesting(rows), Protocol(name="requests", withhold=False), "request")
    assert set(whole.texts) == set(toy.items(30).texts)
    assert leaking.fingerprint != split.fingerprint
    assert split.fingerprint == make_split(requesting(ASKS), Protocol(name="requests"), "request")[0].fingerprint


def test_a_sample_of_requests():
    rows = [(f"request {n}", [n % 30], "k", "categories", part) for n in range(50) for part in ("valid", "test")]
    split = make_split(requesting(rows), Protocol(name="requests", users=10), "request")[0]
    more = make_split(requesting(rows), Protocol(name="requests", users=20), "request")[0]
    assert len(split.requests["test"]) == 10
    assert set(split.requests["test"].texts) < set(more.requests["test"].texts)


def test_requests_that_are_not_there():
    with pytest.raises(UserError, match="by-hand has no requests"):
        make_split(dataset([[1]]), Protocol(name="requests"), "request")
    with pytest.raises(UserError, match="no requests in the part 'valid'"):
        make_split(requesting(ASKS[:2]), Protocol(name="requests"), "request")
