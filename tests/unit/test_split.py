"""Splits of small data whose parts can be written down by hand."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from llmrec.data import load
from llmrec.data.ties import tie_share
from llmrec.errors import UserError
from llmrec.records import Protocol
from llmrec.seeds import hash64
from llmrec.split import make_split
from llmrec.split.admits import OPTIONS, TASK_OF, check
from llmrec.types import Interactions, Items


def dataset(sequences, times=None, n_items=10, time="exact", protocols=("temporal", "leave-one-out")):
    """Users with item sequences; by default event p of every user happens at time p."""
    rows = [
        (user, item, 1.0, times[user][place] if times else place, place)
        for user, items in enumerate(sequences)
        for place, item in enumerate(items)
    ]
    schema = {"user": pl.Int32, "item": pl.Int32, "value": pl.Float32, "time": pl.Int64, "order": pl.Int32}
    names = [f"item {i}" for i in range(n_items)]
    catalogue = pl.DataFrame({"raw_id": names, "title": names, "text": names, "categories": [["x"]] * n_items})
    return SimpleNamespace(
        name="by-hand", items=Items(catalogue),
        card=SimpleNamespace(name="by-hand", time=time, protocols=list(protocols), rating=None),
        official=None, impressions=None, requests=None,
        interactions=Interactions(pl.DataFrame(rows, schema=schema, orient="row"), len(sequences), n_items),
    )  # fmt: skip


def parts(split) -> list[list[list[int]]]:
    """train, valid and test as canonical item ids per user."""
    return [
        [[int(split.canonical[i]) for i in part.histories[user]] for user in range(split.n_users)]
        for part in (split.train, split.valid, split.test)
    ]


def test_leave_one_out():
    split, _ = make_split(dataset([[1, 2, 3, 4], [5, 6], [7, 8, 9]]), Protocol())
    assert parts(split) == [[[1, 2], [5, 6], [7]], [[3], [], [8]], [[4], [], [9]]]
    assert split.asked["valid"].tolist() == split.asked["test"].tolist() == [0, 2]
    assert split.train_and_valid.frame["order"].to_list() == [0, 1, 2, 0, 1, 0, 1]
    assert split.candidates.all()


def test_leave_one_out_tests_with_new_items_only():
    """A repeated item is no target; repeats before the validation item train, later ones are left out."""
    split, _ = make_split(dataset([[1, 2, 1, 3, 4, 3], [1, 1, 2, 2]]), Protocol())
    assert parts(split) == [[[1, 2, 1], [1, 1, 2, 2]], [[3], []], [[4], []]]


def test_leave_one_out_with_trained_candidates_only():
    """User 1's test item 9 is in nobody's training data: it is no candidate, and user 1 is not asked."""
    split, _ = make_split(dataset([[1, 2, 3, 4], [4, 3, 1, 9], [3, 4, 1, 2]]), Protocol(candidates="train"))
    assert sorted(split.canonical[split.candidates].tolist()) == [1, 2, 3, 4]
    assert split.asked["test"].tolist() == [0, 2] and split.asked["valid"].tolist() == [0, 1, 2]


def test_temporal():
    """20 events at times 0..19: the 80 % quantile is 15, the 90 % quantile 17."""
    sequences = [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 1, 9]]
    times = [list(range(0, 8)), list(range(8, 16)), [16, 17, 18, 19]]
    split, _ = make_split(dataset(sequences, times), Protocol(name="temporal"))
    assert parts(split) == [
        [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8], []],
        [[], [], [1, 2]],
        [[], [], [9]],  # the second 1 is no new item
    ]
    assert split.asked["test"].tolist() == [2]
    with pytest.raises(UserError, match="no user has a target"):  # user 2 has no training data, nor has item 9
        make_split(dataset(sequences, times), Protocol(name="temporal", candidates="train"))


def test_temporal_asks_warm_users_for_warm_items():
    """40 events: 32 at time 0 train, 4 at time 1 validate, 4 at time 2 test; items 17 and 18 are new to all."""
    sequences = [[*range(16), 16, 17], list(range(1, 17)), [0, 1, 5], [2, 3, 18]]
    times = [[0] * 16 + [2, 2], [0] * 16, [1, 1, 2], [1, 1, 2]]
    data = dataset(sequences, times, n_items=20)
    everything = make_split(data, Protocol(name="temporal"))[0]
    warm = make_split(data, Protocol(name="temporal", candidates="train"))[0]
    assert everything.asked == {"valid": pytest.approx([2, 3]), "test": pytest.approx([0, 2, 3])}
    assert warm.asked["valid"].tolist() == [] and warm.asked["test"].tolist() == [0]
    assert [int(warm.canonical[i]) for i in warm.targets("test").items] == [16]
    both = everything.targets("test").take(slice(0, 1)).items
    assert sorted(int(everything.canonical[i]) for i in both) == [16, 17]
    assert sorted(warm.canonical[warm.candidates].tolist()) == list(range(17))


def test_a_protocol_that_the_card_does_not_admit():
    with pytest.raises(UserError, match=r"by-hand does not admit .*'temporal'.*time = 'order'.*leave-one-out"):
        make_split(dataset([[1, 2, 3]], time="order", protocols=["leave-one-out"]), Protocol(name="temporal"))


def test_ties_by_hash_and_by_file():
    sequences = [[1, 2, 3, 4, 5, 6]] * 40
    tied = dataset(sequences, [[0] * 6] * 40)
    by_file = make_split(tied, Protocol(ties="file"))[0]
    assert all(items == [6] for items in parts(by_file)[2])
    lasts = [tuple(items for (items,) in parts(make_split(tied, Protocol(seed=seed))[0])[2]) for seed in (0, 0, 1)]
    assert lasts[0] == lasts[1] != lasts[2]  # the protocol's seed, and nothing else
    assert len(set(lasts[0])) == 6  # each user's own order, not one for all


def test_items_move_by_the_protocols_seed():
    data = dataset([[1, 2, 3, 4]] * 3)
    (first, items), (again, _), (other, _) = (make_split(data, Protocol(seed=seed)) for seed in (0, 0, 1))
    assert sorted(first.canonical) == list(range(10))
    assert (first.canonical == again.canonical).all() and (first.canonical != other.canonical).any()
    assert items.titles == [f"item {i}" for i in first.canonical]
    assert parts(first) == parts(other)
    by_item = dict(zip(first.canonical.tolist(), first.item_order.tolist(), strict=True))
    assert sorted(by_item.values()) == list(range(10))


@pytest.mark.parametrize(
    "change", [{"fit_data": "train+valid"}, {"seed": 1}, {"users": 1}, {"candidates": "train"}, {"mask_history": False}]
)
def test_every_change_of_protocol_changes_the_fingerprint(change):
    data = dataset([[1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2]])
    plain, again, changed = (make_split(data, Protocol(**options))[0] for options in ({}, {}, change))
    assert plain.fingerprint == again.fingerprint != changed.fingerprint


def test_hash64_is_a_rows_own():
    users, items = np.arange(6).reshape(3, 2), np.arange(6).reshape(3, 2) * 7
    whole = hash64(1, users, items)
    assert (whole[1:] == hash64(1, users[1:], items[1:])).all()
    assert len(np.unique(hash64(1, np.arange(1000)[:, None], np.arange(100)))) == 100_000
    assert (hash64(1, users) != hash64(2, users)).all()
    bits = np.unpackbits(hash64(3, np.arange(10_000)).view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 0.03  # each of the 64 bits is set half of the time


def test_tie_share():
    tied = dataset([[1, 2, 3], [1, 2, 3]], [[0, 5, 5], [0, 0, 7]])
    assert tie_share(tied.interactions) == {"events": pytest.approx(4 / 6), "last_items": 0.5}


def test_movielens_has_44_percent_ambiguous_last_items(mirror, tmp_path, monkeypatch):
    """REFERENCE: on ML-100K 44 % of users have an ambiguous last item. The tie rule moves no item between the parts of
    the temporal split, for its cuts are moments."""
    monkeypatch.setenv("LLMREC_MIRROR", str(mirror))
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    data = load("ml-100k")
    for protocol in (Protocol(), Protocol(ties="file")):
        split, items = make_split(data, protocol)
        assert (len(split.train), len(split.valid), len(split.test)) == (98_114, 943, 943)
        assert len(items) == 1682
        assert split.counts["tied_test_users"] / 943 == pytest.approx(0.44, abs=0.005)
    temporal = make_split(data, Protocol(name="temporal"))[0]
    assert temporal.counts["ties"] == split.counts["ties"] > 0
    assert temporal.counts["tied_test_users"] == 0


def test_ties_that_decide_and_ties_that_do_not():
    """User 0: the last two are tied. User 1: the first two are, which no target is among. User 2: the last but one and
    the one before are tied, but the test item is the last under any rule. User 3: a repeat beside the last item."""
    sequences = [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 1]]
    times = [[0, 1, 5, 5], [0, 0, 1, 2], [0, 3, 3, 4], [0, 1, 5, 5]]
    split, _ = make_split(dataset(sequences, times), Protocol(ties="file"))
    assert split.counts["ties"] == 8
    assert split.counts["tied_test_users"] == 1
    assert "ties" not in make_split(dataset(sequences, time="order"), Protocol())[0].counts


def test_every_event_is_counted_once():
    split, _ = make_split(dataset([[1, 2, 1, 3, 4, 3], [1, 1, 2, 2]]), Protocol())
    known = {"train_events": 7, "valid_events": 1, "test_events": 1, "left_out_events": 1}
    assert {name: split.counts[name] for name in known} == known
    dropped = make_split(dataset([[1, 2, 1, 3, 4, 3], [1, 1, 2, 2]]), Protocol(repeats="drop"))[0].counts
    assert {name: dropped[name] for name in known} == {**known, "train_events": 4, "left_out_events": 4}


def test_repeats_dropped_or_as_targets():
    sequences = [[1, 2, 1, 3, 1], [4, 5, 5, 4]]
    data = dataset(sequences)
    assert parts(make_split(data, Protocol())[0]) == [[[1], [4, 5, 5, 4]], [[2], []], [[3], []]]
    dropped = make_split(data, Protocol(repeats="drop"))[0]
    assert parts(dropped) == [[[1], [4, 5]], [[2], []], [[3], []]]
    assert dropped.test.frame["order"].to_list() == [2]
    again = make_split(data, Protocol(repeats="target", mask_history=False))[0]
    assert parts(again) == [[[1, 2, 1], [4, 5]], [[3], [5]], [[1], [4]]]


def test_repeated_targets_count_once_in_a_part():
    times = [[0] * 16, [1, 1, 2, 2]]
    data = dataset([[0, 1, 2, 3] * 4, [1, 2, 1, 1]], times)
    split = make_split(data, Protocol(name="temporal", ties="file", repeats="target", mask_history=False))[0]
    assert parts(split)[1:] == [[[], [1, 2]], [[], [1]]]


@pytest.mark.parametrize("name", ["leave-one-out", "temporal", "ratio", "random", "user-holdout"])
def test_max_history_keeps_the_newest_training_events_and_the_same_targets(name):
    sequences = [[int(i) for i in np.random.default_rng(u).permutation(30)[:20]] for u in range(40)]
    data = dataset(sequences, n_items=30, protocols=[name])
    whole, short = (make_split(data, Protocol(name=name, max_history=length))[0] for length in ("all", 3))
    assert parts(short)[1:] == parts(whole)[1:]
    known = [(whole.train, short.train), *((whole.given[part], short.given[part]) for part in whole.given)]
    for full, cut in known:
        for user in range(40):
            assert cut.histories[user].tolist() == full.histories[user].tolist()[-3:]
    assert short.counts["left_out_events"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "leave-one-out", "cuts": (0.5, 0.9)}, r"cuts = .* has no effect under 'leave-one-out'"),
        ({"name": "leave-one-out", "fold": 1}, "only 'official' has folds"),
        ({"name": "temporal", "withhold": False}, "only 'requests' withholds"),
        ({"name": "user-holdout", "fit_data": "train+valid"}, "use fit_data = 'train'"),
        ({"name": "official", "cuts": (0.5, 0.9)}, "cuts"),
        ({"name": "random", "repeats": "target", "mask_history": False}, "stay in one part"),
        ({"name": "temporal", "repeats": "target"}, "needs mask_history = false"),
        ({"name": "temporal", "cuts": (0.9, 0.8)}, "0 < end of train < end of validation < 1"),
        ({"name": "ratio", "cuts": (0.8, 1.0)}, "cuts"),
    ],
)
def test_an_option_without_effect_or_sense_is_refused(options, message):
    data = dataset([[1, 2, 3, 4]], protocols=[options["name"]])
    with pytest.raises(UserError, match=message):
        make_split(data, Protocol(**options))


@pytest.mark.parametrize(
    ("options", "task", "message"),
    [
        ({"name": "leave-one-out"}, "impressions", "does not go with the task 'impressions', which needs impressions"),
        ({"name": "impressions"}, "topn", "does not go with the task 'topn'"),
        ({"name": "requests"}, "rating", "does not go with the task 'rating'"),
        ({"name": "impressions", "mask_history": False}, "impressions", "mask_history = False has no effect"),
        ({"name": "random", "candidates": "train"}, "rating", "no effect on the task 'rating'"),
        ({"name": "requests", "max_history": 5}, "request", "Options there: users, withhold, seed"),
    ],
)
def test_protocol_and_task_must_fit(options, task, message):
    with pytest.raises(UserError, match=message):
        check(Protocol(**options), task)


def test_every_protocol_accepts_each_of_its_options():
    other = {
        "fit_data": "train+valid", "mask_history": False, "candidates": "train", "ties": "file", "repeats": "drop",
        "max_history": 5, "cuts": (0.5, 0.6), "fold": 2, "withhold": False, "users": 7,
    }  # fmt: skip
    assert {*other, "name", "seed"} == set(Protocol.model_fields)
    for name, options in OPTIONS.items():
        for option in options:
            check(Protocol(name=name, **{option: other[option]}), TASK_OF.get(name, "topn"))


def test_the_task_rating_needs_ratings():
    data = dataset([[1, 2, 3, 4]] * 5, protocols=["random"])
    with pytest.raises(UserError, match=r"by-hand has no ratings to predict.*random"):
        make_split(data, Protocol(name="random"), "rating")
    data.card.rating = SimpleNamespace(scale=(1.0, 5.0), liked=4.0)
    split = make_split(data, Protocol(name="random"), "rating")[0]
    assert (split.scale, split.liked) == ((1.0, 5.0), 4.0)
