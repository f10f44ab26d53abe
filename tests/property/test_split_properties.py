"""What every split must hold, whatever the data: ties, repeated pairs, users with one event."""

import os
from collections import Counter
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmrec import toy
from llmrec.data.tables import in_order, sorted_ids
from llmrec.errors import UserError
from llmrec.records import Protocol
from llmrec.split import make_split
from llmrec.split.admits import MAY_TARGET_REPEATS, OPTIONS
from llmrec.types import NO_ITEM

EXAMPLES = int(os.environ.get("LLMREC_EXAMPLES", "40"))
"""Of each property; more of them when a protocol is worked on."""

NAMES = ("leave-one-out", "temporal", "ratio", "random", "user-holdout", "official")


def lists_of_events(users, most=60):
    """User, item, time, official fold: many ties and repeats."""
    event = st.tuples(st.integers(0, users - 1), st.integers(0, 8), st.integers(0, 5), st.sampled_from("1234"))
    return st.lists(event, min_size=1, max_size=most)


EVENTS = lists_of_events(7)
EVERYBODY = {"max_history": "all", "users": "all", "candidates": "all"}


@st.composite
def protocols(draw, names=NAMES, **fixed):
    """A protocol with any of the options that have an effect there."""
    name = draw(st.sampled_from(names))
    choices = {
        "fit_data": ["train", "train+valid"], "candidates": ["all", "train"], "users": ["all", 2],
        "ties": ["hash"], "repeats": ["train", "drop", *(["target"] if name in MAY_TARGET_REPEATS else [])],
        "max_history": ["all", 1, 3], "cuts": [(0.8, 0.9), (0.3, 0.6)], "fold": [1, 2, 3, 4],
    }  # fmt: skip
    options = {key: draw(st.sampled_from(some)) for key, some in choices.items() if key in OPTIONS[name]}
    options |= {key: value for key, value in fixed.items() if key in OPTIONS[name]}
    if options["repeats"] == "target":
        options["mask_history"] = False
    return Protocol(name=name, seed=draw(st.integers(0, 3)), **options)


def dataset(events, time="exact"):
    """What `llmrec.data.load` gives for a file with these lines."""
    card = SimpleNamespace(name="drawn", time=time, rating=None, protocols=NAMES)
    frame = pl.DataFrame(
        [(str(user), str(item), float(when), when if time == "exact" else None, fold)
         for user, item, when, fold in events],
        schema={"user": pl.String, "item": pl.String, "value": pl.Float32, "time": pl.Int64, "official": pl.String},
        orient="row",
    )  # fmt: skip
    users, items = sorted_ids(frame["user"]), sorted_ids(frame["item"])
    interactions, official = in_order(card, frame, users, items)
    official = official.replace({fold: str(n) for n, fold in enumerate(sorted({e[3] for e in events}), 1)})
    return SimpleNamespace(
        name="drawn", card=card, interactions=interactions, items=toy.items(len(items)), official=official
    )


def split_or_none(events, protocol, time="exact"):
    """The split, or None where these few events leave nobody to be asked, or have not so many folds."""
    try:
        return make_split(dataset(events, time), protocol)[0]
    except UserError as error:
        assert any(known in str(error) for known in ("no user has a target", "official fold", "or folds from 1"))
        return None


def pairs(interactions) -> list[tuple[int, int]]:
    return list(zip(interactions.user.tolist(), interactions.item.tolist(), strict=True))


