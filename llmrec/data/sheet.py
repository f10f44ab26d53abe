"""A dataset's sheet: all that its card says, and what is measured of its tables beside what was published."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from llmrec.data.cards import Card
from llmrec.data.fetch import obtainable, place, place_of
from llmrec.data.pieces import pieces
from llmrec.data.sources import UNPUBLISHED
from llmrec.data.ties import tie_share
from llmrec.types import Items

if TYPE_CHECKING:
    from llmrec.data import Dataset

SCRIPTS = ("Latin", "Han", "Hiragana", "Katakana", "Hangul", "Cyrillic", "Greek", "Arabic", "Hebrew", "Thai")
"""Writing systems that titles are searched for."""

_FROM_CARD = (
    "name", "title", "scenario", "language", "home", "licence", "commercial", "redistributable", "size", "time",
    "protocols", "item_title", "item_text", "notes", "citation",
)  # fmt: skip
_EXAMPLES = 5


def sheet(card: Card, dataset: Dataset | None) -> dict[str, Any]:
    """The sheet as plain values (JSON). Without a dataset, what would be measured is None."""
    stated = card.model_dump(mode="json")
    return {
        **{name: stated[name] for name in _FROM_CARD},
        "filters": card.filters.model_dump(mode="json", exclude_defaults=True),
        "rating": stated["rating"],
        "here": place(card),
        "why_not": obtainable(card),
        "sources": [
            {
                "address": source.address,
                "here": place_of(card, source),
                "files": [f.where for f in source.files()],
                "unpublished": [piece.path for piece in pieces(source) if piece.checksum == UNPUBLISHED],
            }
            for source in card.sources
        ],
        "statistics": statistics(card, dataset),
        "steps": None if dataset is None or dataset.steps is None else dataset.steps.to_dicts(),
        "fingerprint": None if dataset is None else dataset.fingerprint,
        "activity": None if dataset is None else _activity(dataset),
        "times": None if dataset is None else _times(dataset),
        "texts": None if dataset is None else _texts(dataset.items),
        "examples": None if dataset is None else examples(dataset.items),
    }


def statistics(card: Card, dataset: Dataset | None) -> list[dict[str, Any]]:
    """Counts as {name, published, measured, agrees}; None where one of the two is unknown."""
    published = card.statistics.stated()
    measured = counts(dataset) if dataset is not None else {}
    return [
        {
            "name": name,
            "published": published.get(name),
            "measured": measured.get(name),
            "agrees": published[name] == measured[name] if name in published and name in measured else None,
        }
        for name in dict.fromkeys([*published, *measured])
    ]


def counts(dataset: Dataset) -> dict[str, int]:
    """What can be counted: users, items, interactions, pairs (distinct users and items), active (users who have an
    interaction), clicked (items that have one), categories; and where there are any: train, valid, test or fold 1, ...;
    tags (how often a user gave one), tag_words (different ones), impressions, requests."""
    frame = dataset.interactions.frame
    found = {"users": len(dataset.users), "items": len(dataset.items), "interactions": len(frame)}
    found["pairs"] = frame.select(pl.struct("user", "item").n_unique()).item()
    found |= {"active": frame["user"].n_unique(), "clicked": frame["item"].n_unique()}
    if categories := dataset.items.frame["categories"].explode().drop_nulls().n_unique():
        found["categories"] = categories
    if dataset.official is not None:
        for part, n in sorted(dataset.official.drop_nulls().value_counts().iter_rows()):
            found[f"fold {part}" if part.isdecimal() else part] = n
    if dataset.tags is not None:
        found |= {"tags": len(dataset.tags), "tag_words": dataset.tags["text"].n_unique()}
    if dataset.impressions is not None:
        found["impressions"] = len(dataset.impressions)
    if dataset.requests is not None:
        found["requests"] = len(dataset.requests)
    return found


def examples(items: Items, n: int = _EXAMPLES) -> list[dict[str, Any]]:
    """Items spread evenly over the catalogue, as methods see them."""
    rows = np.unique(np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int))
    return [items.frame.row(int(row), named=True) for row in rows]


def _activity(dataset: Dataset) -> dict[str, dict[str, float]]:
    """How many interactions a user and an item have, among those that have any."""
    found = {}
    for name in ("user", "item"):
        n = dataset.interactions.frame.group_by(name).len()["len"].to_numpy()
        if len(n):
            least, median, most = np.quantile(n, [0, 0.5, 1]).tolist()
            found[f"interactions per {name}"] = {"least": least, "median": median, "most": most}
    return found


def _times(dataset: Dataset) -> dict[str, Any] | None:
    """First and last moment (UTC), and how much hangs on the order of equal times; None without times."""
    time = dataset.interactions.frame["time"].drop_nulls()
    if not len(time):
        return None
    first, last = (datetime.fromtimestamp(t, UTC).isoformat(sep=" ")[:19] for t in (time.min(), time.max()))  # type: ignore[arg-type]
    ties = tie_share(dataset.interactions)
    return {
        "first": first,
        "last": last,
        "events_with_a_time": len(time) / len(dataset.interactions),
        "events_tied_within_a_user": ties["events"],
        "users_whose_last_item_is_tied": ties["last_items"],
    }


def _texts(items: Items) -> dict[str, Any]:
    """How much text items have, and in which writing systems their titles are (shares of the letters)."""
    text, title = items.frame["text"], items.frame["title"]

    def letters(script: str) -> int:
        return int(title.str.count_matches(rf"\p{{{script}}}").to_numpy().sum())

    found = {script: letters(script) / max(letters("L"), 1) for script in SCRIPTS}
    return {
        "items_without_text": int((text.str.strip_chars() == "").sum()),
        "median_characters": float(np.median(text.str.len_chars().to_numpy())) if len(text) else 0.0,
        "scripts": {script: share for script, share in sorted(found.items(), key=lambda pair: -pair[1]) if share},
    }
