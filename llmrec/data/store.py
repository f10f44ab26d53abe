"""The cache's part for what was downloaded or unpacked: a folder per piece, whole or not there, checked at each use."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from llmrec.content import cache_folder
from llmrec.data.archives import extract
from llmrec.data.checksums import check, digest
from llmrec.data.pieces import Piece
from llmrec.data.sources import UNPUBLISHED
from llmrec.errors import UserError

_NOTE = ".llmrec.json"
_BOMB = 100
"""No honest archive of tables unpacks to more than this many times its size ..."""
_SMALL = 100_000_000
"""... unless it is under this many bytes altogether."""


def key(piece: Piece, file: Path | None = None) -> str:
    """The name of a piece's folder: of its published sum; without one of its address, or of the copy's own sum."""
    if piece.checksum and piece.checksum != UNPUBLISHED:
        return piece.checksum.removeprefix("md5:")[:16]
    return (digest(file) if file else hashlib.sha256(piece.address.encode()).hexdigest())[:16]


def downloads() -> Path:
    """The folder of the folders."""
    return cache_folder() / "downloads"


def stored(name: str, piece: Piece, *, checked: bool = True) -> dict[str, Path] | None:
    """The piece's files, or None where one is missing or (if ``checked``) no longer the one that was put there."""
    folder = downloads() / name
    sums = _noted(folder)
    try:
        if checked and any(digest(folder / member.path) != sums[member.path] for member in piece.members):
            return None
    except (OSError, KeyError):
        return None
    files = {member.where: folder / member.path for member in piece.members}
    return files if all(path.is_file() for path in files.values()) else None


def store(name: str, piece: Piece, file: Path, *, called: str) -> dict[str, Path]:
    """Put the piece's files in their folder: unpacked, or moved where it is a plain one. Hold its `lock`.

    Each file takes its place at once and the note of their sums comes last. What another card took from the same
    archive stays where it is: a process may be reading it.

    Raises:
        ChecksumError: a member is not what the card says.
        UserError: an archive that cannot be unpacked, a member that is missing or leaves the folder.
        OSError: the disk is full or cannot be written. In every case nothing is kept.
    """
    folder, staged = downloads() / name, downloads() / f".unpacking-{name}"
    shutil.rmtree(staged, ignore_errors=True)  # of a process that was killed
    try:
        if piece.packed:
            limit = max(_SMALL, _BOMB * file.stat().st_size)
            extract(file, (member.path for member in piece.members), staged, limit=limit, name=called)
        else:
            (staged / piece.members[0].path).parent.mkdir(parents=True)
            shutil.move(file, staged / piece.members[0].path)
        for member in piece.members:
            check(staged / member.path, member.checksum, f"{called}: {member.path}")
        sums = {member.path: digest(staged / member.path) for member in piece.members}
        (staged / _NOTE).write_text(json.dumps(_noted(folder) | sums, indent=1) + "\n", "utf-8")
        for path in [*sums, _NOTE]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (staged / path).replace(folder / path)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return {member.where: folder / member.path for member in piece.members}


def _noted(folder: Path) -> dict[str, str]:
    """The sums of the files that were put into a folder; none where there is no readable note."""
    try:
        sums = json.loads((folder / _NOTE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return sums if isinstance(sums, dict) else {}


@contextlib.contextmanager
def lock(name: str, say: Callable[[str], None]) -> Iterator[None]:
    """One process at a time for a piece; the others say so, wait, and then find it. A killed process leaves no lock."""
    from filelock import FileLock, Timeout

    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / f"{name}.lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        say("waiting for another process that fetches the same ...")
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """A disk that is full or cannot be written is one clear message."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or cache_folder()}: {error.strerror or error}. Set LLMREC_CACHE to a folder that can be "
            "written and has room. Nothing was left half-written."
        ) from None
