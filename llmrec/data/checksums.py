"""Whether a file is what its card says; and for files whose publisher gives no sum, what it was the first time."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
from pathlib import Path

from llmrec.content import cache_folder
from llmrec.data.sources import UNPUBLISHED
from llmrec.errors import ChecksumError

_WORDS = {"sha256": "SHA-256", "md5": "MD5"}


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The file's sum in hexadecimal, read in pieces; ``algorithm`` is sha256 or md5."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def check(path: Path, published: str | None, name: str = "") -> None:
    """Compare a file with its published sum: 64 hex digits (SHA-256) or "md5:" and 32; without one all is well.

    ``name`` is what the message calls the file, where its path is a temporary one.

    Raises:
        ChecksumError: with the file and both sums.
    """
    if published in (None, UNPUBLISHED):
        return
    algorithm, _, expected = published.rpartition(":")
    algorithm = algorithm or "sha256"
    if (found := digest(path, algorithm)) != expected:
        raise ChecksumError(
            f"{name or path}: {_WORDS[algorithm]} {found}, but the card says {expected}. "
            "The file was changed or is another release; put the right one in its place or remove it."
        )


def first_seen(name: str, path: Path) -> str | None:
    """Compare a file that has no published sum with what came first under this name; its SHA-256 if it is the first.

    ``name`` says which file it is, wherever the copy lies: "amazon2014:Toys/meta_Toys.json.gz".

    Raises:
        ChecksumError: the file is not the one that came first.
    """
    found, note = digest(path), _note(name)
    try:
        first = json.loads(note.read_text("utf-8"))
        expected, day = first["sha256"], first["seen"]
    except (OSError, ValueError, KeyError, TypeError):
        return found
    if found != expected:
        raise ChecksumError(
            f"{name}: SHA-256 {found} ({path}), but the file that was first seen on {day} had {expected}. "
            f"It was changed or is another release; to trust the new one, remove {note}."
        )
    return None


def trust(name: str, sha256: str) -> str:
    """Note the sum that every later copy must have; returns a sentence that says so."""
    note = _note(name)
    note.parent.mkdir(parents=True, exist_ok=True)
    whole = note.with_name(f"{note.name}.{os.getpid()}")
    seen = datetime.date.today().isoformat()
    whole.write_text(json.dumps({"file": name, "sha256": sha256, "seen": seen}, indent=1) + "\n", "utf-8")
    whole.replace(note)
    return (
        f"{name}: no checksum is published for it. It is trusted as it came; its SHA-256 {sha256} is noted in {note} "
        "and compared from now on."
    )


def _note(name: str) -> Path:
    return cache_folder() / "first-seen" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
