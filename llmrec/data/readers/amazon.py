"""Amazon review data in the files of the McAuley lab: releases of 2014, 2018 and 2023.

    2014   reviews_<Category>_5.json.gz   JSON            meta_<Category>.json.gz    Python literals, not JSON
    2018   <Category>_5.json.gz           JSON            meta_<Category>.json.gz    JSON, some records twice
    2023   <Category>.csv.gz              "table" reader  meta_<Category>.jsonl.gz   JSON

The meta files list many times the products that were reviewed: with ``also = { events = ... }`` (the file of reviews)
only those are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from llmrec.data.readers import table
from llmrec.data.readers.given import Given
from llmrec.data.readers.loose import clean, gathered, id_of, moment_of, names, number_of, records

_EVENTS = {"user": pl.String, "item": pl.String, "value": pl.Float32, "time": pl.Int64}
_ITEMS = {
    "raw_id": pl.String, "title": pl.String, "brand": pl.String, "description": pl.String, "features": pl.String,
    "price": pl.String, "categories": pl.List(pl.String),
}  # fmt: skip
_ASIN = re.compile(r"""["'](?:parent_)?asin["']: ["']([^"']+)["']""")
_PRICE = re.compile(r"^\$?\s*(\d[\d,]*(?:\.\d+)?)$")


def interactions(given: Given) -> pl.DataFrame:
    """Reviews of 2014 and 2018: user, item, value (1 to 5 stars), time (whole days, seconds since 1970), in the file's
    order. A review that stands twice is two events.

    Raises:
        UserError: a line is no record, or one of its four fields is missing or wrong; names file and line.
    """
    return gathered(_reviews(given), _EVENTS)


def items(given: Given) -> pl.DataFrame:
    """Products: raw_id, title, brand, description, features, price (of one plain price, without "$"), categories.

    Text is cleaned of HTML; fields that a release lacks are ''. Of a product that is listed twice the first stays.

    Raises:
        UserError: a line is no record or has no id; names file and line.
    """
    wanted = _reviewed(given.also["events"]) if "events" in given.also else None
    return gathered(_products(given, wanted), _ITEMS)


def _reviews(given: Given) -> Iterator[tuple[Any, ...]]:
    for number, record in records(given):
        yield (
            id_of(record, "reviewerID", given, number),
            id_of(record, "asin", given, number),
            number_of(record, "overall", given, number),
            moment_of(record, "unixReviewTime", given, number),
        )


def _products(given: Given, wanted: set[str] | None) -> Iterator[tuple[Any, ...]]:
    listed: set[str] = set()
    for number, record in records(given, _mentions(wanted) if wanted is not None else None):
        key = "parent_asin" if "parent_asin" in record else "asin"
        raw_id = id_of(record, key, given, number)
        if raw_id in listed or (wanted is not None and raw_id not in wanted):
            continue
        listed.add(raw_id)
        yield (
            raw_id,
            _title(record.get("title")),
            clean(record.get("brand") or record.get("store")),
            clean(record.get("description")),
            clean(record.get("features") or record.get("feature")),
            _price(record.get("price")),
            _categories(record),
        )


def _mentions(wanted: set[str]) -> Callable[[str], bool]:
    """Whether a line may be of a wanted product: to parse all lines takes minutes where most products are not."""

    def worth(line: str) -> bool:
        found = _ASIN.findall(line)
        return not found or any(asin in wanted for asin in found)

    return worth


def _reviewed(events: Given) -> set[str]:
    """The products in a file of reviews."""
    if events.file.columns:  # the release of 2023: a table
        return set(table.interactions(events)["item"].unique())
    return {id_of(record, "asin", events, number) for number, record in records(events)}


def _title(raw: Any) -> str:
    """Some titles of 2018 are the script of a page that was not parsed; every one of these calls getTime."""
    return "" if "getTime" in str(raw) else clean(raw)


def _price(raw: Any) -> str:
    """The number of one plain price; '' for a range, "Currently unavailable" or a piece of a page."""
    found = _PRICE.match(str(raw).strip())
    return found.group(1).replace(",", "") if found else ""


def _categories(record: dict[str, Any]) -> list[str]:
    """Names of the category paths: ``categories`` (2014: several paths; 2023: one) or ``category`` (2018)."""
    return names(record.get("categories") or record.get("category"))
