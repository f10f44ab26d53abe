"""Datasets: `load("ml-100k")` finds, checks, parses and caches what the card in datasets/ describes."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from llmrec.content import cache_folder
from llmrec.data import readers, tables
from llmrec.data.cards import Card, Source, card, dataset_names
from llmrec.data.fetch import obtain, obtainable
from llmrec.seeds import canonical_json
from llmrec.types import Interactions, Items

__all__ = ["Card", "Dataset", "card", "dataset_names", "load", "obtainable", "parse"]


@dataclass(frozen=True)
class Dataset:
    """A dataset in its card's canonical ids. Equal fingerprints mean equal tables, wherever the files came from."""

    name: str
    card: Card
    interactions: Interactions
    items: Items
    users: list[str]  # raw ids; row u is user u
    fingerprint: str
    official: pl.Series | None = None
    """The dataset's own split, String, one value a row of ``interactions.frame``: "train", "valid" and "test"; or the
    fold that the event tests, "1", "2", ..."""
    impressions: pl.DataFrame | None = None
    """What was shown: part str ("fit", "valid" or "test"), user int32, time int64 (null if unknown), history
    list[int32] (oldest first), shown list[int32], clicked list[bool]."""
    requests: pl.DataFrame | None = None
    """Requests in words: text str, items list[int32] (those that answer it), kind str (its slice), field str (the item
    field that the labels are made of), part str ("valid" or "test")."""
    fields: pl.DataFrame | None = None
    """Every text field that the files give for an item (categories list[str], all others str); row i is item i."""


def load(name: str) -> Dataset:
    """The dataset of a card: from the parsed cache, else from checked files, downloaded if need be.

    Raises:
        UserError: no such card, data that cannot be had, a wrong checksum, or files that the card does not describe.
    """
    this = card(name)
    folder = cache_folder() / "datasets" / f"{name}-{_recipe(this)}"
    if (cached := _read_cache(this, folder)) is not None:
        return cached
    source, files = obtain(this)
    dataset = parse(this, source, files)
    _write_cache(dataset, folder)
    return dataset


def parse(this: Card, source: Source, folder: Path) -> Dataset:
    """Read one source's files from a folder. Raises UserError where they are not what the card describes."""
    events = readers.read_interactions(folder / source.interactions.path, source.interactions)
    listed = readers.read_items(folder / source.items.path, source.items)
    interactions, items, users = tables.canonical(this, events, listed)
    return Dataset(this.name, this, interactions, items, users, tables.fingerprint(interactions, items, users))


def _recipe(this: Card) -> str:
    """What the parsed tables depend on: the card and the code that reads it."""
    return hashlib.sha256(canonical_json(this.model_dump(mode="json")).encode() + _code()).hexdigest()[:16]


@cache
def _code() -> bytes:
    return b"".join(Path(str(module.__file__)).read_bytes() for module in (readers, tables))


_TABLES = ("interactions", "items", "users")


def _read_cache(this: Card, folder: Path) -> Dataset | None:
    """The cached tables, or None where there are none or a file is not the one that was written."""
    try:
        sums = json.loads((folder / "sums.json").read_text("utf-8"))
        data = {name: (folder / f"{name}.parquet").read_bytes() for name in _TABLES}
        if any(hashlib.sha256(data[name]).hexdigest() != sums[name] for name in _TABLES):
            return None
        frames = {name: pl.read_parquet(data[name]) for name in _TABLES}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    users = frames["users"]["raw_id"].to_list()
    interactions = Interactions(frames["interactions"], len(users), len(frames["items"]))
    return Dataset(this.name, this, interactions, Items(frames["items"]), users, sums["fingerprint"])


def _write_cache(dataset: Dataset, folder: Path) -> None:
    """Write beside the place and rename, so that the folder appears whole; a corrupted or older one is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    frames = {
        "interactions": dataset.interactions.frame,
        "items": dataset.items.frame,
        "users": pl.DataFrame({"raw_id": dataset.users}, schema={"raw_id": pl.String}),
    }
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".parsing-") as temporary:
        staged = Path(temporary) / "tables"
        staged.mkdir()
        sums = {"fingerprint": dataset.fingerprint}
        for name, frame in frames.items():
            frame.write_parquet(staged / f"{name}.parquet")
            sums[name] = hashlib.sha256((staged / f"{name}.parquet").read_bytes()).hexdigest()
        (staged / "sums.json").write_text(json.dumps(sums, indent=1) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            staged.rename(folder)
        except OSError:
            if _read_cache(dataset.card, folder) is None:  # not merely another process that was quicker
                raise
