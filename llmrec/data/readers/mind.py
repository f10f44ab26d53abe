"""MIND, Microsoft News: behaviors.tsv (impressions) and news.tsv of the parts train and dev.

behaviors.tsv, no header: impression id, user, time as "11/9/2019 2:14:46 PM", the user's clicks before (oldest first,
may be empty), what was shown: "N1-1 N2-0" (clicked, not clicked). A user's history is the same in all rows of a file.
news.tsv, no header, no quoting: id, category, subcategory, title, abstract, address and two columns of entities.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.data.readers.scan import scan, unreadable

_BEHAVIORS = ("id", "user", "time", "history", "shown")
_NEWS = ("raw_id", "category", "subcategory", "title", "abstract", "address", "title_entities", "abstract_entities")
_TIME = "%m/%d/%Y %I:%M:%S %p"
_DAY = 86_400  # seconds


def interactions(given: Given) -> pl.DataFrame:
    """What is known to have been clicked before the first day that validates: user, item, value 1, time (null).

    A user's history, once, oldest first, then the clicked news of the user's own fitting impressions in order of time.

    Raises:
        UserError: as `impressions`.
    """
    fit = impressions(given).filter(pl.col("part") == "fit")
    history = fit.select("user", item="history").unique("user", keep="first", maintain_order=True).explode("item")
    clicks = (
        fit.select("user", "time", "clicked", item="shown")
        .explode("item", "clicked")
        .filter("clicked")
        .sort("time", maintain_order=True)
    )
    events = pl.concat([history.drop_nulls("item"), clicks.select("user", "item")])
    return events.select("user", "item", pl.lit(1.0, pl.Float32).alias("value"), pl.lit(None, pl.Int64).alias("time"))


def impressions(given: Given) -> pl.DataFrame:
    """part, user, time (seconds; the log's clock, taken as UTC), history, shown and clicked lists, in the file's order.

    ``official`` of the card's file says what it is. A file without it is MIND's training week: its last day is "valid",
    the days before are "fit", as MIND's own development set is the day after.

    Raises:
        UserError: a row has another number of columns, a time that is none, no news, or news without a label (MIND's
            own test part has none); names file and line.
    """
    frame = _behaviors(given)
    if given.file.official is None:
        day = pl.col("time") // _DAY
        named = pl.when(day == day.max()).then(pl.lit("valid")).otherwise(pl.lit("fit"))
    else:
        named = pl.lit("fit" if given.file.official == "train" else given.file.official)
    return frame.select(named.alias("part"), "user", "time", "history", "shown", "clicked")


def items(given: Given) -> pl.DataFrame:
    """News: raw_id, title, abstract, subcategory, categories (the one category).

    Raises:
        UserError: a row has another number of columns; names file and line.
    """
    news = _read(given, _NEWS)
    for column in ("raw_id", "address"):
        _refuse(given, news, column, news[column].is_null(), f"a row of {len(_NEWS)} columns")
    return news.select(
        "raw_id",
        *(pl.col(name).fill_null("").str.strip_chars() for name in ("title", "abstract", "subcategory")),
        categories=pl.concat_list(pl.col("category")).list.drop_nulls(),
    )


def _behaviors(given: Given) -> pl.DataFrame:
    frame = _read(given, _BEHAVIORS)
    time = frame["time"].str.to_datetime(_TIME, strict=False).dt.epoch("s")
    _refuse(given, frame, "time", time.is_null(), "a time like 11/12/2019 2:14:46 PM")
    _refuse(given, frame, "user", frame["user"].is_null(), "a user")
    shown = frame["shown"].fill_null("")
    wrong = ~shown.str.contains(r"^\S+-[01]( \S+-[01])*$")
    _refuse(given, frame, "shown", wrong, "news with labels, N1-1 N2-0 (MIND's test part has none: use dev)")
    pieces = shown.str.split(" ")
    history = frame["history"].fill_null("").str.split(" ").list.eval(pl.element().filter(pl.element() != ""))
    return frame.select(
        "user",
        time,
        history.alias("history"),
        pieces.list.eval(pl.element().str.head(-2)).alias("shown"),
        pieces.list.eval(pl.element().str.ends_with("-1")).alias("clicked"),
    )


def _read(given: Given, columns: tuple[str, ...]) -> pl.DataFrame:
    """The file's columns, all as text; quotation marks have no meaning."""
    named = replace(given, file=given.file.model_copy(update={"names": columns, "quote": "", "format": "tsv"}))
    try:
        return scan(named).collect()
    except pl.exceptions.PolarsError as error:
        raise unreadable(named, error) from None


def _refuse(given: Given, frame: pl.DataFrame, column: str, wrong: pl.Series, expected: str) -> None:
    if wrong.any():
        row = int(wrong.arg_true()[0])
        found = frame[column][row]
        raise given.fault(f"{column!r} is {found[:60] if found else found!r}, expected {expected}", row + 1)
