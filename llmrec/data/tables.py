"""From what the files say to canonical tables: ids from 0, filters, each user's events in order, item texts."""

from __future__ import annotations

import hashlib
from string import Formatter
from typing import Any

import numpy as np
import polars as pl

from llmrec.data.cards import Card
from llmrec.errors import UserError
from llmrec.types import Int64, Interactions, Items


def canonical(card: Card, events: pl.DataFrame, listed: pl.DataFrame) -> tuple[Interactions, Items, list[str]]:
    """Interactions and catalogue in canonical ids, and the users' raw ids.

    Ids are the ranks of the publisher's ids, as numbers where all are numbers: they do not depend on the files' order.
    Within a user events are ordered by time (``time = "exact"``), equal times in the file's order; else by the file.

    Raises:
        UserError: the tables do not have the card's published numbers of users, items and interactions.
    """
    if card.filters.min_value is not None:
        events = events.filter(pl.col("value") >= card.filters.min_value)
    if card.filters.core:
        events = _core(events, card.filters.core)
    if card.time == "exact" and events["time"].null_count():
        raise UserError(
            f"{card.name}: the card says time = 'exact', but {events['time'].null_count()} events have none."
        )
    names = events["item"].unique()
    if card.filters.catalogue == "listed":
        names = pl.concat([names, listed["raw_id"]]).unique()
    users, items = _sorted_ids(events["user"].unique()), _sorted_ids(names)
    keys = ["user", "time", "row"] if card.time == "exact" else ["user", "row"]
    frame = (
        events.with_row_index("row")
        .with_columns(
            pl.col("user").replace_strict(users, np.arange(len(users)), return_dtype=pl.Int32),
            pl.col("item").replace_strict(items, np.arange(len(items)), return_dtype=pl.Int32),
        )
        .sort(keys)
        .with_columns(order=pl.int_range(pl.len(), dtype=pl.Int32).over("user"))
        .select("user", "item", "value", "time", "order")
    )
    counts = {"users": len(users), "items": len(items), "interactions": len(frame)}
    for name, published in card.statistics.model_dump().items():
        if counts[name] != published:
            raise UserError(
                f"{card.name}: {counts[name]:,} {name} after the card's filters, but the card's statistics say "
                f"{published:,}. Correct the card's columns, filters or statistics."
            )
    return Interactions(frame, len(users), len(items)), _catalogue(card, items, listed), users


def fingerprint(interactions: Interactions, items: Items, users: list[str]) -> str:
    """SHA-256 of the canonical tables: equal data have equal fingerprints, wherever they were read from."""
    digest = hashlib.sha256()
    frame = interactions.frame.with_columns(time=pl.col("time").fill_null(np.iinfo(np.int64).min))
    for column in frame.get_columns():
        digest.update(f"{column.name}/{column.dtype}/{len(column)}/".encode())
        digest.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    for text in [*users, *items.frame["raw_id"], *items.titles, *items.texts, *(str(c) for c in items.categories)]:
        digest.update(f"{len(text)}/{text}".encode())
    return digest.hexdigest()


def tie_share(interactions: Interactions) -> dict[str, float]:
    """How much the order of equal times matters, as shares from 0 to 1.

    ``events``: events that share their time with another event of the same user; ``last_items``: users whose last item
    is one of several at the same time (their leave-one-out target is a matter of the tie rule). 0 without times.
    """
    user, time = interactions.user, interactions.frame["time"]
    if time.null_count() or not len(user):
        return {"events": 0.0, "last_items": 0.0}
    stamp: Int64 = time.to_numpy()
    same_as_before = np.r_[False, (user[1:] == user[:-1]) & (stamp[1:] == stamp[:-1])]
    same_as_next = np.r_[same_as_before[1:], False]
    last = np.r_[user[1:] != user[:-1], True]
    return {"events": float((same_as_before | same_as_next).mean()), "last_items": float(same_as_before[last].mean())}


def _sorted_ids(names: pl.Series) -> list[str]:
    known: list[str] = names.to_list()
    return sorted(known, key=int) if all(n.isascii() and n.isdecimal() for n in known) else sorted(known)


def _core(events: pl.DataFrame, k: int) -> pl.DataFrame:
    while True:
        kept = events.filter((pl.len().over("user") >= k) & (pl.len().over("item") >= k))
        if len(kept) == len(events):
            return kept
        events = kept


def _catalogue(card: Card, ids: list[str], listed: pl.DataFrame) -> Items:
    rows = {row["raw_id"]: row for row in listed.to_dicts()}
    nothing = {name: [] if name == "categories" else "" for name in listed.columns}
    titles, texts, categories = [], [], []
    for raw_id in ids:
        row = rows.get(raw_id, nothing)
        fields = {name: ", ".join(value) if name == "categories" else value for name, value in row.items()}
        titles.append(_fill(card, card.item_title, fields) or fields["title"] or raw_id)
        texts.append(". ".join(filter(None, (_fill(card, part, fields) for part in card.item_text))))
        categories.append(row["categories"])
    schema: dict[str, Any] = {
        "raw_id": pl.String,
        "title": pl.String,
        "text": pl.String,
        "categories": pl.List(pl.String),
    }
    return Items(pl.DataFrame({"raw_id": ids, "title": titles, "text": texts, "categories": categories}, schema=schema))


def _fill(card: Card, template: str, fields: dict[str, str]) -> str:
    """The template with its fields filled in, or '' where one of them is empty."""
    for _, name, _, _ in Formatter().parse(template):
        if name is not None and name not in fields:
            raise UserError(
                f"{card.name}: the card's template {template!r} names {name!r}; known: {', '.join(fields)}."
            )
        if name is not None and not fields[name]:
            return ""
    return template.format(**fields)
