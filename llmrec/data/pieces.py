"""The files that a source's place must hold, and where copies may lie: the card's folder, the mirror, a package."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from llmrec.data.cards import Card
from llmrec.data.sources import UNPUBLISHED, DataFile, Source
from llmrec.errors import UserError

MIRROR = "LLMREC_MIRROR"
"""The environment variable that names a folder with one subfolder per dataset."""


@dataclass(frozen=True)
class Member:
    """A file that a reader wants: its key in the source, its path in the piece, its own published sum if it has one."""

    where: str
    path: str
    checksum: str | None


@dataclass(frozen=True)
class Piece:
    """One file of a source's place: a plain file (its one member is itself), or an archive and what is wanted of it."""

    path: str  # in the place
    address: str  # "https://..." or "pypi:name==1.0"; '' where it cannot be fetched
    checksum: str | None  # published for the piece; None: not needed (the user's own files)
    packed: bool
    members: tuple[Member, ...]


def pieces(source: Source) -> list[Piece]:
    """What must be there for all files of a source. Raises UserError for a single file that is to be several."""
    files = source.files()
    if source.kind in ("pypi", "archive", "file"):
        published = source.sha256 if source.sha256 and (source.sha256 != UNPUBLISHED or not source.md5) else None
        published = published or f"md5:{source.md5}"
        name = unquote(urlsplit(source.address).path.rsplit("/", 1)[-1])
        if source.kind == "file" and len(files) > 1:
            raise UserError(f"{source.address}: one file, but the card wants {', '.join(f.path for f in files)} of it.")
        return [Piece(name, source.address, published, source.kind != "file", _members(source, files))]
    found = []
    for path in dict.fromkeys(file.archive or file.path for file in files):
        inside = [file for file in files if path == (file.archive or file.path)]
        address = source.address + quote(path) if source.kind == "folder" else ""
        packed = inside[0].archive is not None
        found.append(Piece(path, address, source.checksum(path), packed, _members(source, inside)))
    return found


def _members(source: Source, files: Iterable[DataFile]) -> tuple[Member, ...]:
    return tuple(Member(file.where, file.path, source.checksum(file.where)) for file in files)


def copies(card: Card, source: Source, piece: Piece) -> list[Path]:
    """Where a copy of the piece may lie outside of the cache. What comes from the web may lie in the mirror, too."""
    if source.kind == "local":
        return [card.folder / piece.path]
    if source.kind == "pypi" or (folder := mirror(card, source)) is None:
        return []
    return [folder / piece.path, folder / "original" / piece.path]


def mirror(card: Card, source: Source) -> Path | None:
    """The folder of $LLMREC_MIRROR that a source's files may lie in."""
    if not (root := os.environ.get(MIRROR)):
        return None
    return Path(root).expanduser() / mirror_name(card, source)


def mirror_name(card: Card, source: Source) -> str:
    """The name of that folder: the dataset's, with "-" for ":", unless the card gives another."""
    return source.address.partition(":")[2] if source.address.startswith("mirror:") else card.name.replace(":", "-")


def installed(source: Source, piece: Piece) -> Path | None:
    """The folder above an installed package of exactly the wanted version which has the files; nothing is executed."""
    if source.kind != "pypi":
        return None
    name, version = source.address.removeprefix("pypi:").split("==")
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    folder = Path(str(package.locate_file("")))
    whole = package.version == version and all((folder / member.path).is_file() for member in piece.members)
    return folder if whole else None