def rows(split, *parts) -> Counter:
    """Events of some parts in the card's ids, without their places."""
    frames = [part.frame.select("user", pl.Series(split.canonical[part.item]).alias("item"), "value", "time")
              for part in parts]  # fmt: skip
    return Counter(pl.concat(frames).iter_rows())


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols())
def test_no_target_is_known_when_it_is_asked_for(events, protocol):
    if (split := split_or_none(events, protocol)) is None:
        return
    for part in ("valid", "test"):
        known = set(pairs(split.known(part)))
        targets = split.targets(part)
        for row, user in enumerate(targets.users.tolist()):
            relevant = targets.items[targets.indptr[row] : targets.indptr[row + 1]].tolist()
            assert relevant and len(set(relevant)) == len(relevant)
            assert split.candidates[relevant].all()
            if protocol.repeats != "target":
                assert not {(user, item) for item in relevant} & known


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols())
def test_every_event_is_somewhere_exactly_once_and_counted(events, protocol):
    """Train, validation, test and what is given hold different events; what is left out is counted; and without
    ``max_history`` only repeated events are left out: every pair of user and item stays."""
    if (split := split_or_none(events, protocol)) is None:
        return
    there = rows(split, split.train, split.valid, split.test, *split.given.values())
    frame = dataset(events).interactions.frame
    everything = Counter(frame.select("user", "item", "value", "time").iter_rows())
    assert not there - everything
    assert (everything - there).total() == split.counts["left_out_events"]
    assert (len(split.train), len(split.valid), len(split.test)) == tuple(
        split.counts[f"{part}_events"] for part in ("train", "valid", "test")
    )
    if protocol.max_history == "all":
        assert {row[:2] for row in there} == {row[:2] for row in everything}
    if protocol.repeats != "target":
        train, valid, test = ({row[:2] for row in rows(split, part)} for part in (split.train, split.valid, split.test))
        assert not train & valid and not train & test and not valid & test


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols(), st.randoms(use_true_random=False), st.sampled_from(["exact", "none"]))
def test_the_order_of_the_files_rows_does_not_matter(events, protocol, random, time):
    """Also where all is tied, and where nobody knows when anything happened."""
    if time == "none":
        assume(protocol.name not in ("temporal", "leave-one-out") and protocol.max_history == "all")
    if protocol.name == "official":  # equal lines in two folds cannot be told apart
        events = list({event[:3]: event for event in events}.values())
    shuffled = list(events)
    random.shuffle(shuffled)
    first, second = split_or_none(events, protocol, time), split_or_none(shuffled, protocol, time)
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.fingerprint == second.fingerprint
        assert first.counts == second.counts
        for part in ("train", "valid", "test"):
            assert getattr(first, part).frame.equals(getattr(second, part).frame)


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols())
def test_histories_are_in_order_of_time(events, protocol):
    if (split := split_or_none(events, protocol)) is None:
        return
    for part in (split.train, split.valid, split.test, split.train_and_valid, *split.given.values()):
        user, time = part.frame["user"].to_numpy(), part.frame["time"].to_numpy()
        assert (np.diff(user) >= 0).all()
        assert (np.diff(time)[np.diff(user) == 0] >= 0).all()


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols(names=("leave-one-out", "temporal", "ratio")))
def test_a_users_targets_come_after_what_they_are_asked_with(events, protocol):
    if (split := split_or_none(events, protocol)) is None:
        return
    for part, targets in (("valid", split.valid), ("test", split.test)):
        latest = dict(split.known(part).frame.group_by("user").agg(pl.col("time").max()).iter_rows())
        for user, _, _, time, _ in targets.frame.iter_rows():
            assert user not in latest or time >= latest[user]


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols(names=("temporal",)))
def test_temporal_cuts_at_two_moments_for_everybody(events, protocol):
    if (split := split_or_none(events, protocol)) is None:
        return
    times = sorted(e[2] for e in events)
    if protocol.repeats != "drop":
        first, second = (times[int(np.floor((len(times) - 1) * share))] for share in protocol.cuts)
        assert split.train.frame["time"].max() is None or split.train.frame["time"].max() <= first
        assert all(first < t <= second for t in split.valid.frame["time"])
        assert all(second < t for t in split.test.frame["time"])
    if len(split.train):
        assert split.train.frame["time"].max() < split.test.frame["time"].min()


@settings(max_examples=EXAMPLES, deadline=None)
@given(lists_of_events(3), protocols(names=("ratio",), max_history="all"))
def test_ratio_shares_are_each_users_own(events, protocol):
    """Without repeats, every user's parts are the shares of their events, less than one event off."""
    events = list({event[:2]: event for event in events}.values())
    if (split := split_or_none(events, protocol)) is None:
        return
    train, valid, test = (part.histories.lengths for part in (split.train, split.valid, split.test))
    total = train + valid + test
    assert split.counts["left_out_events"] == 0
    for ends, share in ((train, protocol.cuts[0]), (train + valid, protocol.cuts[1])):
        assert ((ends <= np.maximum(share * total + 1e-6, 1)) & (ends > share * total - 1)).all()
    assert (test[total > 1] > 0).all()


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols(names=("random",), max_history="all"))
def test_random_shares_are_those_of_all_events(events, protocol):
    events = list({event[:2]: event for event in events}.values())
    if (split := split_or_none(events, protocol)) is None:
        return
    ends = [int(share * len(events) + 1e-9) for share in protocol.cuts]
    assert [len(split.train), len(split.train) + len(split.valid)] == ends


