"""A text, JSON or Parquet file as a lazy polars table, and what is wrong with one that polars refuses."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.errors import UserError

BOM = "\ufeff".encode()
"""The mark that some programs put before text in UTF-8."""

_PEEK = 1_000  # lines of JSON that tell which keys there are

KINDS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
"""Format by suffix; any other is a table with tabs."""


def kind_of(given: Given) -> str:
    """csv, tsv, jsonl or parquet: as the card says, else by the suffix."""
    return given.file.format or KINDS.get(given.suffix, "tsv")


def first_line(given: Given) -> int:
    """The line of the first row (in Parquet: its number, from 1)."""
    return 2 if kind_of(given) in ("csv", "tsv") and given.file.names is None else 1


def column_names(given: Given) -> list[str]:
    """The names of the file's columns; of JSON lines, the keys of the first thousand."""
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
    only those in ``types`` (by default the first lines' keys, as text), nested values as JSON text.

    Raises:
        UserError: an empty file, another encoding, a truncated gzip file, no Parquet.
    """
    kind = kind_of(given)
    if not given.path.stat().st_size:
        raise given.fault("is empty")
    if kind != "parquet" and (other := _other_format(given)):
        raise given.fault(other)
    try:
        if kind == "parquet":
            lazy = pl.scan_parquet(given.path)
            lazy.collect_schema()
            return lazy
        if kind == "jsonl":
            plain = given.is_plain and not given.starts_with(BOM)
            source = given.path if plain else io.BytesIO(given.plain_data().removeprefix(BOM))
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
                record = json.loads(line.strip() or "{}", parse_constant=_no_number)
            except ValueError as wrong:
                return given.fault(f"not a JSON object ({wrong})", number)
            if not isinstance(record, dict):
                return given.fault("not a JSON object", number)
        return given.fault(f"cannot be read as JSON lines: {said}")
    if given.file.names and "new_columns" in said:
        names = ", ".join(given.file.names)
        return given.fault(
            f"cannot be read as a table of the {len(given.file.names)} columns {names}; it has another number"
        )
    return _ragged(given, kind) or given.fault(f"cannot be read as a table: {said}")


def line_of(given: Given, row: int) -> int:
    """The line where a row begins (in Parquet: its number, from 1): cells in quotation marks may hold ends of lines,
    and between JSON objects lines may be blank."""
    kind, count = kind_of(given), row + first_line(given)
    if kind == "jsonl":
        return next(itertools.islice((n for n, line in enumerate(given.lines(), 1) if line.strip()), row, None), count)
    separator, quote = _marks(given, kind)
    if kind == "parquet" or not quote or len(separator) > 1:
        return count
    begins, reader = 1, csv.reader((f"{line}\n" for line in given.lines()), delimiter=separator, quotechar=quote)
    for _ in itertools.islice(reader, count - 1):
        begins = reader.line_num + 1
    return begins


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
    """The keys of the first records, as they come up; a record may lack some."""
    keys: dict[str, None] = {}
    with given.path.open("rb") if given.is_plain else io.BytesIO(given.plain_data()) as stream:
        for number, line in enumerate(itertools.islice(stream, _PEEK), 1):
            if line := line.removeprefix(BOM).strip():
                try:
                    record = json.loads(line, parse_constant=_no_number)
                except ValueError as error:
                    raise given.fault(f"not a JSON object on one line ({error})", number) from None
                if not isinstance(record, dict):
                    raise given.fault("not a JSON object", number)
                keys |= dict.fromkeys(record)
    if not keys:
        raise given.fault("is empty")
    return list(keys)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _other_format(given: Given) -> str | None:
    """What a file is that is no text, and what to do about it."""
    if given.starts_with(b"PK\x03\x04"):
        return "is a zip archive or an Excel workbook; unpack it, or save the sheet as CSV"
    if given.starts_with(b"PAR1"):
        return 'is Parquet; add format = "parquet" to the file in the card'
    if given.file.encoding.lower().replace("-", "") == "utf8" and given.starts_with(b"\xff\xfe", b"\xfe\xff"):
        return 'is in UTF-16; add encoding = "utf-16" to the file in the card'
    return None


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
