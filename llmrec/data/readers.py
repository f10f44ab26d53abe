"""Reading the files that cards name. Every reader keeps the file's order and the publisher's own ids, as text.

interactions: user str, item str, value float32, time int64 or null; one row per event
items:        raw_id str, title str, categories list[str], and further text fields of the card's choice
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

import polars as pl

from llmrec.data.cards import DataFile
from llmrec.errors import UserError, nearest

MOVIELENS_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The 19 flags of MovieLens 100K's u.item, in the order of its u.genre."""

_INTERACTION_COLUMNS = ("user", "item", "value", "time")
_TITLE_YEAR = re.compile(r"^(.*?)\s*\((\d{4})\)\s*(?:\(V\))?\s*$")


def read_interactions(path: Path, file: DataFile) -> pl.DataFrame:
    """Read the events of one file.

    Raises:
        UserError: with file and line, or with the column that is missing.
    """
    if file.format == "sequences":
        return _read_sequences(path, file)
    if file.format != "table":
        raise UserError(f"{path}: interactions cannot be in format {file.format!r}; use 'table' or 'sequences'.")
    table = _read_table(path, file)
    first_line = 1 if file.names else 2
    columns = {
        "user": _text(table, path, file, "user", first_line),
        "item": _text(table, path, file, "item", first_line),
    }
    columns["value"] = (
        _number(table, path, file, "value", first_line).cast(pl.Float32)
        if "value" in file.columns
        else pl.repeat(1.0, len(table), dtype=pl.Float32, eager=True)
    )
    columns["time"] = (
        _number(table, path, file, "time", first_line, empty_allowed=True).cast(pl.Int64)
        if "time" in file.columns
        else pl.repeat(None, len(table), dtype=pl.Int64, eager=True)
    )
    return pl.DataFrame(columns).select(_INTERACTION_COLUMNS)


def read_items(path: Path, file: DataFile) -> pl.DataFrame:
    """Read the catalogue. Raises UserError with file and line, or with the column that is missing."""
    if file.format == "movielens-items":
        rows = _movielens_rows(path, file)
    elif file.format == "jsonl":
        rows = _json_rows(path, file)
    elif file.format == "table":
        rows = _table_rows(path, file)
    else:
        raise UserError(f"{path}: items cannot be in format {file.format!r}; use 'table' or 'jsonl'.")
    fields = [name for name in rows[0] if name != "categories"] if rows else ["raw_id", "title"]
    schema: dict[str, Any] = dict.fromkeys(fields, pl.String) | {"categories": pl.List(pl.String)}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    twice = frame.filter(pl.col("raw_id").is_duplicated())
    if len(twice):
        raise UserError(f"{path}: item {twice['raw_id'][0]!r} is listed twice; item ids must be unique.")
    return frame


def _lines(path: Path, file: DataFile) -> str:
    data = path.read_bytes()
    try:
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode(file.encoding)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not {file.encoding}; correct 'encoding' in the card.") from None
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}).") from None


def _read_table(path: Path, file: DataFile) -> pl.DataFrame:
    """All columns as text; quoting marks have no meaning, for titles hold single ones."""
    try:
        table = pl.read_csv(
            io.BytesIO(_lines(path, file).encode()),
            separator=file.separator,
            has_header=file.names is None,
            new_columns=file.names,
            infer_schema=False,
            quote_char=None,
        )
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: not a table with one {file.separator!r} between columns: {error}") from None
    for ours, theirs in file.columns.items():
        if theirs not in table.columns:
            raise UserError(f"{path}: no column {theirs!r} (the card's {ours!r}).{nearest(theirs, table.columns)}")
    return table


def _column(table: pl.DataFrame, path: Path, file: DataFile, name: str) -> pl.Series:
    if name not in file.columns:
        raise UserError(f"{path}: the card names no column for {name!r}; add it to 'columns'.")
    return table[file.columns[name]]


def _text(table: pl.DataFrame, path: Path, file: DataFile, name: str, first_line: int) -> pl.Series:
    column = _column(table, path, file, name)
    empty = column.is_null() | (column == "")
    if empty.any():
        line = int(empty.arg_true()[0]) + first_line
        raise UserError(f"{path}: line {line}: {file.columns[name]!r} is empty; every event needs a {name}.")
    return column


