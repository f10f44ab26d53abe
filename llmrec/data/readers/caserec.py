"""Item tables of CaseRecommender's collection of datasets: tab-separated, with the HTML of their web origin.

Its events are plain tables ("table" reads them). Two marks of the conversion are undone: entities ("Gintama&#039;"),
and ";" taken for the end of a cell, in an entity ("W. W. Norton &amp<tab> Company") or in a title ("Medea<tab> Fedra").
"""

from __future__ import annotations

import html
import re

import polars as pl

from llmrec.data.readers.given import Given

_CUT_ENTITY = re.compile(r"&(amp|quot|lt|gt|#\d+)\t")


def items(given: Given) -> pl.DataFrame:
    """The catalogue: ``columns`` names raw_id and any text fields; ``categories`` is cut at ``list_separator``.

    Cells that a line has too many belong to the title (our name ``title``), which they were cut from.

    Raises:
        UserError: a line with more cells than the first in a table without titles; names file and line.
    """
    first, *lines = [_CUT_ENTITY.sub(r"&\1;", line).rstrip("\t").split("\t") for line in given.lines()] or [[]]
    names = {ours: first.index(given.column(ours, first)) for ours in given.file.columns}
    given.column("raw_id", first)
    columns: dict[str, list[str]] = {ours: [] for ours in names}
    for number, cells in enumerate(lines, 2):
        surplus = len(cells) - len(first)
        if surplus > 0 and "title" not in names:
            raise given.fault(f"{len(cells)} cells, but the first line has {len(first)}", number)
        if surplus > 0:
            start, end = names["title"], names["title"] + surplus + 1
            cells[start:end] = [";".join(cells[start:end])]
        cells += [""] * -surplus  # empty cells at the end were cut off with the tabs
        for ours, place in names.items():
            columns[ours].append(" ".join(html.unescape(cells[place]).split()))
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    if "categories" not in columns:
        return frame.with_columns(pl.lit([], pl.List(pl.String)).alias("categories"))
    kinds = pl.col("categories").str.split(given.file.list_separator)
    return frame.with_columns(kinds.list.eval(pl.element().filter(pl.element() != "")))