@settings(max_examples=EXAMPLES, deadline=None)
@given(lists_of_events(21, most=150), protocols(names=("user-holdout",), max_history="all"))
def test_held_out_users_are_nobody_elses(events, protocol):
    if (split := split_or_none(events, protocol)) is None:
        return
    trained = set(split.train.user.tolist())
    held_out = {part: {*split.given[part].user.tolist(), *targets.user.tolist()}
                for part, targets in (("valid", split.valid), ("test", split.test))}  # fmt: skip
    assert not trained & held_out["valid"] and not trained & held_out["test"]
    assert not held_out["valid"] & held_out["test"]
    users = {e[0] for e in events}
    assert len(trained) == int(protocol.cuts[0] * len(users) + 1e-9)
    assert len(trained | held_out["valid"]) == int(protocol.cuts[1] * len(users) + 1e-9)
    distinct = Counter(user for user, _ in {(u, i) for u, i in pairs(dataset(events).interactions)})
    for part, targets in (("valid", split.valid), ("test", split.test)):
        for user in held_out[part]:
            assert len(targets.histories[user]) == distinct[user] // 5
            given_items = set(split.given[part].histories[user].tolist())
            assert len(given_items) == distinct[user] - distinct[user] // 5


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols(names=("official",), max_history="all"))
def test_official_is_exactly_the_files(events, protocol):
    """Each event is on its fold's side or left out; a pair that is on one side only is there."""
    if (split := split_or_none(events, protocol)) is None:
        return
    data = dataset(events)
    n, fold = data.official.n_unique(), protocol.fold
    side = {str(f): split.test if f == fold else split.valid if f == fold % n + 1 else split.train
            for f in range(1, n + 1)}  # fmt: skip
    wanted = {id(part): Counter() for part in side.values()}
    sides_of = {}
    for (user, item, value, time, _), own in zip(data.interactions.frame.iter_rows(), data.official, strict=True):
        wanted[id(side[own])][user, item, value, time] += 1
        sides_of.setdefault((user, item), set()).add(id(side[own]))
    for part in side.values():
        there = rows(split, part)
        if protocol.repeats == "train":
            assert not there - wanted[id(part)]
            own = {pair for pair, sides in sides_of.items() if sides == {id(part)}}
            assert own <= {row[:2] for row in there}
            if part is split.train:
                assert there == wanted[id(part)]


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols(**EVERYBODY), st.integers(1, 4))
def test_max_history_changes_no_target(events, protocol, length):
    whole, short = (split_or_none(events, protocol.model_copy(update={"max_history": n})) for n in ("all", length))
    if whole is None or short is None:
        assert whole is short
        return
    assert whole.valid.frame.equals(short.valid.frame) and whole.test.frame.equals(short.test.frame)
    for full, cut in [(whole.train, short.train), *((whole.given[p], short.given[p]) for p in whole.given)]:
        for user in range(whole.n_users):
            assert cut.histories[user].tolist() == full.histories[user].tolist()[-length:]


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, protocols(names=("leave-one-out", "ratio"), **EVERYBODY, repeats="drop"), st.integers(10, 15))
def test_users_whom_no_tie_touches_are_asked_the_same_under_any_rule(events, protocol, seed):
    """Another seed orders ties otherwise; no more users than were counted may get another test target."""
    first = split_or_none(events, protocol)
    second = split_or_none(events, protocol.model_copy(update={"seed": seed}))
    if first is None or second is None:
        assert first is second
        return
    one, other = ({u: sorted(int(s.canonical[i]) for i in s.test.histories[u]) for u in range(s.n_users)}
                  for s in (first, second))  # fmt: skip
    changed = sum(one[user] != other[user] for user in one)
    assert changed <= max(first.counts["tied_test_users"], second.counts["tied_test_users"])


@settings(max_examples=EXAMPLES, deadline=None)
@given(EVENTS, st.sampled_from(["hash", "file"]))
def test_known_order_is_the_files_order_whatever_the_tie_rule(events, ties):
    """`time = "order"`: there are no ties, so that the last new item of the file's sequence is the target."""
    if (split := split_or_none(events, Protocol(ties=ties), time="order")) is None:
        return
    names = sorted({item for _, item, *_ in events})
    users = sorted({user for user, *_ in events})
    for row, user in enumerate(users):
        sequence = list(dict.fromkeys(item for who, item, *_ in events if who == user))
        target = split.test.histories[row]
        if len(sequence) >= 3:
            assert [names[split.canonical[i]] for i in target] == sequence[-1:]
            assert split.known("test").histories.take(np.array([row])).last(1)[0, 0] != NO_ITEM
        else:
            assert not len(target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_sample_of_users_holds_every_smaller_one(name, seed):
    events = [(user, item, item, str(1 + item % 4)) for user in range(200) for item in range(10)]
    fold = {"fold": 1} if name == "official" else {}

    def asked(users, some=events, seed=seed):
        split = make_split(dataset(some), Protocol(name=name, seed=seed, users=users, **fold))[0]
        return set(split.asked["test"].tolist()), split

    everybody, whole = asked("all")
    sizes = (5, 10, 15)
    samples = [asked(size) for size in sizes]
    assert [len(users) for users, _ in samples] == list(sizes)
    assert samples[0][0] < samples[1][0] < samples[2][0] < everybody
    assert all(len(split.train) == len(whole.train) for _, split in samples)  # training uses all
    assert asked(15, seed=seed + 2)[0] != samples[2][0]
