"""One record a line, as JSON or as a Python literal: what the McAuley lab's page calls "loose JSON".

Their review files are JSON; meta files of 2014 and all of Steam's are printed Python dicts (``{u'id': u'10', ...}``).
A literal is parsed, never evaluated: nothing in a file can run.
"""

from __future__ import annotations

import ast
import gzip
import html
import itertools
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import polars as pl

from llmrec.data.readers.events import LATEST
from llmrec.data.readers.given import Given
from llmrec.errors import UserError, nearest

_PART = 200_000  # rows that lie as Python objects at one time
_SCRIPT = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")

Finish = Callable[[pl.DataFrame], pl.DataFrame]


def records(given: Given, worth: Callable[[str], bool] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The file's records with their line numbers; empty lines and those that are not ``worth`` it are passed over.

    Raises:
        UserError: a line is neither a JSON object nor a Python dict of plain values.
    """
    for number, line in _numbered(given):
        if not line.strip() or (worth and not worth(line)):
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = _literal(line.strip(), given, number)
        if not isinstance(record, dict):
            raise given.fault(f"expected a record {{...}}, found {line.strip()[:60]!r}", number)
        yield number, record


def value_of(record: dict[str, Any], key: str, given: Given, number: int) -> Any:
    """A field that every record must have. Raises UserError with file, line and the nearest key."""
    if key not in record:
        raise UserError(f"{given.path}: line {number}: no key {key!r}.{nearest(key, record)}")
    return record[key]


def id_of(record: dict[str, Any], key: str, given: Given, number: int) -> str:
    """An id as text. Raises UserError where it is missing or empty."""
    value = value_of(record, key, given, number)
    if value is None or value == "":
        raise given.fault(f"{key!r} is empty; every record needs one", number)
    return str(value)


def number_of(record: dict[str, Any], key: str, given: Given, number: int) -> float:
    """A finite number. Raises UserError with file, line and what was found."""
    value = value_of(record, key, given, number)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise given.fault(f"{key!r} is {value!r}, expected a number", number)
    return value


def moment_of(record: dict[str, Any], key: str, given: Given, number: int) -> int:
    """A time in seconds since 1970. Raises UserError where it is none, or is in another unit."""
    value = number_of(record, key, given, number)
    if not 0 <= value <= LATEST:
        raise given.fault(f"{key!r} is {value}, expected seconds since 1970", number)
    return int(value)


def gathered(
    rows: Iterable[tuple[Any, ...]], schema: dict[str, Any], finish: Finish = lambda part: part
) -> pl.DataFrame:
    """Rows as a frame, in order, part by part: only one part lies as Python objects, and as ``finish`` was given it."""
    rows, parts = iter(rows), [finish(pl.DataFrame(schema=schema))]
    while part := list(itertools.islice(rows, _PART)):
        parts.append(finish(pl.DataFrame(part, schema=schema, orient="row")))
    return pl.concat(parts, rechunk=True)


def clean(text: Any) -> str:
    """Text for people: without HTML, entities resolved, white space single. A list is joined; what is no text is ''."""
    if isinstance(text, list):
        return " ".join(filter(None, map(clean, text)))
    if not isinstance(text, str):
        return ""
    text = _TAG.sub(" ", _SCRIPT.sub(" ", html.unescape(text)))
    return " ".join(text.split())


def names(nested: Any) -> list[str]:
    """Category names of a list, or of a list of category paths, cleaned, without repeats, in order."""
    if isinstance(nested, str):
        return [name] if (name := clean(nested)) else []
    return list(dict.fromkeys(name for part in nested or [] for name in names(part)))


def _numbered(given: Given) -> Iterator[tuple[int, str]]:
    """The file's lines one at a time: review files of several GB must not lie in memory."""
    number = 0
    try:
        with (gzip.open if given.path.suffix == ".gz" else open)(given.path, "rb") as stream:
            for number, line in enumerate(stream, 1):
                yield number, line.decode(given.file.encoding)
    except UnicodeDecodeError as error:
        raise given.fault(f"not {error.encoding}; correct 'encoding' in the card", number) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise given.fault(f"not a whole gzip file ({error}). Fetch it again", number + 1) from None


def _literal(line: str, given: Given, number: int) -> Any:
    try:
        return ast.literal_eval(line)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise given.fault(
            f"expected one record a line, JSON or a Python dict of plain values, found {line[:60]!r}", number
        ) from None
