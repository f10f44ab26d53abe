"""Writing an archive: equal members give equal bytes, and the file is there whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmrec.errors import UserError

SUFFIX = ".zip"

MANIFEST = "manifest.json"
"""The member that says what the others are."""

_DAY = (1980, 1, 1, 0, 0, 0)
"""The time that every member has: the first that a zip can name."""

_PACKED = (".parquet", ".gz", ".zip", ".tgz", ".xz", ".bz2")
"""Suffixes of files that are compressed already."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """One file of an archive. ``part``: the line of `llmrec pack`'s table that it counts to."""

    path: str
    part: str
    content: bytes | Path

    @property
    def size(self) -> int:
        """In bytes, before the archive compresses it."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def sha256(self) -> str:
        """Of its content."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        with self.content.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def write(
    target: Path,
    manifest: str,
    members: Sequence[Member],
    sums: Mapping[str, str],
    advance: Callable[[int], None] = lambda size: None,
) -> dict[str, int]:
    """Write an archive in the place of ``target`` and return the bytes that every member takes in it. ``sums``: the
    members' SHA-256 as the manifest has them; ``advance`` hears of the bytes that have been read.

    Raises:
        UserError: the folder cannot be written or is full, or a file has changed since its sum was taken; nothing is
            left of it.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with zipfile.ZipFile(partial, "w") as archive:
            archive.writestr(_info(MANIFEST), manifest)
            for member in sorted(members, key=lambda member: member.path):
                if _add(archive, member, advance) != sums[member.path]:
                    raise UserError(f"{member.content!s}: has changed while it was packed. Pack again.")
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        with zipfile.ZipFile(partial) as archive:
            sizes = {info.filename: info.compress_size for info in archive.infolist()}
        partial.replace(target)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written: {error.strerror or error}. Choose another with -o FILE."
        ) from None
    finally:
        partial.unlink(missing_ok=True)
    return sizes


def _add(archive: zipfile.ZipFile, member: Member, advance: Callable[[int], None]) -> str:
    """Write one member; returns the SHA-256 of what was written."""
    info, digest = _info(member.path), hashlib.sha256()
    info.file_size = member.size
    source = io.BytesIO(member.content) if isinstance(member.content, bytes) else member.content.open("rb")
    with source, archive.open(info, "w") as packed:
        while chunk := source.read(_CHUNK):
            packed.write(chunk)
            digest.update(chunk)
            advance(len(chunk))
    return digest.hexdigest()


def _info(path: str) -> zipfile.ZipInfo:
    """A member's head without anything of this machine or this hour."""
    info = zipfile.ZipInfo(path, _DAY)
    info.create_system = 3  # whatever the system, permissions are written as on Unix
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_STORED if path.endswith(_PACKED) else zipfile.ZIP_DEFLATED
    return info
