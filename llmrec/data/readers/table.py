"""CSV, TSV, JSON lines and Parquet, by column names; also compressed with gzip. The suffix says which."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl

from llmrec.data.readers.events import PER_SECOND, matches, read_events
from llmrec.data.readers.given import Given
from llmrec.data.readers.scan import collect, column_names, first_line, scan
from llmrec.errors import UserError, nearest


def interactions(given: Given) -> pl.DataFrame:
    """Events: ``columns`` names user, item and, if there are any, value, time and official."""
    return _events(given, ("value", "time", "official"))


def official(given: Given) -> pl.DataFrame:
    """Events that are marked: user, item, and value and time where ``columns`` names them."""
    frame = _events(given, ("value", "time"))
    return frame.select("user", "item", *(name for name in ("value", "time") if name in given.file.columns))


def tags(given: Given) -> pl.DataFrame:
    """Words that users gave to items: ``columns`` names item and text and, if there are any, user and time."""
    _only(given, "user", "item", "text", "time")
    cells = texts(given, ("item", "text"), ("user", "time"))
    optional = [pl.col(n) if n in cells.columns else pl.lit(None, pl.String).alias(n) for n in ("user", "time")]
    unit = PER_SECOND.get(given.file.time_format, 1)
    time = (pl.col("time").cast(pl.Float64, strict=False) // unit).cast(pl.Int64, strict=False)
    return (
        cells.select("item", "text", *optional)
        .filter((pl.col("item").fill_null("") != "") & (pl.col("text").fill_null("") != ""))
        .select("user", "item", "text", time)
    )


def items(given: Given) -> pl.DataFrame:
    """The catalogue: ``columns`` names raw_id and any text fields; ``categories`` is cut at ``list_separator`` (in JSON
    it may be a list, or a list of paths), and ``flags`` that are 1 are categories, too."""
    fields = [name for name in given.file.columns if name not in ("raw_id", "categories")]
    cells = texts(given, ("raw_id",), (*fields, "categories"), given.file.flags)
    empty = (cells["raw_id"].fill_null("") == "").arg_true()
    if len(empty):
        name, row = given.file.columns["raw_id"], int(empty[0])
        raise given.fault(f"{name!r} is empty; every item needs an id", row + first_line(given))
    return cells.select("raw_id", *(pl.col(name).fill_null("") for name in fields), _categories(given, cells))


def requests(given: Given) -> pl.DataFrame:
    """Requests in words: ``columns`` names text, items (cut at ``list_separator``) and maybe kind, field, part."""
    _only(given, "text", "items", "kind", "field", "part")
    cells = texts(given, ("text", "items"), ("kind", "field", "part"))
    defaults = {"kind": "", "field": "", "part": given.file.official or "test"}
    return cells.select(
        "text",
        cut(cells["items"], given.file.list_separator).alias("items"),
        *(pl.col(n) if n in cells.columns else pl.lit(value).alias(n) for n, value in defaults.items()),
    )


def crosscheck(given: Given) -> pl.DataFrame:
    """Titles from a second source: raw_id, title."""
    return items(given).select("raw_id", "title")


def texts(
    given: Given, needed: tuple[str, ...], optional: tuple[str, ...] = (), as_they_are: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Columns as text, by our names (``optional`` where the card names them), and some by the file's own. Blank lines
    at the end are left out."""
    known = column_names(given)
    names = {ours: given.column(ours, known) for ours in needed}
    names |= {ours: given.column(ours, known) for ours in optional if ours in given.file.columns}
    names |= {name: given.named(name, "the card's 'flags'", known) for name in as_they_are}
    rules = [given.named(rule.column, "the card's 'drop'", known) for rule in given.file.drop]
    lazy = scan(given, dict.fromkeys([*names.values(), *rules], pl.String))
    lists = [n for n, kind in lazy.collect_schema().items() if isinstance(kind, pl.List)]
    for rule in given.file.drop:
        lazy = lazy.filter(~matches(rule))
    columns = dict.fromkeys(names.values())
    cells = collect(
        given,
        lazy.select(
            pl.col(n).list.join(given.file.list_separator) if n in lists else pl.col(n).cast(pl.String) for n in columns
        ),
    )
    while len(cells) and all(cell is None for cell in cells.row(-1)):
        cells = cells.head(-1)
    return cells.select(pl.col(theirs).alias(ours) for ours, theirs in names.items())


