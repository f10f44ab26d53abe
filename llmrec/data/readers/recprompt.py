"""RecPrompt's sample of MIND's development part: CSV, one impression a row, with one clicked news item and nine others.

Lists stand in a cell, one entry a line: ``history_news_id`` (oldest first), ``candidate_news_id`` (as shown), and
beside them their titles, categories and abstracts. ``label`` names the clicked candidate by its place: "C5". Users are
not named.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.errors import nearest

_WHICH = ("history", "candidate")
_FIELDS = ("news_id", "title", "category", "subvert", "abstract")
_COLUMNS = ("impression_id", "label", *(f"{which}_{field}" for which in _WHICH for field in _FIELDS))

_IMPRESSIONS: dict[str, Any] = {
    "part": pl.String, "user": pl.String, "time": pl.Int64, "history": pl.List(pl.String), "shown": pl.List(pl.String),
    "clicked": pl.List(pl.Boolean),
}  # fmt: skip
_NEWS: dict[str, Any] = {
    "raw_id": pl.String, "title": pl.String, "abstract": pl.String, "categories": pl.List(pl.String),
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


def items(given: Given) -> pl.DataFrame:
    """The news of histories and candidates, each once: raw_id, title, abstract, categories (the category and the
    subcategory).

    Raises:
        UserError: a column is missing, or a row has not as many titles (categories, ...) as ids; names file and row.
    """
    news: dict[str, tuple[str, str, str, list[str]]] = {}
    for number, row in enumerate(_rows(given), 1):
        for which in _WHICH:
            lists = [row[f"{which}_{field}"].split("\n") for field in _FIELDS]
            if len({len(part) for part in lists}) > 1:
                counts = ", ".join(
                    f"{len(part)} in {which}_{field}" for field, part in zip(_FIELDS, lists, strict=True)
                )
                raise given.fault(f"row {number}: the lists of news are not of one length: {counts}")
            for raw_id, title, category, subcategory, abstract in zip(*lists, strict=True):
                if raw_id:  # an empty history is one empty entry
                    kinds = [kind for kind in dict.fromkeys((category, subcategory)) if kind]
                    news[raw_id] = (raw_id, title.strip(), abstract.strip(), kinds)
    return pl.DataFrame(list(news.values()), schema=_NEWS, orient="row")


def crosscheck(given: Given) -> pl.DataFrame:
    """The titles beside the ids: raw_id, title."""
    return items(given).select("raw_id", "title")


def _rows(given: Given) -> list[dict[str, str]]:
    """Cells may be longer than csv's default limit of 128 KiB in principle, but none of these is near it."""
    reader = csv.DictReader(io.StringIO(given.text(), newline=""))
    for name in _COLUMNS:
        if name not in (reader.fieldnames or []):
            raise given.fault(f"no column {name!r}.{nearest(name, reader.fieldnames or [])}", 1)
    return list(reader)
