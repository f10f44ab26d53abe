"""Files of the suite's user that a dataset comes from, besides its card: they have no published checksum, so that what
is in them is part of what a record stands on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmrec.cardfiles import card_file, raw_card, read_toml
from llmrec.content import content_root
from llmrec.seeds import content_hash


def local_files(dataset: str) -> dict[str, str]:
    """The files that a card finds in its own folder: path as the card has it -> SHA-256 ('' where it is missing)."""
    folder = card_file(dataset)[0].parent
    sources = raw_card(dataset).get("sources", [])
    local = [s for s in sources if isinstance(s, dict) and s.get("address", "local") == "local"]
    return {path: _sum(folder / path) for path in sorted(set(_paths(local)))}


def word_table(dataset: str) -> str:
    """The hash of the table of words that a card's requests are said in, its comments left out; '' without one."""
    rule = raw_card(dataset).get("requests", {})
    path = content_root() / "datasets" / "words" / f"{rule.get('words')}.toml"
    return content_hash(read_toml(path)) if rule.get("words") and path.is_file() else ""


def _paths(raw: Any) -> Iterator[str]:
    """The files that a piece of a raw card names: an archive where they lie in one."""
    if isinstance(raw, list):
        for part in raw:
            yield from _paths(part)
    elif isinstance(raw, dict):
        if isinstance(path := raw.get("archive", raw.get("path")), str):
            yield path
        yield from _paths([value for key, value in raw.items() if key not in ("columns", "options")])


def _sum(path: Path) -> str:
    if not path.is_file():
        return ""
    stat = path.stat()
    return _sum_at(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _sum_at(path: Path, _mtime: int, _size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
