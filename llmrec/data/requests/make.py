"""From labels to requests.

The rule's noise is part of the task and is not hidden: labels say what somebody wrote down. An item without a label may
well deserve it, so that precision is a lower bound; what neighbouring labels say fits other items, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from llmrec.data.requests.labels import Labels, read_labels, votes
from llmrec.data.requests.neighbours import neighbours
from llmrec.data.requests.rule import VALID_SHARE, RequestRule
from llmrec.data.requests.tables import read_table, table_path
from llmrec.data.requests.words import share_a_word
from llmrec.errors import UserError
from llmrec.seeds import canonical_json
from llmrec.types import Bools, Int32

if TYPE_CHECKING:
    from llmrec.data import Dataset

SAME, OTHER = "shares words", "shares no word"
"""The two kinds of requests: with the label's own words, and without any content word of it."""

SCHEMA: dict[str, Any] = {
    "text": pl.String, "items": pl.List(pl.Int32), "kind": pl.String, "field": pl.String, "part": pl.String,
    "label": pl.String,
}  # fmt: skip


def make_requests(
    dataset: str, rule: RequestRule, n_items: int, tags: pl.DataFrame | None, fields: pl.DataFrame | None
) -> pl.DataFrame:
    """Make a dataset's requests of its users' tags or of a field of its items (see `labels.votes`).

    Returns:
        text str, items list[int32] (ascending), kind, field, part ("valid" or "test") and label (its words) of each;
        sorted by label, every text once.

    Raises:
        UserError: no such field, or a table of words that is not well formed.
    """
    carried = _labels(dataset, rule, n_items, tags, fields)
    made = _of_table(rule, carried) if rule.rule == "table" else _of_neighbours(rule, carried)
    rows: list[tuple[str, list[int], str, str, str, str]] = []
    said: set[str] = set()
    for label, items, same, other in made:
        if {same, other} & said:
            continue  # two labels that mean one thing: the first in the alphabet stands for both
        said |= {same, other}
        for text, kind in ((same, SAME), (other, OTHER)):
            rows.append((text, items.tolist(), kind, rule.field, part_of(label), " & ".join(label)))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def readable(dataset: Dataset) -> tuple[list[str], Bools]:
    """The labels of each item as a text would say them, [n_items], and which items carry any, [n_items].

    The texts are what a method could read if the labels were not withheld. Items without a label are no candidates:
    nothing is known of them.
    """
    rule = dataset.card.requests
    assert rule is not None, "requests from a file say nothing of labels"
    carried = _labels(dataset.name, rule, len(dataset.items), dataset.tags, dataset.fields)
    said = carried.said
    if rule.rule == "table":
        table = read_table(table_path(str(rule.words))).of()
        said = {label: (label in table and table[label].name) or text for label, text in said.items()}
    texts: list[list[str]] = [[] for _ in range(len(dataset.items))]
    for label, items in carried.items.items():
        for item in items:
            texts[item].append(said[label])
    return [", ".join(text) for text in texts], carried.labelled


def fingerprint(rule: RequestRule) -> str:
    """SHA-256 of all that makes requests of labels: the rule, this package's code, the table of words."""
    digest = hashlib.sha256(canonical_json(rule.model_dump(mode="json")).encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    if rule.words is not None:
        digest.update(table_path(rule.words).read_bytes())
    return digest.hexdigest()


def part_of(label: tuple[str, ...]) -> str:
    """Whether a label's requests validate or test: a hash of its words decides, whatever other labels there are. Of
    two labels at once, as the first; pairs across the parts are not made."""
    share = int.from_bytes(hashlib.sha256(label[0].encode()).digest()[:4], "big") / 2**32
    return "valid" if share < VALID_SHARE else "test"


def _labels(
    dataset: str, rule: RequestRule, n_items: int, tags: pl.DataFrame | None, fields: pl.DataFrame | None
) -> Labels:
    try:
        return read_labels(rule, n_items, votes(rule, n_items, tags, fields))
    except KeyError:
        known = ", ".join([*(fields.columns if fields is not None else ()), *(["tags"] if tags is not None else [])])
        raise UserError(
            f"{dataset}: the card's [requests] makes labels of the field {rule.field!r}, which its items do not have. "
            f"Known: {known or 'none'}."
        ) from None


Made = tuple[tuple[str, ...], Int32, str, str]
"""A label (or two), the items that carry it (both), the request in its words, the request in other words."""


def _of_neighbours(rule: RequestRule, carried: Labels) -> Iterator[Made]:
    """Requests in users' own words: the label, or the labels that stand near it."""
    for label, near in neighbours(carried, carried.asked_for(rule)).items():
        template = _template(label, [t for t in rule.templates if not share_a_word(t, label)])
        same, other = (template.format(", ".join(carried.said[name] for name in names)) for names in ([label], near))
        yield (label,), carried.items[label], same, other


def _of_table(rule: RequestRule, carried: Labels) -> Iterator[Made]:
    """Requests in the table's words, of one label or of two that go together."""
    table = read_table(table_path(str(rule.words)))
    words = table.of()
    most = rule.max_share * int(carried.labelled.sum())
    known = sorted(label for label in carried.items if label in words)
    pairs = [(a, b) for a in known for b in known if a < b and part_of((a,)) == part_of((b,))] if rule.pairs else []
    for label in [*((one,) for one in known), *pairs]:
        items = carried.items[label[0]]
        for other in label[1:]:
            items = np.intersect1d(items, carried.items[other])
        if rule.min_items <= len(items) <= most:
            names = table.and_named.join(words[one].name or carried.said[one] for one in label)
            others = table.and_described.join(words[one].other for one in label)
            if not any(share_a_word(others, f"{one} {words[one].name or ''}") for one in label):
                key = " ".join(label)
                same = _template(key, table.named).format(names)
                yield label, items, same, _template(key, table.frames(label)).format(others)


def _template(label: str, templates: list[str]) -> str:
    """The template that a hash of the label chooses; the bare words where none is left."""
    place = int.from_bytes(hashlib.sha256(label.encode()).digest()[4:8], "big")
    return templates[place % len(templates)] if templates else "{}"
