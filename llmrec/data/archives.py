"""Taking the named files out of zip, tar and gzip archives: nothing else is written, and nowhere else."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from llmrec.errors import UserError, nearest

_CHUNK = 1 << 20  # bytes
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)

Opener = Callable[[], IO[bytes] | gzip.GzipFile]
Members = dict[str, Opener]
"""Path inside the archive -> how to open it."""


def extract(archive: Path, wanted: Iterable[str], folder: Path, *, limit: int | None = None, name: str = "") -> None:
    """Write the wanted files below ``folder``, under their paths inside the archive.

    The archive's kind is seen from its content: zip (a wheel is one), tar (plain, gzip, bzip2, xz), or one gzipped
    file. ``limit``: the most bytes that may be written in all. ``name`` stands for the archive in messages.

    Raises:
        UserError: the archive is cut short or damaged, lacks a file, has a member that would leave the folder, has a
            link where a file is wanted, or holds more than ``limit``. Files that were written already stay: give a
            temporary folder.
    """
    name = name or str(archive)
    wanted = list(dict.fromkeys(wanted))
    left = limit
    try:
        with _opened(archive, wanted, name) as members:
            for path in wanted:
                if path not in members:
                    raise UserError(f"{name}: has no file {path!r}.{nearest(path, members)}")
                left = _copy(members[path], folder / path, left, f"{name}: {path}")
    except _BROKEN as error:
        reason = (str(error).splitlines() or ["it ends too early"])[0]
        raise UserError(
            f"{name}: not a whole archive ({reason}): it was cut short or damaged. Remove it and fetch it again."
        ) from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile's words for a password, or for an unknown method
        raise UserError(f"{name}: cannot be unpacked: {error}.") from None


@contextlib.contextmanager
def _opened(archive: Path, wanted: list[str], name: str) -> Iterator[Members]:
    with archive.open("rb") as stream:
        start = stream.read(4)
    if zipfile.is_zipfile(archive) or start.startswith(b"PK"):
        with zipfile.ZipFile(archive) as opened:
            yield _zip(opened, wanted, name)
    elif start.startswith(b"\x1f\x8b") and len(wanted) == 1 and not _is_tar(archive):
        yield {wanted[0]: partial(gzip.GzipFile, archive)}
    else:
        with tarfile.open(archive) as packed:
            yield _tar(packed, wanted, name)


def _is_tar(archive: Path) -> bool:
    """Whether a gzip file holds a tar archive, in which bytes 257 to 261 say "ustar"."""
    with gzip.open(archive) as stream:
        return stream.read(512)[257:262] == b"ustar"


def _zip(opened: zipfile.ZipFile, wanted: list[str], name: str) -> Members:
    members: Members = {}
    for info in opened.infolist():
        path = _inside(info.filename, name)
        if path in wanted and (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise UserError(f"{name}: {path!r} is a link, not a file.")
        if not info.is_dir():
            members[path] = partial(opened.open, info)
    return members


def _tar(opened: tarfile.TarFile, wanted: list[str], name: str) -> Members:
    members: Members = {}
    for info in opened:
        path = _inside(info.name, name)
        if path in wanted and (info.issym() or info.islnk()):
            raise UserError(f"{name}: {path!r} is a link, not a file.")
        if info.isreg():
            members[path] = partial(_extracted, opened, info)
    while opened.fileobj and opened.fileobj.read(_CHUNK):  # to the end, where gzip has its own checksum
        pass
    return members


def _extracted(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = opened.extractfile(info)
    assert stream is not None  # it is a regular file
    return stream


def _inside(path: str, name: str) -> str:
    """The member's path without "./"; an archive that tries to climb is refused whole, whatever else it holds."""
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or (pure.parts and pure.parts[0].endswith(":")):
        raise UserError(f"{name}: its member {path!r} would be written outside of the folder; nothing was unpacked.")
    return str(pure)


def _copy(opener: Opener, target: Path, left: int | None, name: str) -> int | None:
    """Write one member; returns how many bytes may still come."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with opener() as source, target.open("wb") as stream:
        if left is None:
            shutil.copyfileobj(source, stream, _CHUNK)
            return None
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise UserError(
                    f"{name}: unpacks to far more than such an archive can hold in earnest; it was not unpacked."
                )
            stream.write(chunk)
    return left
