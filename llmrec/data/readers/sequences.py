"""One line per user: the user, then the items, oldest first, blanks between them."""

from __future__ import annotations

import polars as pl

from llmrec.data.readers.given import Given


def interactions(given: Given) -> pl.DataFrame:
    """Events in the order of the lines; a user without items is refused unless the file is one part of several."""
    users: list[str] = []
    items: list[list[str]] = []
    for number, line in enumerate(given.lines(), 1):
        user, *sequence = line.split() or [""]
        if sequence:
            users.append(user)
            items.append(sequence)
        elif not (given.file.official and user):
            raise given.fault(f"expected a user and at least one item, found {line!r}", number)
    nested = pl.DataFrame({"user": users, "item": items}, schema={"user": pl.String, "item": pl.List(pl.String)})
    return nested.explode("item").with_columns(value=pl.lit(1.0, pl.Float32), time=pl.lit(None, pl.Int64))
