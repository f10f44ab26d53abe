"""Reading the files that cards name: one module a format, found by its name; nothing to register.

A reader is a module here with a function for each role that its files can have (`llmrec.data.cards`). It takes a
`Given` (the local file, and what the card says of it) and keeps the file's order and the publisher's own ids:

    interactions  user and item (str, or int64 where every id is a plain number), value float32, time int64 (seconds
                  since 1970, UTC; null if unknown); one row an event. Also, if there are any: official str (the part
                  that the event belongs to) and dropped str (the card's ``drop`` rule by which it is none, or null)
    official      user, item, and value and time where the file has them
    items         raw_id str, title str, categories list[str], and further text fields of the card's choice, all str
    tags          user str or null, item str, text str, time int64 or null
    impressions   user str, time int64 or null, history list[str] (oldest first), shown list[str], clicked list[bool];
                  and part str ("fit", "valid", "test") where the file says it
    requests      text str, items list[str], kind str, field str, part str ("valid" or "test")
    crosscheck    raw_id str, title str
"""

from __future__ import annotations

import importlib

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.data.sources import Role, reader_names
from llmrec.errors import UserError

__all__ = ["Given", "read", "reader_names"]


def read(role: Role, given: Given) -> pl.DataFrame:
    """One file, by the reader that its card names.

    Raises:
        UserError: with file, line or row, column, and what was expected.
    """
    name = given.file.reader  # the card has made sure that there is one
    function = getattr(importlib.import_module(f"{__name__}.{name}"), role, None)
    if function is None:
        raise UserError(f"{given.path}: the reader {name!r} reads no {role}.")
    frame: pl.DataFrame = function(given)
    if frame.is_empty():
        raise UserError(f"{given.path}: no {role} in this file; it is empty, or has nothing but its head.")
    return frame
