"""Where dataset cards lie, and what stands in them as plain TOML. No polars and no pydantic: suites check names
at once. `llmrec.data.cards` says what a card may hold.

Cards are the .toml files of datasets/ and of the user's own folder (``--datasets DIR``, $LLMREC_DATASETS). A card with
``parameter = "category"`` stands for a family of datasets: ``amazon2018:Gift_Cards`` is datasets/amazon2018.toml with
Gift_Cards for every ``{category}`` in its title, home, notes and sources; ``values`` lists those that are known, and
the table ``[each.Gift_Cards]`` holds what is particular to one of them (its statistics, its checksums).
"""

from __future__ import annotations

import os
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmrec.content import content_root
from llmrec.errors import UserError, nearest

FOLDER = "LLMREC_DATASETS"
"""The environment variable that names a folder with cards of the user's own."""

DESCRIPTIVE = frozenset({
    "title", "scenario", "language", "home", "size", "licence", "commercial", "redistributable", "citation", "notes",
    "statistics",
})  # fmt: skip
"""Keys of a card that describe the data and change none of them."""

_FILLED = ("title", "home", "notes", "sources")
"""Keys in which a card's parameter is filled in; the item-text templates have braces of their own."""


def card_folders() -> list[Path]:
    """The folders that hold cards: the suite's own, then the user's."""
    own = os.environ.get(FOLDER)
    return [content_root() / "datasets", *([Path(own).expanduser().resolve()] if own else [])]


def card_files() -> dict[str, Path]:
    """Card files by name.

    Raises:
        UserError: the user's folder is none, or has a card with the name of one of the suite's.
    """
    found: dict[str, Path] = {}
    for folder in card_folders():
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of dataset cards (--datasets, ${FOLDER}).")
        for path in sorted(folder.iterdir(), key=str):
            name = path.stem
            if path.suffix != ".toml" or name == "fingerprints":
                continue
            if name in found:
                raise UserError(f"{path}: a dataset {name!r} exists already ({found[name]}). Rename this card.")
            found[name] = path
    return found


def dataset_names() -> list[str]:
    """Every dataset with a card, in alphabetical order; of a family the known members, as ``amazon2018:Gift_Cards``."""
    names: list[str] = []
    for name, path in card_files().items():
        try:
            raw = read_toml(path)
        except UserError:
            raw = {}  # listed all the same; whoever reads it learns what is wrong
        family = raw.get("parameter") and isinstance(raw.get("values", []), list)
        names += [f"{name}:{value}" for value in raw.get("values", [])] if family else [name]
    return sorted(names)


def card_file(name: str) -> tuple[Path, str]:
    """The file of a dataset's card, and the value of its parameter ('' for a card without one).

    Raises:
        UserError: there is no such dataset (names the nearest), or its card is no TOML.
    """
    family, colon, value = name.partition(":")
    path = card_files().get(family)
    if path is None:
        raise UserError(f"unknown dataset {name!r}.{nearest(name, dataset_names())}")
    raw = read_toml(path)
    parameter, values = raw.get("parameter"), raw.get("values", [])
    if parameter and (not value or (values and value not in values)):
        raise UserError(f"unknown dataset {name!r}: {family} wants a {parameter}.{nearest(value, values)}")
    if colon and not parameter:
        raise UserError(f"unknown dataset {name!r}: {family} has no parameter. Did you mean {family!r}?")
    if value and not value.replace("_", "").replace("-", "").isalnum():
        raise UserError(f"unknown dataset {name!r}: a {parameter} is letters, digits, '_' and '-'.")
    return path, value


def raw_card(name: str) -> dict[str, Any]:
    """A dataset's card as it stands in its file, the parameter filled in.

    Raises:
        UserError: no such dataset, or no TOML.
    """
    path, value = card_file(name)
    raw = read_toml(path)
    return fill(raw, value) if value else raw


def file_name(name: str) -> str:
    """A dataset's name as a part of a path: the colon of a family's member is no good there."""
    return name.replace(":", "-")


def read_toml(path: Path) -> dict[str, Any]:
    """A file's TOML, not to be changed. Raises UserError with file and line where it is none."""
    stat = path.stat()
    return _read_toml(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _read_toml(path: Path, _mtime: int, _size: int) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}.") from None


def fill(raw: dict[str, Any], value: str) -> dict[str, Any]:
    """One member of a family: the parameter's value in place of its name, and what ``[each.<value>]`` adds."""
    parameter = raw["parameter"]
    kept = {k: v for k, v in raw.items() if k not in ("parameter", "values", "each")}
    filled = {k: _replaced(v, f"{{{parameter}}}", value) if k in _FILLED else v for k, v in kept.items()}
    member: dict[str, Any] = _merged(filled, raw.get("each", {}).get(value, {}))
    return member


def readers(raw: dict[str, Any]) -> set[str]:
    """The readers that a raw card names (modules of `llmrec.data.readers`)."""
    if isinstance(raw, list):
        return set().union(*map(readers, raw)) if raw else set()
    if not isinstance(raw, dict):
        return set()
    named = {raw["reader"]} if isinstance(raw.get("reader"), str) else set()
    return named.union(*map(readers, raw.values()))


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, str):
        return value.replace(old, new)
    if isinstance(value, list):
        return [_replaced(part, old, new) for part in value]
    if isinstance(value, dict):
        return {_replaced(k, old, new): _replaced(v, old, new) for k, v in value.items()}
    return value


def _merged(left: Any, right: Any) -> Any:
    if isinstance(left, dict) and isinstance(right, dict):
        return {**left, **{k: _merged(left[k], v) if k in left else v for k, v in right.items()}}
    return right
