"""All events of a dataset in the order that the protocol gives them, and which of them bring a user something new."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from llmrec.data import Dataset
from llmrec.records import Protocol
from llmrec.seeds import axis_seed
from llmrec.split.blocks import bits_for, blocks
from llmrec.split.ties import by_hash
from llmrec.types import Bools, Int32, Int64

Sides = npt.NDArray[np.uint8]

TRAIN, VALID, TEST, LEFT_OUT, GIVEN_VALID, GIVEN_TEST = range(6)
"""Where an event goes: every event is in one of these. VALID and TEST hold targets only."""


@dataclass(frozen=True)
class Events:
    """``frame`` is that of `llmrec.types.Interactions` in canonical ids, each user's events in the protocol's order."""

    frame: pl.DataFrame
    official: pl.Series | None  # the dataset's own split, row by row
    indptr: Int64  # [n_users + 1]: user u has the rows indptr[u]:indptr[u + 1]
    n_items: int
    repeats_are_targets: bool

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def n_users(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> Int64:
        return np.diff(self.indptr)

    @property
    def user(self) -> Int32:
        return self.frame["user"].to_numpy()

    @property
    def item(self) -> Int32:
        return self.frame["item"].to_numpy()

    @cached_property
    def new(self) -> Bools:
        """Which events bring the user an item for the first time [events]."""
        return first_of_pairs(self)

    @property
    def eligible(self) -> Bools:
        """Which events may be targets [events]: new ones, or all of them if the protocol says so."""
        return np.ones(len(self), bool) if self.repeats_are_targets else self.new


def in_order(dataset: Dataset, protocol: Protocol) -> Events:
    """The events in the protocol's order; with ``repeats = "drop"`` only the new ones.

    Where times are known they come in order of time, and events of a user at the same time by a seeded hash of user,
    item and time (``ties = "file"``: as in the file). Where only the order is known, it is kept. Where nothing is
    known, all of a user's events count as tied: a seeded hash of user and item orders them.
    """
    interactions = dataset.interactions
    frame, official = interactions.frame, dataset.official
    if protocol.ties == "hash" and dataset.card.time != "order":
        known = frame["time"] if dataset.card.time == "exact" else None
        rows, source = by_hash(axis_seed(protocol.seed, "ties"), frame["user"], frame["item"], frame["value"], known)
        columns = [_moved(frame[name], rows, source) for name in ("item", "value")]
        frame = frame.with_columns(columns)  # users, times and order stay where they are
        official = None if official is None else _moved(official, rows, source)
    indptr = np.zeros(interactions.n_users + 1, np.int64)
    np.cumsum(np.bincount(frame["user"].to_numpy(), minlength=interactions.n_users), out=indptr[1:])
    events = Events(frame, official, indptr, interactions.n_items, protocol.repeats == "target")
    return _without_repeats(events) if protocol.repeats == "drop" else events


def _moved(column: pl.Series, rows: Int64, source: Int64) -> pl.Series:
    """The column with the values of ``source`` in the places ``rows``."""
    return column.clone().scatter(rows, column.gather(source))


def _without_repeats(events: Events) -> Events:
    lengths = np.bincount(events.user[events.new], minlength=events.n_users)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    order = (np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)).astype(np.int32)
    frame = events.frame.filter(events.new).with_columns(order=pl.Series(order, dtype=pl.Int32))
    official = None if events.official is None else events.official.filter(pl.Series(events.new))
    return Events(frame, official, indptr, events.n_items, repeats_are_targets=True)  # all that is left is new


def first_of_pairs(events: Events, sides: Sides | None = None, *, each_side: bool = False) -> Bools:
    """Which events are the first of their pair of user and item [events].

    With ``sides`` an event on a smaller side comes before one on a larger, whatever their order; with ``each_side``
    the first of every pair on every side is marked.
    """
    first = np.zeros(len(events), bool)
    item = events.item
    for users, rows in blocks(events.indptr):
        size = rows.stop - rows.start
        bits = bits_for(size)
        lengths = np.diff(events.indptr[users.start : users.stop + 1])
        keys = np.repeat(np.arange(len(lengths), dtype=np.uint64) * np.uint64(events.n_items), lengths)
        keys += item[rows].astype(np.uint64)
        if sides is not None:
            keys = keys << np.uint64(2) | sides[rows]
        keys = keys << np.uint64(bits) | np.arange(size, dtype=np.uint64)
        keys.sort()  # pair, side, place: packed into one number, which sorts ten times as fast as an argsort
        groups = keys >> np.uint64(bits + (2 if sides is not None and not each_side else 0))
        starts = np.concatenate([[True], groups[1:] != groups[:-1]])
        first[rows.start + (keys[starts] & np.uint64((1 << bits) - 1)).astype(np.int64)] = True
    return first


def settle(events: Events, sides: Sides) -> Sides:
    """Leave out what is no target: under VALID and TEST only the first event of a pair stays, and (unless repeats are
    targets) only if the pair is on no earlier side."""
    first = first_of_pairs(events, sides, each_side=events.repeats_are_targets)
    return np.where(first | (sides == TRAIN), sides, np.uint8(LEFT_OUT))
