"""A part of MIND in one language: only news that have a title in it, wherever they occur.

The suite's sample of MIND has English titles for a part of its news and Chinese ones (xMIND) for more of them. A card
chooses by ``columns = { title = "title_en" }`` of the merged titles (JSON lines, one news item a line), which the other
files of the source name as ``also = { titles = ... }``. Impressions are rows of MIND's behaviors.tsv or of RecPrompt's
CSV files.
"""

from __future__ import annotations

import polars as pl

from llmrec.data.readers import mind, recprompt
from llmrec.data.readers.given import Given
from llmrec.data.readers.scan import collect, scan

FEWEST = 5
"""Titled clicks that a history needs, unless the card says otherwise (``options = { fewest = 5 }``)."""


def interactions(given: Given) -> pl.DataFrame:
    """The longest history of each user, oldest click first, without untitled news: user, item, value 1, no time.

    Raises:
        UserError: as `llmrec.data.readers.mind` and `items`.
    """
    titled = _titled(given.also["titles"])
    longest = (
        _behaviors(given)
        .sort(pl.col("history").list.len(), descending=True, maintain_order=True)
        .unique("user", keep="first", maintain_order=True)
    )
    kept = longest.with_columns(_only(titled, "history"))
    kept = kept.filter(pl.col("history").list.len() >= given.file.options.get("fewest", FEWEST)).sort("user")
    return kept.explode("history").select(
        "user",
        pl.col("history").alias("item"),
        pl.lit(1.0, pl.Float32).alias("value"),
        pl.lit(None, pl.Int64).alias("time"),
    )


def impressions(given: Given) -> pl.DataFrame:
    """part, user, time, history, shown, clicked, without untitled news; rows in which no choice is left are left out.

    Raises:
        UserError: as `llmrec.data.readers.mind`, `llmrec.data.readers.recprompt` and `items`.
    """
    frame = recprompt.impressions(given) if recprompt.is_recprompt(given) else _behaviors(given)
    titled = _titled(given.also["titles"])
    rows = frame.with_row_index("row").explode("shown", "clicked").filter(pl.col("shown").is_in(titled))
    lists = rows.group_by("row", maintain_order=True).agg("shown", "clicked")
    choice = lists.filter(pl.col("clicked").list.any() & ~pl.col("clicked").list.all())
    rest = frame.with_row_index("row").drop("shown", "clicked").with_columns(_only(titled, "history"))
    return choice.join(rest, on="row", maintain_order="left").select(frame.columns)


def items(given: Given) -> pl.DataFrame:
    """Titled news that occur in a history or were shown: raw_id, the card's text fields, categories.

    ``columns`` names raw_id, title and further fields of a record, any of which may be missing; ``categories`` may name
    several, as in "category|subcategory". ``also`` has the files whose news count.

    Raises:
        UserError: a line is no JSON object; names file and line.
    """
    met = [
        (recprompt.impressions(file) if recprompt.is_recprompt(file) else _behaviors(file)).select("history", "shown")
        for file in given.also.values()
    ]
    seen = pl.concat(met)
    wanted = set(seen["history"].explode().unique()) | set(seen["shown"].explode().unique())
    return _records(given).filter(pl.col("raw_id").is_in(list(wanted)))


def crosscheck(given: Given) -> pl.DataFrame:
    """Titles as MIND's news.tsv or RecPrompt's CSV has them: raw_id, title."""
    if recprompt.is_recprompt(given):
        return recprompt.crosscheck(given)
    return mind.items(given).select("raw_id", "title")


def _behaviors(given: Given) -> pl.DataFrame:
    return mind.impressions(given).with_columns(pl.lit("fit").alias("part"))


def _titled(titles: Given) -> list[str]:
    return _records(titles)["raw_id"].to_list()


def _only(titled: list[str], column: str) -> pl.Expr:
    return pl.col(column).list.eval(pl.element().filter(pl.element().is_in(titled)))


def _records(given: Given) -> pl.DataFrame:
    """Every record that has a title."""
    fields = {ours: theirs for ours, theirs in given.file.columns.items() if ours != "categories"}
    kinds = [kind for kind in given.file.columns.get("categories", "").split("|") if kind]
    types = dict.fromkeys([*fields.values(), *kinds], pl.String)
    frame = collect(given, scan(given, types))
    empty = pl.lit([], pl.List(pl.String))
    categories = pl.concat_list(kinds).list.drop_nulls() if kinds else empty
    return frame.select(
        *(pl.col(theirs).fill_null("").alias(ours) for ours, theirs in fields.items()),
        categories.fill_null(empty).alias("categories"),
    ).filter(pl.col("title") != "")
