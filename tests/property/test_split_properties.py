"""What every split must hold, whatever the data: ties, repeated pairs, users with one event."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.data.tables import canonical, fingerprint
from llmrec.errors import UserError
from llmrec.records import Protocol
from llmrec.split import make_split
from llmrec.types import NO_ITEM

EVENT = st.tuples(st.integers(0, 6), st.integers(0, 8), st.integers(0, 5))  # user, item, time: many ties and repeats
EVENTS = st.lists(EVENT, min_size=1, max_size=60)
PROTOCOL = st.builds(
    Protocol,
    name=st.sampled_from(["leave-one-out", "temporal"]),
    fit_data=st.sampled_from(["train", "train+valid"]),
    candidates=st.sampled_from(["all", "train"]),
    users=st.sampled_from(["all", 2]),
    seed=st.integers(0, 3),
)


def dataset(events, time="exact"):
    """What `llmrec.data.load` gives for a file with these lines."""
    statistics = {
        "users": len({user for user, _, _ in events}),
        "items": len({item for _, item, _ in events}),
        "interactions": len(events),
    }
    card = SimpleNamespace(
        name="drawn", time=time, rating=None, protocols=["temporal", "leave-one-out"] if time == "exact" else ["leave-one-out"],
        item_title="{title}", item_text=["{title}"], statistics=SimpleNamespace(model_dump=lambda: statistics),
        filters=SimpleNamespace(min_value=None, core=0, catalogue="listed"),
    )  # fmt: skip
    frame = pl.DataFrame(
        [(str(user), str(item), 1.0, when) for user, item, when in events],
        schema={"user": pl.String, "item": pl.String, "value": pl.Float32, "time": pl.Int64},
        orient="row",
    )
    listed = pl.DataFrame(
        {"raw_id": [], "title": [], "categories": []},
        schema={"raw_id": pl.String, "title": pl.String, "categories": pl.List(pl.String)},
    )
    interactions, items, users = canonical(card, frame, listed)
    return SimpleNamespace(
        name="drawn", card=card, interactions=interactions, items=items, users=users, official=None,
        fingerprint=fingerprint(interactions, items, users),
    )  # fmt: skip


def split_or_none(events, protocol, time="exact"):
    try:
        return make_split(dataset(events, time), protocol)[0]
    except UserError as error:
        assert "no user has a target" in str(error)
        return None


def pairs(interactions) -> list[tuple[int, int]]:
    return list(zip(interactions.user.tolist(), interactions.item.tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(EVENTS, PROTOCOL)
def test_no_target_is_known_when_it_is_asked_for(events, protocol):
    if (split := split_or_none(events, protocol)) is None:
        return
    for part in ("valid", "test"):
        known = set(pairs(split.known(part)))
        targets = split.targets(part)
        for row, user in enumerate(targets.users.tolist()):
            relevant = targets.items[targets.indptr[row] : targets.indptr[row + 1]].tolist()
            assert relevant and len(set(relevant)) == len(relevant)
            assert not {(user, item) for item in relevant} & known
            assert split.candidates[relevant].all()


@settings(max_examples=150, deadline=None)
@given(EVENTS, PROTOCOL)
def test_the_parts_hold_every_pair_exactly_once(events, protocol):
    """Every pair of user and item is in one part and one only; only repeated events may be left out."""
    if (split := split_or_none(events, protocol)) is None:
        return
    train, valid, test = (set(pairs(part)) for part in (split.train, split.valid, split.test))
    assert not train & valid and not train & test and not valid & test
    data = dataset(events)
    own = np.argsort(split.canonical)
    everything = {(user, int(own[item])) for user, item in pairs(data.interactions)}
    assert train | valid | test == everything
    assert len(split.train) + len(split.valid) + len(split.test) <= len(events)


@settings(max_examples=100, deadline=None)
@given(EVENTS, PROTOCOL, st.randoms(use_true_random=False))
def test_the_order_of_the_files_rows_does_not_matter(events, protocol, random):
    shuffled = list(events)
    random.shuffle(shuffled)
    first, second = split_or_none(events, protocol), split_or_none(shuffled, protocol)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.fingerprint == second.fingerprint
        for part in ("train", "valid", "test"):
            assert getattr(first, part).frame.equals(getattr(second, part).frame)


@settings(max_examples=100, deadline=None)
@given(EVENTS, PROTOCOL)
def test_histories_are_in_order_of_time_and_before_the_targets(events, protocol):
    if (split := split_or_none(events, protocol)) is None:
        return
    for part in (split.train, split.valid, split.test, split.train_and_valid):
        frame = part.frame
        user, time = frame["user"].to_numpy(), frame["time"].to_numpy()
        assert (np.diff(user) >= 0).all()
        assert (np.diff(time)[np.diff(user) == 0] >= 0).all()
    latest = dict(split.train.frame.group_by("user").agg(pl.col("time").max()).iter_rows())
    for user, _, _, time, _ in split.test.frame.iter_rows():
        assert user not in latest or time >= latest[user]
    if protocol.name == "temporal" and len(split.train) and len(split.test):
        assert split.train.frame["time"].max() < split.test.frame["time"].min()


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.sampled_from(["hash", "file"]))
def test_known_order_is_the_files_order_whatever_the_tie_rule(events, ties):
    """`time = "order"`: there are no ties, so that the last new item of the file's sequence is the target."""
    if (split := split_or_none(events, Protocol(ties=ties), time="order")) is None:
        return
    names = sorted({item for _, item, _ in events})
    users = sorted({user for user, _, _ in events})
    for row, user in enumerate(users):
        sequence = list(dict.fromkeys(item for who, item, _ in events if who == user))
        target = split.test.histories[row]
        if len(sequence) >= 3:
            assert [names[split.canonical[i]] for i in target] == sequence[-1:]
            assert split.known("test").histories.take(np.array([row])).last(1)[0, 0] != NO_ITEM
        else:
            assert not len(target)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_user_sample_is_a_subset_that_does_not_depend_on_the_method(seed):
    events = [(user, item, item) for user in range(200) for item in range(5)]
    everybody = make_split(dataset(events), Protocol(seed=seed))[0]
    some = make_split(dataset(events), Protocol(seed=seed, users=50))[0]
    assert len(everybody.asked["test"]) == 200 and len(some.asked["test"]) == 50
    assert set(some.asked["test"]) <= set(everybody.asked["test"])
    assert (some.asked["test"] == some.asked["valid"]).all()
    assert len(some.train) == len(everybody.train)  # training uses all
    other = make_split(dataset(events), Protocol(seed=seed + 2, users=50))[0]
    assert set(other.asked["test"]) != set(some.asked["test"])
