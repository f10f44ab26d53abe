"""What stands for an encoder where its embeddings have come without its weights: a name and a revision to find them by,
and its tokenizer. Asked for texts that were not packed, it fails for want of weights and says so."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from llmrec.encoders import DEFAULT, PACKAGE, PACKAGE_SHA256, repositories
from llmrec.errors import UserError
from llmrec.packing.manifest import PackedEncoder

_MODULE = PACKAGE.replace("-", "_")


def make(folder: Path, encoders: Mapping[str, PackedEncoder]) -> Path | None:
    """Make the stand-ins that are not there yet, one process at a time. Returns the folder to put on the path so that
    `llmrec.encode` finds the default encoder; None where it is installed or was not packed. Encoders by a hub's name
    get their place in a hub cache of the archive's own.

    Raises:
        UserError: an encoder from a folder that this machine does not have.
    """
    found: Path | None = None
    for name, encoder in encoders.items():
        if encoder.revision == f"sha256:{PACKAGE_SHA256}":
            if importlib.util.find_spec(_MODULE) is None:
                found = folder / "stand-ins"
                _package(found / _MODULE, folder, encoder)
        elif not encoder.revision.startswith("content:"):
            _on_hub(folder, name, encoder)
        elif not Path(name).expanduser().is_dir():
            raise UserError(f"encoder {name!r}: this folder must be here, too; the archive has no weights.")
    return found


def _package(home: Path, folder: Path, encoder: PackedEncoder) -> None:
    """A package of the encoder's name with nothing but the tokenizer."""
    if (home / "__init__.py").exists():  # others may be reading it
        return
    (home / "model").mkdir(parents=True, exist_ok=True)
    _copy(folder, encoder, home / "model")
    (home / "__init__.py").write_text(f'"""Stands for {DEFAULT}, whose weights are not here."""\n', "utf-8")


def _on_hub(folder: Path, name: str, encoder: PackedEncoder) -> None:
    """A snapshot of the encoder's name and commit in a hub cache that also shows all models of the machine's own."""
    from huggingface_hub.constants import HF_HUB_CACHE

    named, revision = repositories(name)
    places = [f"models--{repository.replace('/', '--')}" for repository in named]
    if any((Path(HF_HUB_CACHE) / place / "snapshots" / encoder.revision).is_dir() for place in places):
        return
    place = places[0]
    hub = folder / "hub"
    os.environ["HF_HUB_CACHE"] = str(hub)
    snapshot, ref = hub / place / "snapshots" / encoder.revision, hub / place / "refs" / (revision or "main")
    if ref.exists():
        return
    snapshot.mkdir(parents=True, exist_ok=True)
    for model in Path(HF_HUB_CACHE).glob("models--*"):
        if not (hub / model.name).exists():
            (hub / model.name).symlink_to(model, target_is_directory=True)
    _copy(folder, encoder, snapshot)
    (snapshot / "absent.safetensors").touch()  # so that it counts as a model
    ref.parent.mkdir(exist_ok=True)
    ref.write_text(encoder.revision, "utf-8")


def _copy(folder: Path, encoder: PackedEncoder, home: Path) -> None:
    if encoder.tokenizer:
        shutil.copyfile(folder / encoder.tokenizer, home / "tokenizer.json")
