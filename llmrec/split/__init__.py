"""Splitting a dataset by a protocol: who learns from what, who is asked for what.

    leave-one-out   a user's last new item tests, the last but one validates, all before it trains
    temporal        two moments for everybody: the 80 % and 90 % quantiles of all times

A *new* item is one that the user had not had before: only such an item can be a target. Repeated events train like any
other; those after a user's validation item are left out, for validation and test hold targets only.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import polars as pl

from llmrec.data import Dataset
from llmrec.errors import UserError
from llmrec.records import Protocol, TaskName
from llmrec.seeds import axis_rng, axis_seed, canonical_json, hash64
from llmrec.types import Int32, Int64, Interactions, Items, Part, Split

TRAIN_UNTIL, VALID_UNTIL = 0.8, 0.9
"""The quantiles of time at which ``temporal`` cuts."""

MIN_ITEMS = 3
"""Users with fewer distinct items only train under ``leave-one-out``."""

Bools = npt.NDArray[np.bool_]


def make_split(dataset: Dataset, protocol: Protocol, task: TaskName = "topn") -> tuple[Split, Items]:
    """The split of a dataset under a protocol, and its catalogue in the split's item ids.

    The same protocol gives the same split for every method and every run seed, whatever the order of the input's rows
    (``ties = "file"`` apart, which is that order).

    Raises:
        UserError: the dataset's card does not admit the protocol, or nobody is left to be asked.
    """
    admitted = dataset.card.protocols
    if protocol.name not in admitted:
        raise UserError(
            f"{dataset.name} does not admit the protocol {protocol.name!r}: its card says time = "
            f"{dataset.card.time!r}, protocols = {', '.join(admitted)}."
        )
    frame = _ordered(dataset, protocol)
    user, item = frame["user"].to_numpy(), frame["item"].to_numpy()
    new = _first_occurrences(user, item, dataset.interactions.n_items)
    if protocol.name == "leave-one-out":
        train, valid, test = _leave_one_out(user, new)
    else:
        train, valid, test = _temporal(frame["time"].to_numpy(), new)
    seen = np.zeros(dataset.interactions.n_items, bool)  # by canonical id
    seen[item[train]] = True
    candidates = seen if protocol.candidates == "train" else np.ones_like(seen)
    asked: dict[Part, Int32] = {
        "valid": _asked(protocol, user, valid & candidates[item], user[train], dataset.interactions.n_users),
        "test": _asked(protocol, user, test & candidates[item], user[train], dataset.interactions.n_users),
    }
    if not len(asked["test"]):
        raise UserError(f"{dataset.name}: no user has a target to test under the protocol {protocol.name!r}.")
    return _assemble(dataset, protocol, frame, (train, valid, test), candidates, asked)


def _ordered(dataset: Dataset, protocol: Protocol) -> pl.DataFrame:
    """All events, each user's in the order of the protocol; ``order`` counts them from 0."""
    frame = dataset.interactions.frame
    if dataset.card.time != "exact" or protocol.ties == "file":
        return frame  # the card's order: by time and then by file, or by file alone where only the order is known
    user, item, time = (frame[name].to_numpy() for name in ("user", "item", "time"))
    ties = hash64(axis_seed(protocol.seed, "ties"), user, item, time)
    return frame[np.lexsort((frame["value"].to_numpy(), item, ties, time, user))].with_columns(order=frame["order"])


def _first_occurrences(user: Int32, item: Int32, n_items: int) -> Bools:
    """Which events bring the user an item for the first time."""
    first = np.unique(user.astype(np.int64) * n_items + item, return_index=True)[1]
    new = np.zeros(len(user), bool)
    new[first] = True
    return new


