"""The catalogue: what several files say of an item, and its title and text by the card's templates."""

from __future__ import annotations

import html
from collections.abc import Sequence
from string import Formatter

import polars as pl

from llmrec.data.cards import Card
from llmrec.errors import UserError, nearest
from llmrec.types import Items

EMPTY = pl.DataFrame(schema={"raw_id": pl.String, "title": pl.String, "categories": pl.List(pl.String)})
"""The fields of a dataset without an item table."""

_ENTITY = r"&(#\d+|#x[0-9a-fA-F]+|[a-zA-Z]+[0-9]*);"


def joined(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Item tables by raw id: a field is what the first table has of it that has any; '' and [] where none has."""
    fields = tables[0] if tables else EMPTY
    for table in tables[1:]:
        both = fields.join(table, on="raw_id", how="full", coalesce=True, suffix=" (2)", maintain_order="left_right")
        again = [name for name in table.columns if f"{name} (2)" in both.columns]
        fields = both.with_columns(_first_filled(name, f"{name} (2)") for name in again).drop(f"{n} (2)" for n in again)
    if "title" not in fields.columns:
        fields = fields.with_columns(title=pl.lit(""))
    return fields.with_columns(
        pl.col(name).fill_null([] if name == "categories" else "") for name in fields.columns if name != "raw_id"
    )


def tidied(fields: pl.DataFrame) -> pl.DataFrame:
    """The same fields with the marks of the web gone: entities of HTML resolved, white space single and none around."""
    texts = [name for name, kind in fields.schema.items() if kind == pl.String and name != "raw_id"]
    fields = fields.with_columns(_resolved(fields[name]) for name in texts)
    kinds = fields["categories"].explode().drop_nulls().unique()
    known = dict(zip(kinds.to_list(), _resolved(kinds).to_list(), strict=True))
    changed = {old: new for old, new in known.items() if old != new}
    return fields.with_columns(pl.col("categories").list.eval(pl.element().replace(changed))) if changed else fields


def rows_of(raw_ids: pl.Series, fields: pl.DataFrame) -> pl.DataFrame:
    """The fields of some items, in that order; empty where an item is not listed."""
    rows = pl.DataFrame({"raw_id": raw_ids.cast(pl.String)}).join(
        fields, on="raw_id", how="left", maintain_order="left"
    )
    return rows.with_columns(
        pl.col(name).fill_null([] if name == "categories" else "") for name in rows.columns if name != "raw_id"
    )


def catalogue(card: Card, fields: pl.DataFrame, without: Sequence[str] = ()) -> Items:
    """Titles and texts by the card's templates; ``without``: as if no item had those fields.

    Raises:
        UserError: a template or ``without`` names a field that the files do not have.
    """
    for name in without:
        if name not in fields.columns:
            raise UserError(f"{card.name}: items have no field {name!r}.{nearest(name, fields.columns)}")
        nothing = pl.lit([], dtype=pl.List(pl.String)) if name == "categories" else pl.lit("")
        fields = fields.with_columns(nothing.alias(name))
    names = fields.columns
    words = fields.with_columns(pl.col("categories").list.join(", "))
    parts = [_filled(card, part, names) for part in card.item_text]
    text = pl.concat_str(parts, separator=". ", ignore_nulls=True) if parts else pl.lit("")
    title = pl.coalesce(
        *(_filled(card, template, names) for template in card.item_title), _or_null("title"), _or_null("raw_id")
    )
    return Items(words.select("raw_id", title=title, text=text.fill_null(""), categories=fields["categories"]))


def _resolved(text: pl.Series) -> pl.Series:
    with_entity = text.str.contains(_ENTITY).fill_null(False).arg_true()
    if len(with_entity):
        text = text.scatter(with_entity, [html.unescape(part) for part in text.gather(with_entity)])
    return text.str.replace_all(r"\s+", " ").str.strip_chars()


def _filled(card: Card, template: str, names: list[str]) -> pl.Expr:
    """The template with its fields filled in, or null where one of them is empty."""
    parts: list[pl.Expr] = []
    for literal, name, _, _ in Formatter().parse(template):
        if literal:
            parts.append(pl.lit(literal))
        if name is not None:
            if name not in names:
                raise UserError(
                    f"{card.name}: the card's template {template!r} names {name!r}; known: {', '.join(names)}."
                )
            parts.append(_or_null(name))
    return pl.concat_str(parts) if parts else pl.lit(None, pl.String)


def _or_null(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != "").then(pl.col(name))


def _first_filled(name: str, second: str) -> pl.Expr:
    empty = pl.col(name).list.len() == 0 if name == "categories" else pl.col(name) == ""
    return pl.when(pl.col(name).is_null() | empty).then(pl.col(second)).otherwise(pl.col(name)).alias(name)