def cut(cells: pl.Series, separator: str) -> pl.Series:
    """Lists out of cells: JSON where a cell begins with "[", else cut at the separator; without repeats or blanks."""
    filled = cells.fill_null("")
    lists = filled.str.split(separator)
    if filled.str.starts_with("[").any():
        lists = _json_lists(filled, lists)
    stripped = lists.list.eval(pl.element().str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element() != "")).list.unique(maintain_order=True)


def _categories(given: Given, cells: pl.DataFrame) -> pl.Series:
    nothing = pl.repeat("", len(cells), dtype=pl.String, eager=True)
    lists = cut(cells["categories"] if "categories" in cells.columns else nothing, given.file.list_separator)
    if given.file.flags:
        ticked = cells.select(
            pl.concat_list(
                pl.when(pl.col(name).cast(pl.Float64, strict=False) == 1).then(pl.lit(name))
                for name in given.file.flags
            ).list.drop_nulls()
        ).to_series()
        lists = pl.select(lists.list.concat(ticked).list.unique(maintain_order=True)).to_series()
    return lists.rename("categories")


def _json_lists(cells: pl.Series, cut: pl.Series) -> pl.Series:
    """Lists of names out of cells of JSON; ``cut`` where a cell is none."""
    frame = pl.DataFrame({"cell": cells, "cut": cut})
    nested, flat = pl.col("cell").str.starts_with("[["), pl.col("cell").str.starts_with("[")
    paths = pl.when(nested).then("cell").str.json_decode(pl.List(pl.List(pl.String)))
    names = pl.when(flat & ~nested).then("cell").str.json_decode(pl.List(pl.String))
    try:
        flattened = paths.list.eval(pl.element().explode(), parallel=False)
        return frame.select(pl.when(nested).then(flattened).when(flat).then(names).otherwise("cut")).to_series()
    except pl.exceptions.PolarsError:  # lists of another depth, numbers, or no JSON after all
        rows = zip(cells.to_list(), cut.to_list(), strict=True)
        return _lists([_flat(_parsed(cell)) if cell[:1] == "[" else row for cell, row in rows])


def _lists(names: list[list[str]]) -> pl.Series:
    """Lists of text as a column: polars takes one long list in a tenth of the time of many short ones."""
    rows = pl.DataFrame({"row": np.arange(len(names))})
    words = pl.DataFrame({
        "row": np.repeat(rows["row"].to_numpy(), [len(some) for some in names]),
        "word": pl.Series([name for some in names for name in some], dtype=pl.String),
    })  # fmt: skip
    gathered = words.group_by("row", maintain_order=True).agg("word")
    return rows.join(gathered, on="row", how="left", maintain_order="left")["word"].fill_null([])


def _parsed(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell


def _flat(nested: Any) -> list[str]:
    """The names in a list, or in a list of paths, in order."""
    if isinstance(nested, list):
        return [name for part in nested for name in _flat(part)]
    return [] if nested is None else [str(nested)]


def _only(given: Given, *ours: str) -> None:
    """Refuse a name of ours that such a file has no use for: a slip would lose the column in silence."""
    for name in given.file.columns:
        if name not in ours:
            raise UserError(
                f"{given.path}: the card's 'columns' name {name!r}, which is none of ours.{nearest(name, ours)}"
            )


def _events(given: Given, optional: tuple[str, ...]) -> pl.DataFrame:
    _only(given, "user", "item", "value", "time", "official")
    known = column_names(given)
    names = {ours: given.column(ours, known) for ours in ("user", "item")}
    names |= {ours: given.column(ours, known) for ours in optional if ours in given.file.columns}
    return read_events(given, names, known)
