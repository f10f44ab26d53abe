"""One line per user: the user, then the items, oldest first, blanks between them."""

from __future__ import annotations

import polars as pl

from llmrec.data.readers.events import slim
from llmrec.data.readers.given import Given


def interactions(given: Given) -> pl.DataFrame:
    """Events in the order of the lines; a user without items is refused unless the file is one part of several."""
    lines = pl.Series("line", given.lines(), dtype=pl.String)
    words = lines.str.extract_all(r"\S+")
    least = 1 if given.file.official else 2
    short = (words.list.len() < least).arg_true()
    if len(short):
        number = int(short[0])
        raise given.fault(f"expected a user and at least one item, found {lines[number]!r}", number + 1)
    rows = pl.DataFrame({"user": words.list.first(), "item": words.list.slice(1)})
    events = rows.filter(pl.col("item").list.len() > 0).explode("item")
    return events.select(
        slim(events["user"]), slim(events["item"]), value=pl.lit(1.0, pl.Float32), time=pl.lit(None, pl.Int64)
    )
