"""MovieLens' movies.csv (ml-latest, 20M, 25M, 32M) and, with ``separator = "::"``, movies.dat (1M, 10M).

Both are tables ("table" reads them); two habits of theirs are undone here: the year stands at the end of the title, and
"(no genres listed)" stands for an empty list of genres.
"""

from __future__ import annotations

import polars as pl

from llmrec.data.readers import table
from llmrec.data.readers.given import Given

NO_GENRES = "(no genres listed)"
_YEAR = r"^(.*\S)\s*\((\d{4})\)\s*$"  # "Toy Story (1995)"; not "(2006-2007)" of a series

interactions, tags = table.interactions, table.tags


def items(given: Given) -> pl.DataFrame:
    """Films: raw_id, title, year ('' where the title ends without one), categories, and other columns of the card's."""
    frame = table.items(given)
    return frame.with_columns(
        pl.col("title").str.extract(_YEAR, 1).fill_null(pl.col("title").str.strip_chars()),
        pl.col("title").str.extract(_YEAR, 2).fill_null("").alias("year"),
        pl.col("categories").list.eval(pl.element().filter(pl.element() != NO_GENRES)),
    )


def crosscheck(given: Given) -> pl.DataFrame:
    """Titles from a second source, the year in brackets as in the file: raw_id, title."""
    return table.crosscheck(given)
