"""``impressions``: what was shown to users and what they clicked, as logged, in the parts that the log has.

Methods fit on the clicks that the fit part knows of: for each user the history of their newest impression, then what
they clicked in these impressions, oldest first, if it is not in that history. Users of the dataset's interactions who
have no impression there add those: what a log with impressions calls interactions is older than its validation part.
Histories of the validation and test parts are known only to whom is asked. Items that were never clicked keep their
text.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from llmrec.data import Dataset
from llmrec.errors import UserError
from llmrec.records import Protocol
from llmrec.seeds import hash64
from llmrec.split.assemble import Numbers, digest, sample
from llmrec.types import Histories, Impressions, Int32, Int64, Interactions, Items, Part, Split, Users

PARTS: tuple[Literal["fit", "valid", "test"], ...] = ("fit", "valid", "test")


def make(dataset: Dataset, protocol: Protocol) -> tuple[Split, Items]:
    """The split and the catalogue.

    Raises:
        UserError: the dataset has no impressions, or none in a part.
    """
    log = dataset.impressions
    if log is None:
        raise UserError(f"{dataset.name} has no impressions, which the protocol 'impressions' asks for.")
    n_users, n_items = dataset.interactions.n_users, len(dataset.items)
    numbers = Numbers.drawn(protocol.seed, n_items)
    parts = {part: _in_order(log.filter(pl.col("part") == part)) for part in PARTS}
    for part in ("valid", "test"):
        if not len(parts[part]):
            raise UserError(f"{dataset.name}: the log has no impressions in the part {part!r}.")
        parts[part] = parts[part][sample(protocol, "impressions", parts[part]["content"].to_numpy())]
    length = None if protocol.max_history == "all" else protocol.max_history
    impressions = {part: _impressions(rows, numbers, length) for part, rows in parts.items()}
    train = _clicks(impressions["fit"], dataset.interactions, numbers, length)
    nothing = Interactions(train.frame.clear(), n_users, n_items)
    asked: dict[Part, Int32] = {
        "valid": np.unique(impressions["valid"].users.ids), "test": np.unique(impressions["test"].users.ids),
    }  # fmt: skip
    content = [parts[part]["content"] for part in PARTS]
    return Split(
        n_users=n_users,
        n_items=n_items,
        train=train,
        valid=nothing,
        test=nothing,
        fit_data=protocol.fit_data,
        mask_history=protocol.mask_history,
        candidates=np.ones(n_items, bool),
        canonical=numbers.canonical,
        item_order=numbers.order,
        asked=asked,
        fingerprint=digest(
            protocol, n_users, numbers, *content, train.user, numbers.canonical[train.item], np.array([length or 0]),
        ),
        impressions=impressions,
        counts={"train_events": len(train), **{f"{part}_impressions": len(parts[part]) for part in PARTS}},
    ), Items(dataset.items.frame[numbers.canonical])  # fmt: skip


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Impressions by user, time, length of the history and a hash of all that was known and shown (``content``), which
    is what a sample goes by: the order of the log's rows does not count."""
    content = hash64(0, rows["user"].to_numpy(), rows["time"].fill_null(-1).to_numpy())
    for number, name in enumerate(("history", "shown", "clicked"), 1):
        indptr, values = _flat(rows[name])
        lengths = np.diff(indptr)
        place = np.arange(len(values)) - np.repeat(indptr[:-1], lengths)
        sums = np.concatenate([[np.uint64(0)], np.cumsum(hash64(number, place, values))])  # wraps around, as it may
        content = hash64(number, content, lengths, sums[indptr[1:]] - sums[indptr[:-1]])
    rows = rows.with_columns(content=pl.Series(content.view(np.int64)))
    return rows.sort("user", "time", pl.col("history").list.len(), "content", maintain_order=True)


def _flat(lists: pl.Series) -> tuple[Int64, Int64]:
    """A column of lists as row bounds [rows + 1] and values."""
    indptr = np.concatenate([[0], np.cumsum(lists.list.len().fill_null(0).to_numpy())]).astype(np.int64)
    return indptr, lists.explode().drop_nulls().cast(pl.Int64).to_numpy()


def _impressions(rows: pl.DataFrame, numbers: Numbers, length: int | None) -> Impressions:
    n_items = len(numbers.own)
    known = rows["history"] if length is None else rows["history"].list.tail(length)
    indptr, history = _flat(known)
    users = Users(rows["user"].to_numpy(), Histories(indptr, numbers.own[history], n_items))
    indptr, shown = _flat(rows["shown"])
    return Impressions(users, Histories(indptr, numbers.own[shown], n_items), _flat(rows["clicked"])[1].astype(bool))


def _clicks(fit: Impressions, known: Interactions, numbers: Numbers, length: int | None) -> Interactions:
    """What the fit part knows of each user, and the interactions of those whom it does not have, oldest first; with
    ``length`` the newest of it."""
    rows = np.arange(len(fit))
    newest = np.flatnonzero(np.append(fit.users.ids[1:] != fit.users.ids[:-1], True)) if len(fit) else rows
    histories = fit.users.histories.take(newest)
    others = ~np.isin(known.user, fit.users.ids)
    click = fit.clicked
    user = np.concatenate(
        [known.user[others], fit.users.ids[newest][histories.rows], fit.users.ids[fit.shown.rows[click]]]
    )
    item = np.concatenate([numbers.own[known.item[others]], histories.items, fit.shown.items[click]])
    is_click = np.arange(len(user)) >= len(user) - click.sum()
    frame = (
        pl.DataFrame({"user": user, "item": item, "click": is_click}, schema_overrides={"user": pl.Int32})
        .filter(~pl.col("click") | pl.struct("user", "item").is_first_distinct())
        .sort("user", maintain_order=True)  # a user's history comes before their clicks, and both are oldest first
        .group_by("user", maintain_order=True)
        .tail(length if length is not None else len(user))
        .with_columns(order=pl.int_range(pl.len(), dtype=pl.Int32).over("user"))
    )
    value, time = pl.lit(1.0, pl.Float32).alias("value"), pl.lit(None, pl.Int64).alias("time")
    return Interactions(frame.select("user", "item", value, time, "order"), known.n_users, len(numbers.own))
