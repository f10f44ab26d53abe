"""``requests``: all interactions train, and what is asked are requests in words, answered by labelled items.

Labels are made of a field of the items (genres, topics) or of users' tags. That field is withheld from the item texts:
whoever reads it there only has to copy. ``withhold = false`` puts the labels into the texts, as the requests say them:
what is reached then is what a leak would be worth, not what a method can do.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from llmrec.data import Dataset
from llmrec.data.requests import readable
from llmrec.errors import UserError
from llmrec.records import Protocol
from llmrec.split.assemble import Numbers, digest, sample
from llmrec.split.events import Events
from llmrec.types import Bools, Histories, Int32, Interactions, Items, Part, Requests, Split

PARTS: tuple[Part, ...] = ("valid", "test")


def make(dataset: Dataset, protocol: Protocol, events: Events) -> tuple[Split, Items]:
    """The split and the catalogue with the texts of this protocol.

    Raises:
        UserError: the dataset has no requests, or none in a part.
    """
    requests = _requests_of(dataset)
    numbers = Numbers.drawn(protocol.seed, events.n_items)
    parts = {part: _in_order(requests.filter(pl.col("part") == part)) for part in PARTS}
    for part, rows in parts.items():
        if not len(rows):
            hint = " Lower min_votes or min_items, or raise max_share, in the card's [requests]."
            raise UserError(
                f"{dataset.name}: there are no requests in the part {part!r}." + (hint if dataset.card.requests else "")
            )
        parts[part] = rows[sample(protocol, "requests", rows["content"].to_numpy())]
    items, candidates = catalogue(dataset, protocol)
    frame = events.frame.with_columns(item=pl.Series(numbers.own[events.item], dtype=pl.Int32))
    train = Interactions(frame, events.n_users, events.n_items)
    nothing = Interactions(frame.clear(), events.n_users, events.n_items)
    nobody: Int32 = np.empty(0, np.int32)
    texts = hashlib.sha256("\0".join(items.texts).encode()).digest()
    split = Split(
        n_users=events.n_users,
        n_items=events.n_items,
        train=train,
        valid=nothing,
        test=nothing,
        fit_data=protocol.fit_data,
        mask_history=protocol.mask_history,
        candidates=candidates[numbers.canonical],
        canonical=numbers.canonical,
        item_order=numbers.order,
        asked={"valid": nobody, "test": nobody},
        fingerprint=digest(
            protocol, events.n_users, numbers, *events.frame.select("user", "item", "value", "time").get_columns(),
            *(rows["content"] for rows in parts.values()), np.frombuffer(texts, np.uint8), candidates,
        ),
        requests={part: _requests(rows, numbers) for part, rows in parts.items()},
        counts={
            "train_events": len(train), "candidates": int(candidates.sum()),
            **{f"{part}_requests": len(rows) for part, rows in parts.items()},
        },
    )  # fmt: skip
    return split, Items(items.frame[numbers.canonical])


def catalogue(dataset: Dataset, protocol: Protocol) -> tuple[Items, Bools]:
    """The items with the texts that may be read, and which of them can be the answer, [n_items]; in canonical ids.

    Only labelled items are candidates: of the others nobody knows whether they would answer. Where the requests were
    not made of labels but came in a file, these are the items that answer any of them.
    """
    rule = dataset.card.requests
    fields = rule.withheld if rule else sorted(_requests_of(dataset)["field"].unique().drop_nulls())
    given = dataset.fields.columns if dataset.fields is not None else []
    without = dataset.items_without(*(name for name in fields if name in given))  # tags are no field of the text anyhow
    if rule is None:
        candidates = np.zeros(len(dataset.items), bool)
        candidates[_requests_of(dataset)["items"].explode().drop_nulls().to_numpy()] = True
        return (without if protocol.withhold else dataset.items), candidates
    labels, candidates = readable(dataset)
    if protocol.withhold:
        return without, candidates
    texts = [". ".join(filter(None, pair)) for pair in zip(without.texts, labels, strict=True)]
    return Items(dataset.items.frame.with_columns(text=pl.Series(texts, dtype=pl.String))), candidates


def _requests_of(dataset: Dataset) -> pl.DataFrame:
    if dataset.requests is None:
        raise UserError(f"{dataset.name} has no requests, which the protocol 'requests' asks for.")
    return dataset.requests


def _in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Requests by their texts, answers ascending and each once, with a hash of both (the column ``content``), which is
    what a sample goes by: the order of the rows does not count."""
    rows = rows.with_columns(pl.col("items").list.unique().list.sort()).sort("text", "kind", "field", "items")
    words = ("\0".join(map(str, row)) for row in rows.select("text", "kind", "field", "items").iter_rows())
    content = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big", signed=True) for word in words]
    return rows.with_columns(content=pl.Series(content, dtype=pl.Int64))


def _requests(rows: pl.DataFrame, numbers: Numbers) -> Requests:
    indptr = np.concatenate([[0], np.cumsum(rows["items"].list.len().to_numpy())]).astype(np.int64)
    items = numbers.own[rows["items"].explode().drop_nulls().to_numpy()]
    return Requests(rows["text"].to_list(), Histories(indptr, items, len(numbers.own)), rows["kind"].to_list())
