"""The catalogue of goodbooks-10k: books.csv, with book_tags.csv and tags.csv. Its ratings are a plain table."""

from __future__ import annotations

from typing import Any

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.data.readers.goodreads import SHELVES
from llmrec.data.readers.loose import clean
from llmrec.errors import UserError, nearest


def items(given: Given) -> pl.DataFrame:
    """Books: raw_id (``book_id``, as in ratings.csv), title, original_title, authors, year, categories.

    The categories are the ten tags that most users gave (``also = { book_tags = ..., tags = ... }``), without those of
    `llmrec.data.readers.goodreads.SHELVES`. Tags are joined by ``goodreads_book_id``, another number than ``book_id``.

    Raises:
        UserError: a column is missing, or a count is no number; names the file.
    """
    books = _table(
        given, "book_id", "goodreads_book_id", "authors", "original_publication_year", "original_title", "title"
    )
    tags = _tags(given.also["book_tags"], given.also["tags"])
    joined = books.join(tags, on="goodreads_book_id", how="left", maintain_order="left")
    rows = [
        {
            "raw_id": row["book_id"],
            "title": clean(row["title"]) or clean(row["original_title"]),
            "original_title": clean(row["original_title"]),
            "authors": clean(row["authors"]),
            "year": clean(row["original_publication_year"]).removesuffix(".0"),
            "categories": row["categories"] or [],
        }
        for row in joined.iter_rows(named=True)
    ]
    schema: dict[str, Any] = dict.fromkeys(("raw_id", "title", "original_title", "authors", "year"), pl.String)
    return pl.DataFrame(rows, schema=schema | {"categories": pl.List(pl.String)}, orient="row")


def _tags(counted: Given, named: Given) -> pl.DataFrame:
    """goodreads_book_id, categories list[str]: most used first, ties by name."""
    tags = _table(counted, "goodreads_book_id", "tag_id", "count")
    count = tags["count"].cast(pl.Int64, strict=False)
    if count.null_count():
        line = int(count.is_null().arg_true()[0]) + 2
        raise UserError(f"{counted.path}: line {line}: 'count' is {tags['count'][line - 2]!r}, expected a number.")
    return (
        tags.with_columns(count=count)
        .join(_table(named, "tag_id", "tag_name"), on="tag_id")
        .filter(~pl.col("tag_name").is_in(list(SHELVES)) & (pl.col("count") > 0))
        .group_by("goodreads_book_id", "tag_name")
        .agg(pl.col("count").sum())
        .sort("goodreads_book_id", pl.col("count") * -1, "tag_name")
        .group_by("goodreads_book_id", maintain_order=True)
        .agg(categories=pl.col("tag_name").head(10))
    )


def _table(given: Given, *columns: str) -> pl.DataFrame:
    """Some columns of a quoted CSV file, all as text."""
    try:
        frame = pl.read_csv(given.text().encode(), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{given.path}: not a table with commas between columns: {error}") from None
    for column in columns:
        if column not in frame.columns:
            raise UserError(f"{given.path}: no column {column!r}.{nearest(column, frame.columns)}")
    return frame.select(columns)
