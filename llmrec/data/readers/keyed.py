"""JSON files that are one object by id, as research repositories keep them.

interactions  {"0": [17, 4], "1": [4]}                    a user's items, oldest first
items         {"17": {"title": "...", "brand": "..."}}    ``columns`` names the fields
"""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.errors import nearest


def interactions(given: Given) -> pl.DataFrame:
    """Events: user, item, value 1, no time; in the file's order.

    Raises:
        UserError: not a JSON object of lists; names the file and the user.
    """
    lists = _object(given)
    for user, items in lists.items():
        if not isinstance(items, list) or not items:
            raise given.fault(f"user {user!r}: expected a list of at least one item, found {str(items)[:60]!r}")
    nested = pl.DataFrame(
        {"user": list(lists), "item": [[str(item) for item in items] for items in lists.values()]},
        schema={"user": pl.String, "item": pl.List(pl.String)},
    )
    return nested.explode("item").select(
        "user", "item", pl.lit(1.0, pl.Float32).alias("value"), pl.lit(None, pl.Int64).alias("time")
    )


def items(given: Given) -> pl.DataFrame:
    """The catalogue: raw_id (the key) and the fields in ``columns``; ``categories`` is cut at ``list_separator``.

    Raises:
        UserError: not a JSON object of objects, or an item lacks a field; names the file and the item.
    """
    fields = {ours: theirs for ours, theirs in given.file.columns.items() if ours != "categories"}
    rows = []
    for raw_id, record in _object(given).items():
        if not isinstance(record, dict):
            raise given.fault(f"item {raw_id!r}: expected an object, found {str(record)[:60]!r}")
        for theirs in given.file.columns.values():
            if theirs not in record:
                raise given.fault(f"item {raw_id!r} has no {theirs!r}.{nearest(theirs, record)}")
        kinds = str(record.get(given.file.columns.get("categories", ""), "") or "").split(given.file.list_separator)
        row = {"raw_id": raw_id, **{ours: str(record[theirs] or "").strip() for ours, theirs in fields.items()}}
        rows.append({**row, "categories": [kind.strip() for kind in kinds if kind.strip()]})
    schema: dict[str, Any] = {"raw_id": pl.String, **dict.fromkeys(fields, pl.String), "categories": pl.List(pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _object(given: Given) -> dict[str, Any]:
    try:
        found = json.loads(given.text())
    except json.JSONDecodeError as error:
        raise given.fault(f"not JSON: {error.msg}", error.lineno) from None
    if not isinstance(found, dict):
        raise given.fault(f"expected a JSON object by id, found a {type(found).__name__}")
    return found
