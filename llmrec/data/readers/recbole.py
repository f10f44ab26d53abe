"""RecBole's atomic files: tables with tabs whose head names columns and types, "user_id:token", "rating:float".

``columns`` of the card may name columns with or without their type; what it leaves out is found by RecBole's own names.
"""

from __future__ import annotations

import dataclasses

import polars as pl

from llmrec.data.readers import table
from llmrec.data.readers.given import Given
from llmrec.data.readers.scan import column_names

EVENTS = {"user": ("user_id",), "item": ("item_id",), "value": ("rating", "label"), "time": ("timestamp",)}
ITEMS = {
    "raw_id": ("item_id",),
    "title": ("title", "name", "movie_title", "item_name"),
    "categories": ("class", "genre", "categories", "category"),
}
"""Our names -> the names, without type, that RecBole's own datasets use; the first that a file has is taken."""


def interactions(given: Given) -> pl.DataFrame:
    """The events of a .inter file: user_id, item_id and, if there are any, rating (or label) and timestamp."""
    return table.interactions(_typed(given, EVENTS))


def items(given: Given) -> pl.DataFrame:
    """The catalogue of a .item file, each column a field by its name without type; categories are cut at blanks."""
    named = _typed(given, ITEMS)
    taken = set(named.file.columns.values())
    others = {name.split(":")[0]: name for name in column_names(given) if name not in taken}
    columns = {**others, **named.file.columns}
    return table.items(dataclasses.replace(named, file=named.file.model_copy(update={"columns": columns})))


def _typed(given: Given, usual: dict[str, tuple[str, ...]]) -> Given:
    """With the columns' names as they stand in the file."""
    full = {name.split(":")[0]: name for name in column_names(given)}
    columns = {ours: next((full[n] for n in names if n in full), "") for ours, names in usual.items()}
    columns |= {ours: full.get(theirs, theirs) for ours, theirs in given.file.columns.items()}
    for ours in ("user", "item", "raw_id"):
        if ours in usual and not columns[ours]:
            columns[ours] = f"{usual[ours][0]}:token"  # its absence is the table's error
    update = {"columns": {ours: theirs for ours, theirs in columns.items() if theirs}, "format": "tsv"}
    if "list_separator" not in given.file.model_fields_set:
        update["list_separator"] = " "
    return dataclasses.replace(given, file=given.file.model_copy(update=update))
