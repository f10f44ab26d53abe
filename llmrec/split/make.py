"""From a dataset and a protocol to a split: the steps that all protocols share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from llmrec.data import Dataset
from llmrec.data.ties import tied
from llmrec.errors import UserError
from llmrec.records import Protocol, ProtocolName, TaskName
from llmrec.split import impressions, leave_one_out, official, random, ratio, requests, temporal, user_holdout
from llmrec.split.admits import check, check_card
from llmrec.split.assemble import Numbers, digest, sample
from llmrec.split.events import GIVEN_TEST, GIVEN_VALID, LEFT_OUT, TEST, TRAIN, VALID, Events, Sides, in_order
from llmrec.split.ties import ORDER_DECIDES, touched_users
from llmrec.types import Bools, Int32, Int64, Interactions, Items, Part, Split

SIDES: dict[ProtocolName, Callable[[Events, Protocol], Sides]] = {
    "leave-one-out": leave_one_out.sides,
    "temporal": temporal.sides,
    "ratio": ratio.sides,
    "random": random.sides,
    "user-holdout": user_holdout.sides,
    "official": official.sides,
}
"""The protocols that split interactions: each says where every event goes."""

TARGETS: dict[Part, int] = {"valid": VALID, "test": TEST}
GIVEN: dict[Part, int] = {"valid": GIVEN_VALID, "test": GIVEN_TEST}


def make(dataset: Dataset, protocol: Protocol, task: TaskName) -> tuple[Split, Items]:
    """See `llmrec.split.make_split`."""
    check(protocol, task)
    check_card(dataset.card, protocol, task)
    if protocol.name == "impressions":
        return impressions.make(dataset, protocol)
    events = in_order(dataset, protocol)
    if protocol.name == "requests":
        return requests.make(dataset, protocol, events)
    sides = SIDES[protocol.name](events, protocol)
    if protocol.max_history != "all":
        sides = newest(events, sides, protocol.max_history)
    return _split(dataset, protocol, events, sides)


def newest(events: Events, sides: Sides, length: int) -> Sides:
    """Leave out all but each user's newest ``length`` events that train or are given. Targets stay what they are, and
    validation items come on top of these when a test is asked."""
    rows = np.flatnonzero((sides == TRAIN) | (sides >= GIVEN_VALID))
    counts = np.bincount(events.user[rows], minlength=events.n_users)
    age = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(rows))
    sides = sides.copy()
    sides[rows[age >= length]] = LEFT_OUT
    return sides


def _split(dataset: Dataset, protocol: Protocol, events: Events, sides: Sides) -> tuple[Split, Items]:
    item = events.item
    candidates = np.ones(events.n_items, bool)  # by canonical id
    if protocol.candidates == "train":
        candidates[:] = False
        candidates[item[sides == TRAIN]] = True
    asked = {part: _asked(protocol, events, sides, part, candidates) for part in TARGETS}
    if not len(asked["test"]):
        raise UserError(f"{dataset.name}: no user has a target to test under the protocol {protocol.name!r}.")
    numbers = Numbers.drawn(protocol.seed, events.n_items)
    moved = events.frame.with_columns(item=pl.Series(numbers.own[item], dtype=pl.Int32))

    def of(side: int) -> Interactions:
        return Interactions(moved.filter(pl.Series(sides == side)), events.n_users, events.n_items)

    held_out = protocol.name == "user-holdout"
    frame = events.frame
    split = Split(
        n_users=events.n_users,
        n_items=events.n_items,
        train=of(TRAIN),
        valid=of(VALID),
        test=of(TEST),
        fit_data=protocol.fit_data,
        mask_history=protocol.mask_history,
        candidates=candidates[numbers.canonical],
        canonical=numbers.canonical,
        item_order=numbers.order,
        asked=asked,
        fingerprint=digest(
            protocol, events.n_users, numbers, *frame.select("user", "item", "value", "time").get_columns(),
            sides, candidates, asked["valid"], asked["test"],
        ),
        given={part: of(side) for part, side in GIVEN.items()} if held_out else {},
        liked=dataset.card.rating.liked if dataset.card.rating else None,
        scale=dataset.card.rating.scale if dataset.card.rating else None,
        counts=_counts(dataset, protocol, events, sides, asked["test"]),
    )  # fmt: skip
    return split, Items(dataset.items.frame[numbers.canonical])


def _asked(protocol: Protocol, events: Events, sides: Sides, part: Part, candidates: Bools) -> Int32:
    """The users with a target, ascending, or the protocol's sample of them. ``candidates = "train"`` asks no users of
    whom nothing is known, as it recommends no items without training events."""
    targets = np.flatnonzero(sides == TARGETS[part])
    eligible = _users(events, targets[candidates[events.item[targets]]])
    if protocol.candidates == "train":
        eligible &= _users(events, (sides == TRAIN) | (sides == GIVEN[part]))
    users = np.flatnonzero(eligible).astype(np.int32)
    return users[sample(protocol, "users", users)]


def _counts(dataset: Dataset, protocol: Protocol, events: Events, sides: Sides, asked: Int32) -> dict[str, int]:
    """What became of the events, repeats that were dropped included; and, where times are known, what ties decide."""
    of = np.bincount(sides, minlength=6).tolist()
    left_out = len(dataset.interactions) - len(events) + of[LEFT_OUT]
    counts = {
        "train_events": of[TRAIN], "valid_events": of[VALID], "test_events": of[TEST], "left_out_events": left_out,
        "test_users_with_history": int(_users(events, _known(protocol, sides))[asked].sum()),
    }  # fmt: skip
    if protocol.name == "user-holdout":
        counts["given_events"] = of[GIVEN_VALID] + of[GIVEN_TEST]
    if dataset.card.time == "exact":
        user, time = events.user, events.frame["time"].to_numpy()
        rows = np.flatnonzero(tied(user, time))
        counts["ties"], counts["tied_test_users"] = len(rows), 0
        if protocol.name in ORDER_DECIDES:
            touched = touched_users(user[rows], time[rows], events.eligible[rows], sides[rows] == TEST)
            counts["tied_test_users"] = int(np.isin(asked, touched).sum())
    return counts


def _known(protocol: Protocol, sides: Sides) -> Bools:
    """Which events are known when a test is asked [events]."""
    known: Bools = sides == GIVEN_TEST if protocol.name == "user-holdout" else (sides == TRAIN) | (sides == VALID)
    return known


def _users(events: Events, rows: Bools | Int64) -> Bools:
    """Which users have any of these events [n_users]."""
    out = np.zeros(events.n_users, bool)
    out[events.user[rows]] = True
    return out
