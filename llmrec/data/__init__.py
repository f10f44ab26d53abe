"""Datasets: `load("ml-100k")` finds, checks, parses and caches what the card in datasets/ describes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path

import polars as pl

from llmrec.cardfiles import DESCRIPTIVE, dataset_names, file_name
from llmrec.content import cache_folder
from llmrec.data import cache, catalogue, requests, tables
from llmrec.data.cards import Card, card
from llmrec.data.fetch import obtain, obtainable, place_of
from llmrec.data.parsing import parse_source
from llmrec.data.sources import Source
from llmrec.seeds import canonical_json
from llmrec.types import Interactions, Items

__all__ = ["Card", "Dataset", "cached", "card", "dataset_names", "load", "obtainable", "parse"]


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
    tags: pl.DataFrame | None = None
    """Words that users gave to items: user int32 (null if nobody of ours), item int32, text str, time int64 or null."""
    steps: pl.DataFrame | None = None
    """What filtering did: step str, and the users, items and interactions (int64) that were left after it."""

    def items_without(self, *withheld: str) -> Items:
        """The catalogue as it would be if no item had some of its fields: titles and texts by the card's templates.

        Raises:
            UserError: the files give no such field.
        """
        return catalogue.catalogue(self.card, self.fields, withheld) if self.fields is not None else self.items


def load(name: str) -> Dataset:
    """The dataset of a card: from the parsed cache, else from checked files, downloaded if need be.

    Raises:
        UserError: no such card, data that cannot be had, a wrong checksum, or files that the card does not describe.
    """
    this = card(name)
    folder = cache_folder() / "datasets" / f"{file_name(name)}-{_recipe(this)}"
    if (cached := _cached(this, folder)) is not None:
        return cached
    with cache.alone(folder):
        if (cached := _cached(this, folder)) is not None:  # another process has been at it meanwhile
            return cached
        source, files = obtain(this)
        dataset = parse(this, source, files)
        _keep(dataset, source, folder)
    return dataset


def cached(name: str) -> Dataset | None:
    """The dataset as an earlier `load` by the same card and readers left it, or None. Nothing is fetched."""
    this = card(name)
    return _cached(this, cache_folder() / "datasets" / f"{file_name(name)}-{_recipe(this)}")


def parse(this: Card, source: Source, files: Path | Mapping[str, Path]) -> Dataset:
    """Read one source's files, from a folder or by their `DataFile.where`.

    Raises:
        UserError: they are not what the card describes.
    """
    found = {file.where: files / file.path for file in source.files()} if isinstance(files, Path) else files
    parsed = parse_source(this, source, found)
    items = catalogue.catalogue(this, parsed.fields)
    users = parsed.users.texts
    made = parsed.requests
    if this.requests is not None:
        made = requests.make_requests(this.name, this.requests, len(items), parsed.tags, parsed.fields)
    digest = tables.fingerprint(parsed.interactions, items, users, parsed.impressions, parsed.tags)
    return Dataset(
        this.name, this, parsed.interactions, items, users, digest, parsed.official, parsed.impressions, made,
        parsed.fields, parsed.tags, parsed.steps,
    )  # fmt: skip


def _recipe(this: Card) -> str:
    """What the parsed tables depend on: the card, the code that reads it, a private card's files as they are."""
    told = {key: value for key, value in this.model_dump(mode="json").items() if key not in DESCRIPTIVE}
    local = [
        [file.where, stat.st_size, stat.st_mtime_ns]
        for source in this.sources
        if source.kind == "local"
        for file in source.files()
        if (path := this.folder / (file.archive or file.path)).is_file() and (stat := path.stat())
    ]
    rule = requests.fingerprint(this.requests) if this.requests is not None else ""
    return hashlib.sha256(canonical_json([told, local, rule]).encode() + _code()).hexdigest()[:16]


@once
def _code() -> bytes:
    """The source that makes tables of files."""
    here = Path(__file__).parent
    files = [
        *(here / f"{name}.py" for name in ("__init__", "cache", "catalogue", "parsing", "tables")),
        *here.glob("readers/*.py"),
    ]
    return b"".join(path.read_bytes() for path in sorted(files))


ITEMS = ("raw_id", "title", "text", "categories")
"""The columns of `Items`."""


def _keep(dataset: Dataset, source: Source, folder: Path) -> None:
    """Put the dataset into the cache, in few tables: each costs a millisecond or two at every load."""
    items, fields = dataset.items.frame, dataset.fields
    assert fields is not None, "only what was parsed is kept"
    same = [name for name in fields.columns if name in ITEMS and fields[name].equals(items[name])]  # held once
    official = [dataset.official.alias("official")] if dataset.official is not None else []
    events = dataset.interactions.frame.with_columns(official)
    short = events.select((pl.col("time").fill_null(0) >= 0) & (pl.col("time").fill_null(0) < 2**32)).to_series().all()
    frames = {
        "interactions": events.with_columns(pl.col("time").cast(pl.UInt32)) if short else events,
        "items": items.hstack([fields[name].alias(f"field {name}") for name in fields.columns if name not in same]),
        "users": pl.DataFrame({"raw_id": dataset.users}, schema={"raw_id": pl.String}),
        "impressions": dataset.impressions, "requests": dataset.requests, "tags": dataset.tags,
    }  # fmt: skip
    facts = {
        "fingerprint": dataset.fingerprint,
        "source": dataset.card.sources.index(source),
        "fields": {name: name if name in same else f"field {name}" for name in fields.columns},
        "steps": dataset.steps.rows() if dataset.steps is not None else [],
    }
    cache.write(folder, {name: frame for name, frame in frames.items() if frame is not None}, facts)


def _cached(this: Card, folder: Path) -> Dataset | None:
    """The dataset as the cache has it, or None: nothing there, or damaged, or a better source has come meanwhile."""
    if (kept := cache.read(folder)) is None:
        return None
    frames, facts = kept
    if any(place_of(this, source) != "nowhere" for source in this.sources[: facts["source"]]):
        return None
    users = frames["users"]["raw_id"].to_list()
    events, items = frames["interactions"].with_columns(pl.col("time").cast(pl.Int64)), frames["items"]
    return Dataset(
        this.name, this, Interactions(events.select(tables.EVENTS), len(users), len(items)), Items(items.select(ITEMS)),
        users, facts["fingerprint"],
        official=events["official"] if "official" in events.columns else None,
        impressions=frames.get("impressions"), requests=frames.get("requests"), tags=frames.get("tags"),
        fields=items.select(pl.col(column).alias(name) for name, column in facts["fields"].items()),
        steps=pl.DataFrame(facts["steps"], schema=tables.STEPS, orient="row"),
    )  # fmt: skip
