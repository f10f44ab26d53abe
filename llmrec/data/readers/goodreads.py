"""The UCSD book graph (Goodreads, 2017) by genre: goodreads_{interactions,books}_<genre>.json.gz.

An interaction is a book on a user's shelf: it may be read or not, and rated or not (rating 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.data.readers.loose import clean, gathered, id_of, names, number_of, records, value_of

_DATE = "%a %b %d %H:%M:%S %z %Y"  # Thu Aug 17 15:15:28 -0700 2017
_ITEMS = {
    "raw_id": pl.String, "title": pl.String, "description": pl.String, "publisher": pl.String, "year": pl.String,
    "categories": pl.List(pl.String),
}  # fmt: skip

SHELVES = frozenset(
    ("to-read", "currently-reading", "read", "owned", "books-i-own", "owned-books", "my-books", "default", "favorites",
     "favourites", "wish-list", "library", "my-library", "kindle", "ebook", "ebooks", "e-book", "e-books", "audiobook",
     "audiobooks", "audio", "to-buy", "i-own", "all-time-favorites", "re-read", "did-not-finish", "dnf", "abandoned",
     "home-library", "personal-library", "borrowed", "own-it", "book-club", "tbr", "have", "maybe", "my-bookshelf")
)  # fmt: skip
"""Names of shelves that say what a user did with a book, not what it is about."""


def interactions(given: Given) -> pl.DataFrame:
    """Shelvings: user, item, value (1 to 5 stars; 0 where not rated), time (when it came on the shelf, seconds).

    ``options = { keep = "read" }`` keeps what was read, ``{ keep = "rated" }`` what was rated; default: all.

    Raises:
        UserError: a line is no record, or one of its fields is missing or wrong; names file and line.
    """
    keep = given.file.options.get("keep", "all")
    if keep not in ("all", "read", "rated"):
        raise given.fault(f"option keep = {keep!r} of its card: expected 'all', 'read' or 'rated'")
    schema = {"user": pl.String, "item": pl.String, "value": pl.Float32, "added": pl.String, "line": pl.Int64}
    return gathered(_shelvings(given, keep), schema, partial(_timed, given))


def items(given: Given) -> pl.DataFrame:
    """Books: raw_id, title, description, publisher, year, categories (the ten shelves that most users put it on, those
    of `SHELVES` left out).

    Raises:
        UserError: a line is no record or has no id; names file and line.
    """
    return gathered(_books(given), _ITEMS)


def _timed(given: Given, frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.with_columns(time=pl.col("added").str.to_datetime(_DATE, strict=False).dt.epoch("s"))
    if len(wrong := frame.filter(pl.col("time").is_null())):
        added, line = wrong["added"][0], wrong["line"][0]
        raise given.fault(f"'date_added' is {added!r}, expected a moment like 'Thu Aug 17 15:15:28 -0700 2017'", line)
    return frame.select("user", "item", "value", "time")


def _shelvings(given: Given, keep: str) -> Iterator[tuple[Any, ...]]:
    for number, record in records(given):
        stars = number_of(record, "rating", given, number)
        if (keep == "rated" and not stars) or (keep == "read" and not value_of(record, "is_read", given, number)):
            continue
        yield (
            id_of(record, "user_id", given, number),
            id_of(record, "book_id", given, number),
            stars,
            str(value_of(record, "date_added", given, number)),
            number,
        )


def _books(given: Given) -> Iterator[tuple[Any, ...]]:
    for number, record in records(given):
        yield (
            id_of(record, "book_id", given, number),
            clean(record.get("title")) or clean(record.get("title_without_series")),
            clean(record.get("description")),
            clean(record.get("publisher")),
            clean(record.get("publication_year")),
            _shelves(record.get("popular_shelves")),
        )


def _shelves(counted: Any) -> list[str]:
    """The file's order is by count, falling."""
    named = names([shelf.get("name", "") for shelf in counted or [] if isinstance(shelf, dict)])
    return [name for name in named if name not in SHELVES][:10]
