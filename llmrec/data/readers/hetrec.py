"""HetRec 2011 Last.fm: who gave which tag to which artist and when (user_taggedartists.dat), words apart (tags.dat).

Listens and artists are plain tables ("table" reads them).
"""

from __future__ import annotations

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.data.readers.scan import collect, scan

FOUNDED = 2002
"""The year in which Last.fm began: a tag of an earlier year has a wrong date (five of them do)."""

_DAY = ("day", "month", "year")


def tags(given: Given) -> pl.DataFrame:
    """Taggings: user, item, text, time (midnight UTC; null where the date cannot be). ``also = { words = tags.dat }``.

    Raises:
        UserError: a column is missing, a tag has no word, or a day is no number; names file and line.
    """
    words = _columns(given.also["words"], "tagID", "tagValue")
    events = _columns(given, "userID", "artistID", "tagID", *_DAY)
    joined = events.join(words, on="tagID", how="left", maintain_order="left")
    numbers = joined.with_columns(pl.col(_DAY).cast(pl.Int32, strict=False))
    for column, named in {"tagValue": "tagID", **{name: name for name in _DAY}}.items():
        wrong = numbers[column].is_null().arg_true()
        if len(wrong):
            said = "has no word in the file of tags" if column == "tagValue" else "is no number of a date"
            raise given.fault(f"{named!r} {events[named][int(wrong[0])]!r} {said}", int(wrong[0]) + 2)
    moment = pl.date("year", "month", "day").cast(pl.Datetime("ms")).dt.epoch("s")
    return numbers.select(
        pl.col("userID").alias("user"),
        pl.col("artistID").alias("item"),
        pl.col("tagValue").alias("text"),
        pl.when(pl.col("year") >= FOUNDED).then(moment).cast(pl.Int64).alias("time"),
    )


def _columns(given: Given, *names: str) -> pl.DataFrame:
    frame = collect(given, scan(given))
    for name in names:
        if name not in frame.columns:
            raise given.fault(f"no column {name!r}; it has {', '.join(frame.columns)}", 1)
    return frame.select(names)
