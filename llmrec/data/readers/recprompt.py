"""RecPrompt's sample of MIND's development part: CSV, one impression a row, with one clicked news item and nine others.

Lists stand in a cell, one entry a line: ``history_news_id`` (oldest first), ``candidate_news_id`` (as shown) and their
titles. ``label`` names the clicked candidate by its place: "C5". Users are not named.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.errors import nearest

_COLUMNS = ("impression_id", "label", "history_news_id", "candidate_news_id", "history_title", "candidate_title")

_IMPRESSIONS: dict[str, Any] = {
    "part": pl.String, "user": pl.String, "time": pl.Int64, "history": pl.List(pl.String), "shown": pl.List(pl.String),
    "clicked": pl.List(pl.Boolean),
}  # fmt: skip


def is_recprompt(given: Given) -> bool:
    """Whether a file of a MIND source is one of these."""
    return given.suffix == ".csv"


def impressions(given: Given) -> pl.DataFrame:
    """part ("valid" or "test", by the card's ``official``), user, time (null), history, shown, clicked.

    As users are not named, each impression has one of its own: "dev-33744" (the impressions of MIND's training part
    are numbered anew, so the bare number would not do).

    Raises:
        UserError: a column is missing, or a label names no candidate; names file and row.
    """
    rows = []
    for number, row in enumerate(_rows(given), 1):
        shown = row["candidate_news_id"].split("\n")
        place = row["label"].removeprefix("C")
        if not place.isdecimal() or not 1 <= int(place) <= len(shown):
            raise given.fault(f"row {number}: label {row['label']!r} names none of the {len(shown)} candidates")
        history = [news for news in row["history_news_id"].split("\n") if news]
        clicked = [i == int(place) for i in range(1, len(shown) + 1)]
        rows.append((given.file.official or "test", f"dev-{row['impression_id']}", None, history, shown, clicked))
    return pl.DataFrame(rows, schema=_IMPRESSIONS, orient="row")


def crosscheck(given: Given) -> pl.DataFrame:
    """The titles beside the ids, each news item once: raw_id, title.

    Raises:
        UserError: a column is missing, or a row has not as many titles as ids; names file and row.
    """
    titles: dict[str, str] = {}
    for number, row in enumerate(_rows(given), 1):
        for which in ("history", "candidate"):
            ids, said = row[f"{which}_news_id"].split("\n"), row[f"{which}_title"].split("\n")
            if len(ids) != len(said):
                raise given.fault(f"row {number}: {len(ids)} news in {which}_news_id, {len(said)} in {which}_title")
            titles.update(zip(ids, said, strict=True))
    return pl.DataFrame({"raw_id": list(titles), "title": list(titles.values())})


def _rows(given: Given) -> list[dict[str, str]]:
    """Cells may be longer than csv's default limit of 128 KiB in principle, but none of these is near it."""
    reader = csv.DictReader(io.StringIO(given.text(), newline=""))
    for name in _COLUMNS:
        if name not in (reader.fieldnames or []):
            raise given.fault(f"no column {name!r}.{nearest(name, reader.fieldnames or [])}", 1)
    return list(reader)
