"""The clicks of a part of MIND in one language: only news that have a title in it count.

A file of clicks (behaviors.tsv of MIND, or RecPrompt's CSV) names as ``also`` the files that say which news have a
title: MIND's news.tsv, RecPrompt's CSV, or a table of translations (whose ``columns`` the card names). Of the news
themselves this reads news.tsv; RecPrompt's have a reader of their own.
"""

from __future__ import annotations

import polars as pl

from llmrec.data.readers import mind, recprompt, table
from llmrec.data.readers.given import Given

FEWEST = 5
"""Titled clicks that a history needs, unless the card says otherwise (``options = { fewest = 5 }``)."""


def interactions(given: Given) -> pl.DataFrame:
    """The longest history of each user, oldest click first, without untitled news: user, item, value 1, no time.

    Raises:
        UserError: as `llmrec.data.readers.mind`.
    """
    longest = (
        _log(given)
        .sort(pl.col("history").list.len(), descending=True, maintain_order=True)
        .unique("user", keep="first", maintain_order=True)
        .sort("user")
    )
    clicks = longest.select("user", item="history").explode("item").filter(pl.col("item").is_in(_titled(given)))
    return clicks.filter(pl.len().over("user") >= given.file.options.get("fewest", FEWEST)).with_columns(
        value=pl.lit(1.0, pl.Float32), time=pl.lit(None, pl.Int64)
    )


def impressions(given: Given) -> pl.DataFrame:
    """part, user, time, history, shown, clicked, without untitled news; rows in which no choice is left are left out.

    Raises:
        UserError: as `llmrec.data.readers.mind` and `llmrec.data.readers.recprompt`.
    """
    frame, titled = _log(given).with_row_index("row"), _titled(given)
    shown = frame.select("row", "shown", "clicked").explode("shown", "clicked").filter(pl.col("shown").is_in(titled))
    lists = shown.group_by("row").agg("shown", "clicked")
    choice = lists.filter(pl.col("clicked").list.any() & ~pl.col("clicked").list.all())
    before = frame.select("row", "history").explode("history").filter(pl.col("history").is_in(titled))
    rest = frame.select("row", "part", "user", "time").join(choice, on="row")
    joined = rest.join(before.group_by("row", maintain_order=True).agg("history"), on="row", how="left").sort("row")
    return joined.select("part", "user", "time", pl.col("history").fill_null([]), "shown", "clicked")


def items(given: Given) -> pl.DataFrame:
    """MIND's news.tsv: raw_id, title, abstract, categories (the category and the subcategory).

    Raises:
        UserError: as `llmrec.data.readers.mind`.
    """
    both = pl.concat_list("categories", "subcategory").list.unique(maintain_order=True)
    return mind.items(given).select(
        "raw_id", "title", "abstract", both.list.eval(pl.element().filter(pl.element() != "")).alias("categories")
    )


def _log(given: Given) -> pl.DataFrame:
    if recprompt.is_recprompt(given):
        return recprompt.impressions(given)
    return mind.impressions(given).with_columns(pl.lit("fit").alias("part"))


def _titled(given: Given) -> pl.Series:
    """The ids of all news that have a title, as one list."""
    return pl.concat([_news(f).filter(pl.col("title") != "")["raw_id"] for f in given.also.values()]).unique().implode()


def _news(given: Given) -> pl.DataFrame:
    if recprompt.is_recprompt(given):
        return recprompt.items(given)
    return table.items(given) if given.file.columns else mind.items(given)
