"""The catalogue: items and users without text, titles that are (nearly) alike, agreement with a second source."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llmrec.audit.findings import Finding
from llmrec.data import Card, Dataset
from llmrec.data.fetch import obtain
from llmrec.data.readers import Given, read

ALIKE = 0.9
"""Cosine of character trigrams from which two titles count as nearly alike."""

TOO_COMMON = 0.05
"""Trigrams in more than this share of the titles tell nothing apart and cost the most."""

ROWS = 512  # titles compared with all others at a time


def catalogue_findings(dataset: Dataset) -> list[Finding]:
    """Text, near-duplicates, and the second source where the card carries one."""
    texts, titles = dataset.items.texts, dataset.items.titles
    empty = np.array([not text.strip() for text in texts], bool)
    user, item = dataset.interactions.user, dataset.interactions.item
    active, readable = np.unique(user), np.unique(user[~empty[item]])
    same = duplicates(titles)
    alike = near_duplicates(titles)
    return [
        Finding(
            "catalogue", "items without text", int(empty.sum()), len(texts),
            why="content and language models know nothing of them",
        ),
        Finding(
            "catalogue", "users all of whose items are without text", len(active) - len(readable), len(active),
            why="content and language models know nothing of them",
        ),
        Finding(
            "catalogue", "items that share their title with another (case and punctuation aside)",
            sum(map(len, same)), len(titles), why="a model that writes titles cannot tell them apart",
            examples=tuple(titles[group[0]] for group in same[:3]),
        ),
        Finding(
            "catalogue", f"items with a nearly equal title (trigram cosine at least {ALIKE})",
            len({i for pair in alike for i in pair}), len(titles),
            why="other editions of one thing: one is a hit, the other a miss",
            examples=tuple(f"{titles[a]} / {titles[b]}" for a, b in alike[:3]),
        ),
        *_second_source(dataset),
    ]  # fmt: skip


def normal(title: str) -> str:
    """A title without case, punctuation, accents and doubled blanks."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", title.casefold()) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\W_]+", " ", plain).split())


def duplicates(titles: Sequence[str]) -> list[list[int]]:
    """Groups of items whose titles are equal once normal, each of two or more; empty titles are no titles."""
    groups: dict[str, list[int]] = {}
    for item, title in enumerate(titles):
        if key := normal(title):
            groups.setdefault(key, []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def near_duplicates(titles: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of items (a < b) whose titles differ once normal, but share nearly all character trigrams."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    plain = [normal(title) for title in titles]
    common = max(2, int(TOO_COMMON * len(plain)))
    try:
        vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), max_df=common, dtype=np.float32)
        rows = vectors.fit_transform(plain)
    except ValueError:  # no title, or none with a trigram of its own
        return []
    found = []
    for a, b in _close_pairs(rows):
        if plain[a] != plain[b]:
            found.append((a, b))
    return found


def _close_pairs(rows: npt.ArrayLike) -> Iterator[tuple[int, int]]:
    """Pairs a < b of unit rows (sparse) with a cosine of at least `ALIKE`, a block of rows at a time."""
    n = rows.shape[0]  # type: ignore[union-attr]
    for start in range(0, n, ROWS):
        block = (rows[start : start + ROWS] @ rows.T).tocoo()  # type: ignore[index,union-attr]
        kept = (block.data >= ALIKE) & (block.row + start < block.col)
        yield from zip((block.row[kept] + start).tolist(), block.col[kept].tolist(), strict=True)


def _second_source(dataset: Dataset) -> list[Finding]:
    """Whether titles belong to their ids: items whose title a second source gives otherwise."""
    other = second_titles(dataset.card)
    if not other or dataset.fields is None:
        return []
    ours = dataset.fields.select("raw_id", "title").iter_rows()
    pairs = [(title, other[raw_id]) for raw_id, title in ours if title and other.get(raw_id)]
    wrong = [(a, b) for a, b in pairs if not agree(a, b)]
    return [
        Finding(
            "catalogue", "items whose title disagrees with the second source", len(wrong), len(pairs),
            why="texts that belong to other ids make language models look bad",
            examples=tuple(f"{a} / {b}" for a, b in wrong[:3]),
        )
    ]  # fmt: skip


def second_titles(card: Card) -> dict[str, str]:
    """Raw id -> title by the card's second source; {} where it names none."""
    if not any(source.crosscheck for source in card.sources):
        return {}
    source, found = obtain(card)
    tables = [read("items", Given.of(file, found)) for file in source.crosscheck]
    return {raw_id: title for table in tables for raw_id, title in table.select("raw_id", "title").iter_rows()}


def agree(a: str, b: str) -> bool:
    """Whether two titles name the same thing: one holds the words of the other (a shortened title), or half of them are
    shared."""
    one, other = set(normal(a).split()), set(normal(b).split())
    return bool(one & other) and len(one & other) >= min(len(one), len(other)) / 2
