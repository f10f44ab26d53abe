"""From what the files say to canonical tables: filters, ids from 0, each user's events in order.

Ids are the ranks of the publisher's ids, as numbers where all are numbers: they do not depend on the files' order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from llmrec.data.cards import Card
from llmrec.errors import UserError
from llmrec.types import Int64, Interactions, Items

Bools = npt.NDArray[np.bool_]

EVENTS = ("user", "item", "value", "time", "order")
"""The columns of `Interactions`."""

STEPS = {"step": pl.String, "users": pl.Int64, "items": pl.Int64, "interactions": pl.Int64}
"""What `Dataset.steps` holds: how many users, items and interactions there are after each step of filtering."""


@dataclass(frozen=True)
class Ids:
    """Raw ids in the order of their numbers: row n is number n. Text, or int64 where every one is a plain number."""

    raw: pl.Series

    def __len__(self) -> int:
        return len(self.raw)

    @property
    def texts(self) -> list[str]:
        return self.raw.cast(pl.String).to_list()

    def numbers(self, raw: pl.Series) -> pl.Series:
        """The number of each raw id, int32; null where it has none."""
        known, asked = self.raw, raw
        if asked.dtype != known.dtype:
            known, asked = known.cast(pl.String), asked.cast(pl.String)
        elif known.dtype == pl.Int64 and not raw.null_count() and _is_dense(known, asked):
            table = np.full(_highest(known, asked) + 1, -1, np.int32)  # a look-up is five times as fast as a join
            table[known.to_numpy()] = np.arange(len(self), dtype=np.int32)
            numbers = pl.Series(raw.name, table[asked.to_numpy()])
            return numbers if (numbers >= 0).all() else pl.select(pl.when(numbers >= 0).then(numbers)).to_series()
        return asked.replace_strict(known, np.arange(len(self), dtype=np.int32), default=None, return_dtype=pl.Int32)


def _highest(*columns: pl.Series) -> int:
    return max((int(column.max()) for column in columns if len(column)), default=0)  # type: ignore[arg-type]


def _is_dense(known: pl.Series, asked: pl.Series) -> bool:
    """Whether ids are numbers from 0 on with so few gaps that a table from 0 to the highest is small."""
    lowest = min((int(column.min()) for column in (known, asked) if len(column)), default=0)  # type: ignore[arg-type]
    return lowest >= 0 and _highest(known, asked) <= 10_000_000 + len(asked)


def sorted_ids(*columns: pl.Series) -> Ids:
    """The different ids of some columns, numbers by their value."""
    different = [column.drop_nulls().unique() for column in columns if len(column)]
    if different and all(column.dtype == pl.Int64 for column in different):
        return Ids(pl.concat(different).unique().sort())
    raw = pl.concat([pl.Series(values=[], dtype=pl.String), *(c.cast(pl.String) for c in different)]).unique()
    if not raw.str.contains(r"^[0-9]+$").all():
        return Ids(raw.sort())
    frame = pl.DataFrame({"raw": raw, "digits": raw.str.strip_chars_start("0")})
    by_value = frame.sort(pl.col("digits").str.len_bytes(), "digits", "raw")["raw"]
    plain = (by_value.str.len_bytes() < 19) & (~by_value.str.starts_with("0") | (by_value == "0"))
    return Ids(by_value.cast(pl.Int64) if plain.all() else by_value)


def filtered(card: Card, events: pl.DataFrame, listed: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The events that the card keeps, and what each step left: (events, steps).

    Raises:
        UserError: nothing is left; says which step took what.
    """
    steps: list[tuple[str, int, int, int]] = []

    def note(step: str, frame: pl.DataFrame) -> pl.DataFrame:
        steps.append((step, frame["user"].n_unique(), frame["item"].n_unique(), len(frame)))
        if not len(frame):
            _nothing_left(card, steps)
        return frame

    events = _drop_rows(events, note)
    rules = card.filters
    if rules.since or rules.until:
        events = note(f"dates {rules.since or '...'} to {rules.until or '...'}", events.filter(_between(card, events)))
    if rules.min_value is not None:
        events = note(f"value >= {rules.min_value:g}", events.filter(pl.col("value") >= rules.min_value))
    if rules.categories:
        wanted = listed.filter(pl.col("categories").list.set_intersection(list(rules.categories)).list.len() > 0)
        kept = events["item"].cast(pl.String).is_in(wanted["raw_id"].to_list())
        events = note("items of the categories " + ", ".join(rules.categories), events.filter(kept))
    user_core, item_core = max(rules.core, rules.user_core), max(rules.core, rules.item_core)
    if user_core > 1 or item_core > 1:
        keep = core(events, user_core, item_core)
        events = events if keep.all() else events.filter(keep)
        events = note(f"core of {user_core} a user and {item_core} an item", events)
    return events, pl.DataFrame(steps, schema=STEPS, orient="row")


def core(events: pl.DataFrame, user_core: int, item_core: int) -> Bools:
    """Which events are left when users and items with too few of them have gone, again and again, until none goes."""
    user, item = (sorted_ids(events[n]).numbers(events[n]).to_numpy() for n in ("user", "item"))
    n_users, n_items = int(user.max()) + 1, int(item.max()) + 1
    keep = np.ones(len(user), bool)
    while True:
        users, items = np.bincount(user[keep], minlength=n_users), np.bincount(item[keep], minlength=n_items)
        left: Bools = keep & (users >= user_core)[user] & (items >= item_core)[item]
        if left.sum() == keep.sum():
            return left
        keep = left