def _number(
    table: pl.DataFrame, path: Path, file: DataFile, name: str, first_line: int, *, empty_allowed: bool = False
) -> pl.Series:
    column = _column(table, path, file, name)
    numbers = column.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() | ~numbers.is_finite()).fill_null(True)
    if empty_allowed:
        wrong &= (column.is_not_null() & (column != "")).fill_null(False)
    if wrong.any():
        row = int(wrong.arg_true()[0])
        raise UserError(
            f"{path}: line {row + first_line}: {file.columns[name]!r} is {column[row]!r}, expected a number."
        )
    return numbers


def _read_sequences(path: Path, file: DataFile) -> pl.DataFrame:
    """One line per user: the user, then the items, oldest first, blanks between them."""
    users: list[str] = []
    items: list[list[str]] = []
    for number, line in enumerate(_lines(path, file).splitlines(), 1):
        user, *sequence = line.split()[:] or [""]
        if not sequence:
            raise UserError(f"{path}: line {number}: expected a user and at least one item, found {line!r}.")
        users.append(user)
        items.append(sequence)
    nested = pl.DataFrame({"user": users, "item": items}, schema={"user": pl.String, "item": pl.List(pl.String)})
    return nested.explode("item").select(
        "user", "item", pl.lit(1.0, pl.Float32).alias("value"), pl.lit(None, pl.Int64).alias("time")
    )


def _table_rows(path: Path, file: DataFile) -> list[dict[str, Any]]:
    table = _read_table(path, file)
    _text(table, path, file, "raw_id", 1 if file.names else 2)
    rows = []
    for row in table.select(pl.col(theirs).alias(ours) for ours, theirs in file.columns.items()).to_dicts():
        fields = {name: value or "" for name, value in row.items()}
        fields["categories"] = [c for c in fields.get("categories", "").split(file.list_separator) if c]
        rows.append(_tidy(fields))
    return rows


def _json_rows(path: Path, file: DataFile) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(_lines(path, file).splitlines(), 1):
        try:
            record = json.loads(line)
            row: dict[str, Any] = {ours: record[theirs] for ours, theirs in file.columns.items()}
        except (json.JSONDecodeError, TypeError) as error:
            raise UserError(f"{path}: line {number}: not a JSON object ({error}).") from None
        except KeyError as error:
            raise UserError(f"{path}: line {number}: no key {error}.{nearest(str(error.args[0]), record)}") from None
        row["categories"] = _flat(row.get("categories", []))
        rows.append({name: value if name == "categories" else str(value or "") for name, value in row.items()})
        rows[-1]["raw_id"] = str(row["raw_id"])  # 0 is an id, not an empty field
    return rows


def _flat(nested: Any) -> list[str]:
    """Category names of a list, or of a list of category paths, without repeats, in order."""
    if isinstance(nested, str):
        return [nested] if nested else []
    return list(dict.fromkeys(name for part in nested or [] for name in _flat(part)))


def _movielens_rows(path: Path, file: DataFile) -> list[dict[str, Any]]:
    """MovieLens 100K's u.item: id | title (year) | release | video release | address | 19 genre flags; latin-1."""
    rows = []
    for number, line in enumerate(_lines(path, file).splitlines(), 1):
        parts = line.split("|")
        if len(parts) != 5 + len(MOVIELENS_GENRES):
            raise UserError(f"{path}: line {number}: {len(parts)} columns, expected {5 + len(MOVIELENS_GENRES)}.")
        found = _TITLE_YEAR.match(parts[1])
        title, year = found.groups() if found else (parts[1].strip(), "")
        genres = [genre for genre, flag in zip(MOVIELENS_GENRES, parts[5:], strict=True) if flag == "1"]
        rows.append(_tidy({"raw_id": parts[0], "title": title, "year": year, "categories": genres}))
    return rows


def _tidy(fields: dict[str, Any]) -> dict[str, Any]:
    """'unknown' is no genre, and RecBole's copy of MovieLens 100K spells it 'unkonwn' and puts '(V)' for one year."""
    if fields.get("year") == "V":  # "Land Before Time III: The Time of the Great Giving (1995) (V)"
        found = _TITLE_YEAR.match(fields["title"])
        fields["title"], fields["year"] = found.groups() if found else (fields["title"], "")
    for name in ("title", "year"):
        if fields.get(name) in ("unkonwn", "unknown"):
            fields[name] = ""
    fields["categories"] = [c for c in fields["categories"] if c not in ("unknown", "unkonwn")]
    return fields
