"""The copy of MovieLens 100K in RecBole's wheel: the official files' items, but for two slips."""

from __future__ import annotations

from typing import Any

import polars as pl

from llmrec.data.readers import recbole
from llmrec.data.readers.given import Given
from llmrec.data.readers.movielens import title_and_year

interactions = recbole.interactions


def items(given: Given) -> pl.DataFrame:
    """raw_id, title, year, categories, as from u.item. The copy spells "unknown" as "unkonwn", and for the year of
    "Land Before Time III: The Time of the Great Giving (1995) (V)" it has "V"."""
    rows = []
    for raw_id, title, year, genres in recbole.items(given).select("raw_id", "title", "year", "categories").iter_rows():
        if year == "V":
            title, year = title_and_year(title)
        unknown = ("unknown", "unkonwn")
        kept = [genre for genre in genres if genre not in unknown]
        rows.append((raw_id, "" if title in unknown else title, "" if year in unknown else year, kept))
    schema: dict[str, Any] = {
        "raw_id": pl.String,
        "title": pl.String,
        "year": pl.String,
        "categories": pl.List(pl.String),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