def in_order(card: Card, events: pl.DataFrame, users: Ids, items: Ids) -> tuple[Interactions, pl.Series | None]:
    """Interactions in canonical ids, and the part that each belongs to if the files say it.

    Within a user events are ordered by time (``time = "exact"``), equal times in the file's order; else by the file.
    """
    if card.time == "exact" and events["time"].null_count():
        raise UserError(f"{card.name}: the card says time = 'exact', but {_without_time(events)}.")
    columns = [users.numbers(events["user"]).alias("user"), items.numbers(events["item"]).alias("item")]
    frame = pl.DataFrame([*columns, *(events[n] for n in ("value", "time", "official") if n in events.columns)])
    keys = ["user", "time"] if card.time == "exact" else ["user"]
    if not frame.select(_is_sorted(keys)).item():
        frame = frame[_order(frame, keys)]
    counts = np.bincount(frame["user"].to_numpy(), minlength=len(users))
    order = np.arange(len(frame), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    frame = frame.with_columns(order=pl.Series(order.astype(np.int32)))
    official = frame["official"] if "official" in frame.columns else None
    return Interactions(frame.select(EVENTS), len(users), len(items)), official


def with_official(card: Card, events: pl.DataFrame, marked: pl.DataFrame) -> pl.DataFrame:
    """The events with the part that the official files put them in; each event of those files must be one of ours."""
    keys = [n for n in ("user", "item", "value", "time") if n in marked.columns]
    aligned = marked.with_columns(pl.col(n).cast(events[n].dtype) for n in keys)
    part = aligned.group_by(keys).agg(pl.col("official").unique().sort().str.join(","), pl.len().alias("n"))
    joined = events.join(part, on=keys, how="left", maintain_order="left", nulls_equal=True)
    found = joined.filter(pl.col("official").is_not_null()).height
    if found != marked.height:
        raise UserError(
            f"{card.name}: the official files hold {marked.height:,} events, but {found:,} of them are interactions. "
            f"They were looked up by {', '.join(keys)}."
        )
    if joined["official"].null_count():
        raise UserError(f"{card.name}: {joined['official'].null_count():,} interactions are in no official file.")
    return joined.drop("n")


def fingerprint(
    interactions: Interactions,
    items: Items,
    users: list[str],
    impressions: pl.DataFrame | None = None,
    tags: pl.DataFrame | None = None,
) -> str:
    """SHA-256 of the canonical tables: equal data have equal fingerprints, wherever they were read from.

    The official split is not part of it, for not every copy of a dataset has one; it is part of a split's fingerprint.
    """
    digest = hashlib.sha256()
    frame = interactions.frame.with_columns(time=pl.col("time").fill_null(np.iinfo(np.int64).min))
    for column in frame.get_columns():
        digest.update(f"{column.name}/{column.dtype}/{len(column)}/".encode())
        digest.update(np.ascontiguousarray(column.to_numpy()).data)
    texts = [*users, *items.frame["raw_id"], *items.titles, *items.texts, *map(str, items.categories)]
    digest.update("".join([f"{len(text)}/{text}" for text in texts]).encode())
    for table in (impressions, tags):
        for row in table.iter_rows() if table is not None else ():
            digest.update(f"{row}/".encode())
    return digest.hexdigest()


def _without_time(events: pl.DataFrame) -> str:
    """Which events have no time, and what to do about it."""
    order = "say time = 'order' in the card if the files are in order, else 'none'"
    none = events.filter(pl.col("time").is_null())
    if len(none) == len(events):
        return f"no event has one: name the column of times in 'columns', or {order}"
    user, item = none.select("user", "item").row(0)
    return (
        f"{len(none):,} events have none, the first that of user '{user}' and item '{item}': leave such rows out with "
        f"drop = [{{ column = '...', empty = true }}], or {order}"
    )


def _drop_rows(events: pl.DataFrame, note: Callable[[str, pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """Leave out the rows that a ``drop`` rule of the card says are no events."""
    note("as read", events)
    if "dropped" not in events.columns:
        return events
    for rule in events["dropped"].unique(maintain_order=True).drop_nulls():
        events = note(f"rows dropped: {rule}", events.filter(pl.col("dropped").is_null() | (pl.col("dropped") != rule)))
    return events.drop("dropped")


def _nothing_left(card: Card, steps: list[tuple[str, int, int, int]]) -> None:
    told = "; ".join(f"{step}: {left:,} left" for step, _, _, left in steps)
    raise UserError(f"{card.name}: nothing is left after filtering. Interactions by step: {told}. Loosen that filter.")


def _between(card: Card, events: pl.DataFrame) -> pl.Series:
    if events["time"].null_count():
        raise UserError(f"{card.name}: filters.since and filters.until need the time of every event; some have none.")
    since, until = (_seconds(moment) for moment in (card.filters.since, card.filters.until))
    keep = events["time"] >= (since if since is not None else np.iinfo(np.int64).min)
    return keep & (events["time"] < until) if until is not None else keep


def _seconds(moment: date | datetime | None) -> int | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _order(frame: pl.DataFrame, keys: list[str]) -> Int64:
    """The rows by user and time, equal ones as they are; user and time make one number, to be sorted twice as fast."""
    user = frame["user"].to_numpy()
    if keys == ["user"]:
        return np.argsort(user, kind="stable")
    if not 0 <= frame["time"].min() <= frame["time"].max() < 2**32:  # type: ignore[operator]  # numbers, none is null
        return np.lexsort((frame["time"].to_numpy(), user))
    return np.argsort((user.astype(np.int64) << 32) | frame["time"].to_numpy(), kind="stable")


def _is_sorted(keys: list[str]) -> pl.Expr:
    """Whether rows are in order already, as most files are: then nothing needs to move."""
    user = pl.col("user")
    ascending = user >= user.shift(1)
    if keys != ["user"]:
        ascending &= (user > user.shift(1)) | (pl.col("time") >= pl.col("time").shift(1))
    return ascending.all()
