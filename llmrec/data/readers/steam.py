"""Steam, as the McAuley lab publishes it; every file holds printed dicts of Python 2, one a line, gzipped:

steam_reviews.json.gz            a review: username, product_id, date (a day), hours played, text, ...
australian_users_items.json.gz   a user and all games in the library, with minutes played; no times
steam_games.json.gz              a game: id, title or app_name, genres, tags, specs, developer, price, ...
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.data.readers.loose import clean, gathered, id_of, names, number_of, records, value_of

_ITEMS = {
    "raw_id": pl.String, "title": pl.String, "developer": pl.String, "release": pl.String, "user_tags": pl.String,
    "categories": pl.List(pl.String),
}  # fmt: skip


def interactions(given: Given) -> pl.DataFrame:
    """Reviews: user, item, value (hours played, 0 where not given), time (the day, seconds).

    ``options = { what = "libraries" }``: user, item, value (minutes played), no time; of a user who stands twice the
    first library counts.

    Raises:
        UserError: a line is no record, or one of these fields is missing or wrong; names file and line.
    """
    what = given.file.options.get("what", "reviews")
    if what == "reviews":
        schema = {"user": pl.String, "item": pl.String, "value": pl.Float32, "day": pl.String, "line": pl.Int64}
        return gathered(_reviews(given), schema, partial(_timed, given))
    if what == "libraries":
        schema = {"user": pl.String, "item": pl.String, "value": pl.Float32, "time": pl.Int64}
        return gathered(_owned(given), schema)
    raise given.fault(f"option what = {what!r} of its card: expected 'reviews' or 'libraries'")


def items(given: Given) -> pl.DataFrame:
    """Games: raw_id, title, developer, release (as written: "2018-01-04", "Soon.."), user_tags ("Strategy, Indie"),
    categories (the genres). Games without an id are passed over; of a game that is listed twice the first stays.

    ``options = { what = "libraries" }`` reads the names of games from the libraries, for games that have left the shop.

    Raises:
        UserError: a line is no record; names file and line.
    """
    rows = _names(given) if given.file.options.get("what") == "libraries" else _games(given)
    return gathered(rows, _ITEMS)


def _timed(given: Given, frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.with_columns(time=pl.col("day").str.to_date("%Y-%m-%d", strict=False))
    if len(wrong := frame.filter(pl.col("time").is_null())):
        raise given.fault(f"'date' is {wrong['day'][0]!r}, expected a day like 2017-12-17", wrong["line"][0])
    return frame.select("user", "item", "value", pl.col("time").cast(pl.Datetime("ms")).dt.epoch("s"))


def _reviews(given: Given) -> Iterator[tuple[Any, ...]]:
    for number, record in records(given):
        yield (
            id_of(record, "username", given, number),
            id_of(record, "product_id", given, number),
            number_of(record, "hours", given, number) if record.get("hours") is not None else 0.0,
            str(value_of(record, "date", given, number)),
            number,
        )


def _owned(given: Given) -> Iterator[tuple[Any, ...]]:
    known: set[str] = set()
    for number, record in records(given):
        user = id_of(record, "user_id", given, number)
        if user in known:
            continue
        known.add(user)
        for game in _library(record, given, number):
            item = id_of(game, "item_id", given, number)
            yield user, item, number_of(game, "playtime_forever", given, number), None


def _library(record: dict[str, Any], given: Given, number: int) -> list[dict[str, Any]]:
    games = value_of(record, "items", given, number)
    if not isinstance(games, list) or not all(isinstance(game, dict) for game in games):
        raise given.fault(f"'items' is {str(games)[:60]!r}, expected a list of games", number)
    return games


def _games(given: Given) -> Iterator[tuple[Any, ...]]:
    listed: set[str] = set()
    for _, record in records(given):
        raw_id = str(record.get("id") or "")
        if not raw_id or raw_id in listed:
            continue
        listed.add(raw_id)
        yield (
            raw_id,
            clean(record.get("title")) or clean(record.get("app_name")),
            clean(record.get("developer")),
            clean(record.get("release_date")),
            ", ".join(names(record.get("tags"))),
            names(record.get("genres")),
        )


def _names(given: Given) -> Iterator[tuple[Any, ...]]:
    listed: set[str] = set()
    for number, record in records(given):
        for game in _library(record, given, number):
            raw_id = id_of(game, "item_id", given, number)
            if raw_id not in listed:
                listed.add(raw_id)
                yield raw_id, clean(game.get("item_name")), "", "", "", []
