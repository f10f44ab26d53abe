"""TOML files that users write: read, and their first mistake told in one sentence (file, key, what was expected)."""

from __future__ import annotations

import difflib
import tomllib
import typing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from llmrec.errors import UserError, nearest


def read_toml(path: Path) -> dict[str, Any]:
    """What stands in a TOML file.

    Raises:
        UserError: it is no TOML.
        FileNotFoundError: as `open` does.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}.") from None


def mistake(error: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake of a table as one sentence: its key, and what was expected there.

    ``model`` is what the table was validated against: its fields' descriptions say what they expect. A misspelt key
    comes before a missing one, for it is the reason.
    """
    found = error.errors()
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    inner: type[BaseModel] | None = model
    keys: list[str] = []
    expected, annotation = "", None
    for part in first["loc"]:
        if isinstance(part, int):
            keys[-1] += f"[{part + 1}]"
        elif inner is not None and part in inner.model_fields:
            keys.append(part)
            annotation = inner.model_fields[part].annotation
            expected = inner.model_fields[part].description or expected
            inner = _model_of(annotation)
        elif inner is not None and first["type"] == "extra_forbidden":
            place = f" in {'.'.join(keys)!r}" if keys else ""
            return f"unknown key {part!r}{place}.{nearest(str(part), inner.model_fields)}"
        elif typing.get_origin(annotation) is dict:  # other parts are the names of a union's members
            keys.append(part)
    key = ".".join(keys)
    if first["type"] == "missing":
        return f"key {key!r} is missing: {expected}."
    if first["type"] == "literal_error":
        words = first["ctx"]["expected"]
        return f"key {key!r}: expected {words}, found {first['input']!r}.{_close(first['input'], words)}"
    bounds = "" if expected else f" ({first['msg']})"
    return f"key {key!r}: expected {expected or 'another value'}{bounds}, found {first['input']!r}."


def _close(found: Any, words: str) -> str:
    """' Did you mean X?' for the closest of the words in pydantic's list "'a', 'b' or 'c'"; '' if none is close."""
    close = difflib.get_close_matches(str(found), [w for w in words.split("'")[1::2]], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model behind a field's type: ``Limits``, ``list[Entry]``."""
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
