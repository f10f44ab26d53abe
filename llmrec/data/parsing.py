"""One source of a card: its files read, put together, filtered, and numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from llmrec.data import catalogue, tables
from llmrec.data.cards import Card
from llmrec.data.readers import Given, read
from llmrec.data.sources import DataFile, Source
from llmrec.data.tables import Ids
from llmrec.errors import UserError
from llmrec.types import Interactions

NO_EVENTS = {"user": pl.String, "item": pl.String, "value": pl.Float32, "time": pl.Int64}
"""The columns of a source that has impressions alone."""

PARTS = ("fit", "valid", "test")


@dataclass(frozen=True)
class Parsed:
    """A source's tables in canonical ids; see `llmrec.data.Dataset` for what they hold."""

    interactions: Interactions
    official: pl.Series | None
    fields: pl.DataFrame  # with raw_id; row i is item i
    users: Ids
    impressions: pl.DataFrame | None
    requests: pl.DataFrame | None
    tags: pl.DataFrame | None
    steps: pl.DataFrame


def parse_source(card: Card, source: Source, found: Mapping[str, Path]) -> Parsed:
    """Read the source's files, each at ``found[file.where]``.

    Raises:
        UserError: a file is not what the card says; nothing is left after filtering.
    """
    listed = catalogue.tidied(catalogue.joined([_item_table(file, found) for file in source.items]))
    shown = _impressions(source.impressions, found)
    steps = pl.DataFrame(schema=tables.STEPS)
    events = pl.DataFrame(schema=NO_EVENTS)
    if source.interactions:
        events = _events(source.interactions, found)
        if source.official:
            events = tables.with_official(card, events, _events(source.official, found, "official"))
        _check_listed(source, found, events, listed)
        events, steps = tables.filtered(card, events, listed)
    seen = [] if shown is None else [shown["shown"].explode(), shown["history"].explode()]
    users = tables.sorted_ids(events["user"], *([] if shown is None else [shown["user"]]))
    catalogued = [listed["raw_id"]] if card.filters.catalogue == "listed" else []
    items = tables.sorted_ids(events["item"], *catalogued, *seen)
    interactions, official = tables.in_order(card, events, users, items)
    return Parsed(
        interactions,
        official,
        catalogue.rows_of(items.raw, listed),
        users,
        None if shown is None else _numbered(shown, users, items),
        _requests(source.requests, found, items),
        _tags(source.tags, found, users, items),
        steps,
    )


def _events(files: Sequence[DataFile], found: Mapping[str, Path], role: str = "interactions") -> pl.DataFrame:
    """The events of some files, one after the other, each with its file's mark."""
    frames = []
    for file in files:
        frame = read(role, Given.of(file, found))  # type: ignore[arg-type]  # one of two roles
        frames.append(frame.with_columns(official=pl.lit(file.official)) if file.official else frame)
    if len(frames) == 1:
        return frames[0]
    for name in ("user", "item"):
        if len({frame.schema[name] for frame in frames}) > 1:  # numbers here, text there: text
            frames = [frame.with_columns(pl.col(name).cast(pl.String)) for frame in frames]
    return pl.concat(frames, how="diagonal")


def _check_listed(source: Source, found: Mapping[str, Path], events: pl.DataFrame, listed: pl.DataFrame) -> None:
    """Item tables are of the items that are interacted with: if they have none of them, ids are written differently."""
    if len(listed) and not events["item"].unique().cast(pl.String).is_in(listed["raw_id"].implode()).any():
        files = ", ".join(str(found[file.where]) for file in source.items)
        raise UserError(
            f"{files}: no item that is interacted with is listed here: ids are like {listed['raw_id'][0]!r} here, and "
            f"like '{events['item'][0]}' in {found[source.interactions[0].where]}. They must be written alike."
        )


def _item_table(file: DataFile, found: Mapping[str, Path]) -> pl.DataFrame:
    """One item table; an item that is listed twice is an error, or its first row stands, as the card says."""
    table = read("items", Given.of(file, found))
    if "categories" not in table.columns:
        table = table.with_columns(categories=pl.lit([], dtype=pl.List(pl.String)))
    if not (twice := table["raw_id"].is_duplicated()).any():
        return table
    if file.duplicates == "first":
        return table.unique("raw_id", keep="first", maintain_order=True)
    rows = table.with_row_index("row", 1).filter(twice).filter(pl.col("raw_id") == pl.col("raw_id").first())
    raise UserError(
        f"{found[file.where]}: items {rows['row'][0]:,} and {rows['row'][1]:,} have the same id "
        f'{rows["raw_id"][0]!r}; item ids must be unique. If the first of them is to stand, add duplicates = "first" '
        "to the file in the card."
    )


def _impressions(files: Sequence[DataFile], found: Mapping[str, Path]) -> pl.DataFrame | None:
    """What was shown, in raw ids; every row belongs to a part."""
    if not files:
        return None
    frames = []
    for file in files:
        frame = read("impressions", Given.of(file, found))
        if "part" not in frame.columns:
            part = {"train": "fit"}.get(file.official or "", file.official or "fit")
            frame = frame.with_columns(part=pl.lit(part))
        frames.append(frame.select("part", "user", "time", "history", "shown", "clicked"))
    return pl.concat(frames)


def _numbered(shown: pl.DataFrame, users: Ids, items: Ids) -> pl.DataFrame:
    """Impressions in canonical ids."""
    return shown.with_columns(
        users.numbers(shown["user"]).alias("user"),
        _numbers(shown["history"], items).alias("history"),
        _numbers(shown["shown"], items).alias("shown"),
    )


def _numbers(lists: pl.Series, items: Ids) -> pl.Series:
    """Lists of raw ids as lists of numbers, int32; ids that are no item are left out."""
    rows = pl.DataFrame({"row": pl.int_range(len(lists), eager=True), "raw": lists}).explode("raw", empty_as_null=True)
    rows = rows.with_columns(items.numbers(rows["raw"]).alias("raw"))
    return rows.group_by("row", maintain_order=True).agg(pl.col("raw").drop_nulls())["raw"]


def _requests(files: Sequence[DataFile], found: Mapping[str, Path], items: Ids) -> pl.DataFrame | None:
    """Requests of files, their items by number; every one has an item."""
    if not files:
        return None
    frame = pl.concat([read("requests", Given.of(file, found)) for file in files])
    numbered = frame.with_columns(_numbers(frame["items"], items).list.sort().alias("items"))
    empty = (numbered["items"].list.len() == 0).arg_true()
    if len(empty):
        raise UserError(
            f"{found[files[0].where]}: request {frame['text'][int(empty[0])]!r} names no item of the catalogue."
        )
    return numbered


def _tags(files: Sequence[DataFile], found: Mapping[str, Path], users: Ids, items: Ids) -> pl.DataFrame | None:
    """Words that users gave to items of the catalogue; a user who is none of ours is null."""
    if not files:
        return None
    frame = pl.concat([read("tags", Given.of(file, found)) for file in files])
    numbered = frame.with_columns(
        users.numbers(frame["user"]).alias("user"), items.numbers(frame["item"]).alias("item")
    )
    return numbered.filter(pl.col("item").is_not_null()).select("user", "item", "text", "time")