def _leave_one_out(user: Int32, new: Bools) -> tuple[Bools, Bools, Bools]:
    """Masks over the ordered events [events]: train, validation targets, test targets."""
    if not len(user):
        return new.copy(), new.copy(), new.copy()
    starts = np.flatnonzero(np.r_[True, user[1:] != user[:-1]])
    lengths = np.diff(np.r_[starts, len(user)])
    counted: Int64 = np.cumsum(new)
    before = np.repeat(counted[starts] - new[starts], lengths)  # new items of all earlier users
    total = np.repeat(np.add.reduceat(new.astype(np.int64), starts), lengths)
    place = counted - before  # how many new items the user has had, this event included
    asked = total >= MIN_ITEMS
    test = asked & new & (place == total)
    valid = asked & new & (place == total - 1)
    return ~asked | (place < total - 1), valid, test


def _temporal(time: Int64, new: Bools) -> tuple[Bools, Bools, Bools]:
    """Masks over the ordered events [events]: everything up to the first cut trains, new items after it are targets."""
    first, second = np.quantile(time, [TRAIN_UNTIL, VALID_UNTIL], method="lower")
    return time <= first, new & (time > first) & (time <= second), new & (time > second)


def _asked(protocol: Protocol, user: Int32, target: Bools, trained: Int32, n_users: int) -> Int32:
    """The users with a target, ascending, or the protocol's sample of them. ``candidates = "train"`` asks no users
    without training events, as it recommends no items without."""
    eligible = np.zeros(n_users, bool)
    eligible[user[target]] = True
    if protocol.candidates == "train":
        known = np.zeros(n_users, bool)
        known[trained] = True
        eligible &= known
    chosen = np.flatnonzero(eligible)
    if protocol.users != "all" and protocol.users < len(chosen):
        priority = hash64(axis_seed(protocol.seed, "users"), chosen)
        chosen = np.sort(chosen[np.argsort(priority, kind="stable")[: protocol.users]])
    return chosen.astype(np.int32)


def _assemble(
    dataset: Dataset,
    protocol: Protocol,
    frame: pl.DataFrame,
    parts: tuple[Bools, Bools, Bools],
    candidates: Bools,
    asked: dict[Part, Int32],
) -> tuple[Split, Items]:
    """Move everything to the split's own item ids: a seeded permutation, so that no method reads an order into them."""
    n_users, n_items = dataset.interactions.n_users, dataset.interactions.n_items
    canonical = axis_rng(protocol.seed, "item ids").permutation(n_items).astype(np.int32)
    own = np.empty(n_items, np.int32)
    own[canonical] = np.arange(n_items, dtype=np.int32)
    moved = frame.with_columns(item=pl.Series(own[frame["item"].to_numpy()], dtype=pl.Int32))
    train, valid, test = (Interactions(moved.filter(mask), n_users, n_items) for mask in parts)
    priority = axis_rng(protocol.seed, "item order").permutation(n_items).astype(np.int32)
    split = Split(
        n_users=n_users,
        n_items=n_items,
        train=train,
        valid=valid,
        test=test,
        fit_data=protocol.fit_data,
        mask_history=protocol.mask_history,
        candidates=candidates[canonical],
        canonical=canonical,
        item_order=priority[canonical],
        asked=asked,
        fingerprint=_fingerprint(dataset, protocol, frame, parts, candidates, asked, canonical),
    )
    return split, Items(dataset.items.frame[canonical])


def _fingerprint(
    dataset: Dataset,
    protocol: Protocol,
    frame: pl.DataFrame,
    parts: tuple[Bools, Bools, Bools],
    candidates: Bools,
    asked: dict[Part, Int32],
    canonical: Int32,
) -> str:
    """SHA-256 of what the split holds, in canonical ids, and of the protocol."""
    digest = hashlib.sha256(canonical_json(protocol.model_dump(mode="json")).encode())
    digest.update(f"{dataset.interactions.n_users}/{dataset.interactions.n_items}".encode())
    arrays = [frame["user"].to_numpy(), frame["item"].to_numpy(), frame["order"].to_numpy()]
    for array in (*arrays, *parts, candidates, asked["valid"], asked["test"], canonical):
        digest.update(f"{array.dtype}/{len(array)}/".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
