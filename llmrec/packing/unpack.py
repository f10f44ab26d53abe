"""An archive on the machine that runs it: unpacked once into a folder of llmrec's cache, and put in the place of what
would otherwise be fetched: datasets, embeddings, cards and methods of the user's own."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmrec.cardfiles import FOLDER as OWN_CARDS
from llmrec.cardfiles import file_name
from llmrec.content import cache_folder
from llmrec.data.archives import extract
from llmrec.data.checksums import digest
from llmrec.data.pieces import MIRROR
from llmrec.data.store import writing
from llmrec.errors import UserError
from llmrec.packing import manifest as manifests
from llmrec.packing import standin
from llmrec.packing.archive import MANIFEST
from llmrec.packing.gather import entry
from llmrec.packing.manifest import Manifest

Say = Callable[[str], None]

_STARTED = ("code/", "__main__.py")
"""Members that only `python ARCHIVE` unpacks."""

_LARGEST_MANIFEST = 64_000_000  # bytes


@dataclass(frozen=True)
class Opened:
    """An archive that was unpacked."""

    path: Path
    folder: Path
    manifest: Manifest

    @property
    def suite(self) -> Path:
        """The suite's file."""
        return self.folder / "suite" / f"{self.manifest.suite}.toml"

    @property
    def methods(self) -> Path | None:
        """The folder of the user's own methods, where some came along."""
        folder = self.folder / "methods"
        return folder if folder.is_dir() else None


def open_archive(path: Path, say: Say) -> Opened:
    """Unpack an archive into the cache, checked, unless an earlier call has; many may do so at once.

    Raises:
        UserError: no archive of `llmrec pack`, a damaged one, one with members that are not in its manifest or would
            leave the folder, or a cache that cannot be written. Nothing is kept of it.
    """
    from filelock import FileLock

    packs = cache_folder() / "packs"
    with writing():
        name = digest(path)[:16]
        packs.mkdir(parents=True, exist_ok=True)
        with FileLock(packs / f".{name}.lock"):
            folder = packs / name
            if not folder.is_dir():
                say(f"unpacking {path.name} into {folder}")
                _unpack(path, folder)
    return Opened(path, folder, manifests.parse((folder / MANIFEST).read_bytes(), path))


def use_cards(opened: Opened) -> None:
    """From here on the dataset cards that came along are the user's own ones."""
    if (cards := opened.folder / "cards").is_dir():
        os.environ[OWN_CARDS] = str(cards)


def use_data(opened: Opened, say: Say) -> None:
    """From here on this process and those that it starts read the data and embeddings that came along, and reach for no
    network. Call it once the code is known to be the archive's."""
    from filelock import FileLock

    cache = opened.folder / "cache"
    os.environ["LLMREC_CACHE"] = str(cache)
    os.environ.pop(MIRROR, None)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("WANDB_MODE", "offline")
    with writing(), FileLock(opened.folder / ".lock"):
        if found := standin.make(opened.folder, opened.manifest.encoders):
            sys.path.append(str(found))
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(found)]))
        if not (cache / "embeddings").exists() and (opened.folder / "embeddings").is_dir():
            cache.mkdir(exist_ok=True)
            (cache / "embeddings").symlink_to(opened.folder / "embeddings", target_is_directory=True)
        for dataset in opened.manifest.data:
            _place(dataset, opened, say)


def _place(dataset: str, opened: Opened, say: Say) -> None:
    """Put a dataset's tables where this machine's llmrec looks for them."""
    import polars as pl

    from llmrec.data import cache

    packed, home = opened.folder / "data" / file_name(dataset), entry(dataset, opened.folder / "cache")
    if not packed.is_dir() or cache.read(home) is not None:
        return
    say(f"data of {dataset}")
    frames = {path.stem: pl.read_parquet(path) for path in sorted(packed.glob("*.parquet"))}
    cache.write(home, frames, json.loads((packed / "facts.json").read_text("utf-8")))


def _unpack(path: Path, folder: Path) -> None:
    """Write the archive's members in the folder's place, which they take as a whole."""
    staged = folder.with_name(f".unpacking-{folder.name}")
    shutil.rmtree(staged, ignore_errors=True)  # of a process that was killed
    try:
        manifest = _manifest(path, staged)
        wanted = [name for name in manifest.members if not name.startswith(_STARTED)]
        extract(path, wanted, staged, limit=_limit(path))
        for name in wanted:
            if digest(staged / name) != manifest.members[name]:
                raise UserError(f"{path}: its member {name!r} is not the one that was packed. Copy the archive again.")
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _manifest(path: Path, staged: Path) -> Manifest:
    """The archive's manifest, unpacked, too; it names every member and no other."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not an archive of `llmrec pack`, or one that was cut short. Copy it again.")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if MANIFEST not in names:
        raise UserError(f"{path}: not an archive of `llmrec pack`: it has no {MANIFEST}.")
    extract(path, [MANIFEST], staged, limit=_LARGEST_MANIFEST)
    manifest = manifests.parse((staged / MANIFEST).read_bytes(), path)
    known = {MANIFEST, *manifest.members}
    if wrong := sorted(known.symmetric_difference(names)):
        how = "is missing" if wrong[0] in known else "is not in its manifest"
        raise UserError(f"{path}: its member {wrong[0]!r} {how}. Copy or pack the archive again.")
    return manifest


def _limit(path: Path) -> int:
    """The most bytes that such an archive can hold in earnest: tables are compressed already, texts tenfold."""
    return max(100_000_000, 100 * path.stat().st_size)
