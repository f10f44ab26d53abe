"""What every dataset and every split must be, byte for byte: datasets/fingerprints.toml, and what moved since.

    ["ml-100k"]
    users = "943 5f3c0a..."              count and digest of the raw ids, the items, the events
    ...
    ["ml-100k"."leave-one-out"]
    train = "98114 90ab12..."            count and digest of the part, in canonical ids
    ...

Splits are those of each protocol with its defaults (the first fold, where a dataset has folds).
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from llmrec.content import content_root
from llmrec.data import Dataset, load
from llmrec.records import Protocol, ProtocolName, TaskName
from llmrec.split import make_split
from llmrec.split.admits import TASK_OF
from llmrec.types import Histories, Impressions, Interactions, Split

Table = dict[str, str]
"""What is fingerprinted -> its count and the first 16 hex digits of its SHA-256."""


def path() -> Path:
    """Where the committed fingerprints lie."""
    return content_root() / "datasets" / "fingerprints.toml"


def committed() -> dict[str, dict[str, Table]]:
    """Dataset -> "data" or a protocol -> its fingerprints."""
    return tomllib.loads(path().read_text("utf-8")) if path().exists() else {}


def measured(name: str) -> dict[str, Table]:
    """The fingerprints of a dataset that can be had here: its data, and its split under every protocol it admits; not
    of an official split that the copy at hand does not carry."""
    dataset = load(name)
    protocols = [p for p in dataset.card.protocols if p != "official" or dataset.official is not None]
    return {"data": of_data(dataset), **{protocol: of_split(dataset, protocol) for protocol in protocols}}


def of_data(dataset: Dataset) -> Table:
    """Of users, items, their texts, and the events."""
    frame = dataset.interactions.frame
    events = [frame[name].fill_null(-1).to_numpy() for name in ("user", "item", "value", "time", "order")]
    words = zip(dataset.items.titles, dataset.items.texts, strict=True)
    return {
        "users": _texts(dataset.users),
        "items": _texts(dataset.items.frame["raw_id"]),
        "texts": _texts(f"{title}\n{text}" for title, text in words),
        "events": _arrays(len(frame), events),
    }


def of_split(dataset: Dataset, name: ProtocolName) -> Table:
    """Of every part of the split under a protocol with its defaults."""
    split, _ = make_split(dataset, default_protocol(dataset, name), task_of(name))
    parts = {part: _events(getattr(split, part), split) for part in ("train", "valid", "test")}
    parts |= {f"given for {part}": _events(events, split) for part, events in split.given.items()}
    parts |= {f"impressions {part}": _shown(shown, split) for part, shown in split.impressions.items()}
    for part, requests in split.requests.items():
        relevant = _rows(requests.relevant, split)
        digest = _arrays(len(requests), [*relevant, np.frombuffer(_texts(requests.texts).encode(), np.uint8)])
        parts[f"requests {part}"] = digest
    return parts


def default_protocol(dataset: Dataset, name: str) -> Protocol:
    """A protocol with its defaults; the first of the folds where the dataset has folds."""
    folds = dataset.official is not None and dataset.official.drop_nulls().str.contains(r"^\d+$").any()
    return Protocol.model_validate({"name": name, **({"fold": 1} if name == "official" and folds else {})})


def task_of(name: ProtocolName) -> TaskName:
    """The task that a protocol is looked at for."""
    return TASK_OF.get(name, "topn")


def moved(name: str, before: dict[str, Table], now: dict[str, Table]) -> list[str]:
    """What is not as it was, in words; [] if all is. Of what cannot be measured here nothing is said."""
    said = []
    for group in now:
        old, new = before.get(group, {}), now.get(group, {})
        for part in dict.fromkeys([*old, *new]):
            if old.get(part) != new.get(part):
                said.append(f"{name}, {group}: {part} {_difference(old.get(part), new.get(part))}")
    return said


def write(found: dict[str, dict[str, Table]]) -> None:
    """Put datasets' fingerprints into the committed file; those of other datasets stay."""
    lines = ["# Count and digest of every dataset and split. Written by: llmrec datasets fingerprints --write", ""]
    for name, groups in sorted({**committed(), **found}.items()):
        for group, table in groups.items():
            lines += [f'["{name}"."{group}"]', *(f'"{part}" = "{value}"' for part, value in table.items()), ""]
    partial = path().with_suffix(".partial")
    partial.write_text("\n".join(lines), "utf-8")
    partial.replace(path())


def _difference(old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return "is new" if old is None else "is gone"
    before, now = old.split()[0], new.split()[0]
    return f"had {before} rows and now has {now}" if before != now else f"has {now} rows as before, but other ones"


def _events(events: Interactions, split: Split) -> str:
    """In canonical ids; users' order of events is part of it."""
    return _arrays(len(events), [events.user, split.canonical[events.item]])


def _shown(some: Impressions, split: Split) -> str:
    lists = [*_rows(some.users.histories, split), *_rows(some.shown, split)]
    return _arrays(len(some), [some.users.ids, *lists, some.clicked])


def _rows(rows: Histories, split: Split) -> list[np.ndarray]:
    return [rows.indptr, split.canonical[rows.items]]


def _texts(texts: Iterable[str] | pl.Series) -> str:
    digest, count = hashlib.sha256(), 0
    for text in texts:
        digest.update(f"{len(text)}/{text}".encode())
        count += 1
    return f"{count} {digest.hexdigest()[:16]}"


def _arrays(count: int, arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}/{len(array)}/".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return f"{count} {digest.hexdigest()[:16]}"
