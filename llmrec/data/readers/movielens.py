"""MovieLens 100K's u.item: id | title (year) | release | video release | address | 19 genre flags; latin-1."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from llmrec.data.readers.given import Given

GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The flags, in the order of u.genre."""

_TITLE_YEAR = re.compile(r"^(.*?)\s*\((\d{4})\)\s*(?:\(V\))?\s*$")


def items(given: Given) -> pl.DataFrame:
    """raw_id, title without the year, year, categories; "unknown" is neither a title nor a genre."""
    rows = []
    for number, line in enumerate(given.lines(), 1):
        parts = line.split("|")
        if len(parts) != 5 + len(GENRES):
            raise given.fault(f"{len(parts)} columns, expected {5 + len(GENRES)}", number)
        title, year = title_and_year(parts[1])
        genres = [genre for genre, flag in zip(GENRES, parts[5:], strict=True) if flag == "1" and genre != "unknown"]
        rows.append((parts[0], "" if title == "unknown" else title, year, genres))
    schema: dict[str, Any] = {
        "raw_id": pl.String,
        "title": pl.String,
        "year": pl.String,
        "categories": pl.List(pl.String),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def title_and_year(title: str) -> tuple[str, str]:
    """("Toy Story", "1995") of "Toy Story (1995)"; the year is '' where there is none."""
    found = _TITLE_YEAR.match(title)
    return (found[1], found[2]) if found else (title.strip(), "")
