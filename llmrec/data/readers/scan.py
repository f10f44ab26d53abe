"""A text, JSON or Parquet file as a lazy polars table, and what is wrong with one that polars refuses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.errors import UserError

KINDS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
"""Format by suffix; any other is a table with tabs."""


def kind_of(given: Given) -> str:
    """csv, tsv, jsonl or parquet: as the card says, else by the suffix."""
    return given.file.format or KINDS.get(given.suffix, "tsv")


def first_line(given: Given) -> int:
    """The line of the first row (in Parquet: its number, from 1)."""
    return 2 if kind_of(given) in ("csv", "tsv") and given.file.names is None else 1


def column_names(given: Given) -> list[str]:
    """The names of the file's columns; of JSON lines, the keys of the first."""
    if kind_of(given) == "jsonl":
        return _keys(given)
    lazy = scan(given)
    try:
        return lazy.collect_schema().names()
    except pl.exceptions.NoDataError:  # a compressed file of nothing, or of blank lines
        raise given.fault("is empty") from None
    except pl.exceptions.PolarsError as error:
        raise unreadable(given, error) from None


def scan(given: Given, types: Mapping[str, type[pl.DataType]] | None = None) -> pl.LazyFrame:
    """The file as a lazy table. Every column of a text file is text but those in ``types``; of JSON lines there are
    only those in ``types`` (by default the first line's keys, as text), nested values as JSON text.

    Raises:
        UserError: an empty file, another encoding, a truncated gzip file, no Parquet.
    """
    kind = kind_of(given)
    if not given.path.stat().st_size:
        raise given.fault("is empty")
    try:
        if kind == "parquet":
            lazy = pl.scan_parquet(given.path)
            lazy.collect_schema()
            return lazy
        if kind == "jsonl":
            source = given.path if given.is_plain else io.BytesIO(given.plain_data())
            return pl.scan_ndjson(source, schema=dict(types or dict.fromkeys(_keys(given), pl.String)))
        return _scan_text(given, kind, dict(types or {}))
    except pl.exceptions.PolarsError as error:
        raise unreadable(given, error) from None


def collect(given: Given, lazy: pl.LazyFrame) -> pl.DataFrame:
    """The table itself, read piece by piece. Raises UserError where it is none."""
    try:
        return lazy.collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        raise unreadable(given, error) from None


def unreadable(given: Given, error: Exception) -> UserError:
    """What is wrong with a file that polars refuses: the file is read once more to find the line."""
    kind = kind_of(given)
    said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if kind == "parquet":
        return given.fault(f"cannot be read as Parquet: {said}")
    given.text()  # names the line if the encoding is another one
    if kind == "jsonl":
        for number, line in enumerate(given.lines(), 1):
            try:
                record = json.loads(line or "{}")
            except ValueError as wrong:
                return given.fault(f"not a JSON object ({wrong})", number)
            if not isinstance(record, dict):
                return given.fault("not a JSON object", number)
        return given.fault(f"cannot be read as JSON lines: {said}")
    return _ragged(given, kind) or given.fault(f"cannot be read as a table: {said}")


def _scan_text(given: Given, kind: str, types: dict[str, type[pl.DataType]]) -> pl.LazyFrame:
    file = given.file
    separator, quote = _marks(given, kind)
    source: Path | bytes = given.path if given.is_plain else given.plain_data()
    if len(separator) > 1:  # "::" in MovieLens; polars wants one byte
        source = given.plain_data().replace(separator.encode(), b"\x1f")
        separator = "\x1f"
    return pl.scan_csv(
        source if isinstance(source, Path) else io.BytesIO(source),
        separator=separator,
        quote_char=quote or None,
        has_header=file.names is None,
        new_columns=list(file.names) if file.names else None,
        infer_schema=False,
        schema_overrides=types or None,
    )


def _marks(given: Given, kind: str) -> tuple[str, str]:
    """What stands between columns and around cells: in .csv a comma and '"', else a tab and nothing, for titles hold
    single quotation marks."""
    separator = given.file.separator or ("," if kind == "csv" else "\t")
    quote = given.file.quote if given.file.quote is not None else ('"' if kind == "csv" else "")
    return separator, quote


def _keys(given: Given) -> list[str]:
    """The keys of the first line that is not blank."""
    with given.path.open("rb") if given.is_plain else io.BytesIO(given.plain_data()) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise given.fault(f"not a JSON object ({error})", number) from None
                if not isinstance(record, dict):
                    raise given.fault("not a JSON object", number)
                return list(record)
    raise given.fault("is empty")


def _ragged(given: Given, kind: str) -> UserError | None:
    """The first line whose number of columns is not the first one's."""
    separator, quote = _marks(given, kind)
    lines = given.lines()
    if quote and len(separator) == 1:
        reader = csv.reader((line + "\n" for line in lines), delimiter=separator, quotechar=quote, strict=True)
        wanted = 0
        try:
            for row in reader:
                wanted = wanted or len(row)
                if row and len(row) != wanted:
                    return given.fault(f"{len(row)} columns, expected {wanted}", reader.line_num)
        except csv.Error as error:
            return given.fault(f"cannot be read as a table: {error}", reader.line_num)
        return None
    wanted = lines[0].count(separator)
    for number, line in enumerate(lines, 1):
        if line and line.count(separator) != wanted:
            return given.fault(f"{line.count(separator) + 1} columns, expected {wanted + 1}", number)
    return None
