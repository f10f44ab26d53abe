"""Titles as people say them: "Matrix, The (1999)" is The Matrix, and so is "the matrix"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

YEAR = re.compile(r"\(((?:18|19|20)\d\d)\)\s*$")
ARTICLE = re.compile(r"^(.+), (the|an?|les?|la|l'|il|el|los|las|das|der|die|den|det|une?)$", re.IGNORECASE)
WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")

Words = tuple[str, ...]
"""The words of a name without case, accents and punctuation."""


@dataclass(frozen=True)
class Item:
    """What the data say of an item."""

    title: str  # as the dataset has it: "Matrix, The (1999)"
    categories: Sequence[str] = ()

    @property
    def name(self) -> str:
        return named(self.title)[0]

    @property
    def year(self) -> int | None:
        return named(self.title)[1]


def named(title: str) -> tuple[str, int | None]:
    """A title as one says it, and its year: "Matrix, The (1999)" -> ("The Matrix", 1999)."""
    found = YEAR.search(title)
    name = title[: found.start()].strip() if found else title.strip()
    if found and (moved := ARTICLE.match(name)):
        name = f"{moved[2]}{'' if moved[2].endswith(chr(39)) else ' '}{moved[1]}"
    return name, int(found[1]) if found else None


def words_of(text: str) -> Words:
    """The words of a text without case, accents and punctuation."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return tuple(word.replace("'", "").replace("\u2019", "") for word in WORD.findall(plain.replace("&", " and ")))


def names_of(title: str) -> set[Words]:
    """The ways in which a title is said: whole, without what stands in brackets or behind a colon, moved articles in
    their place, and what stands in brackets behind "a.k.a."."""
    name = named(title)[0]
    bare = re.sub(r"\s*\([^)]*\)", "", name).strip()
    told = {name, bare, re.split(r":\s| - ", bare)[0]}
    if moved := ARTICLE.match(bare):
        told.add(f"{moved[2]} {moved[1]}")
    told |= {re.sub(r"^a\.?k\.?a\.?\s*", "", inside) for inside in re.findall(r"\(([^)]*)\)", name)}
    return {words for one in told if (words := words_of(one))}


def by_name(items: Sequence[Item]) -> dict[Words, Item]:
    """Items by all the ways in which their titles are said."""
    return {words: item for item in items for words in names_of(item.title)}


def as_ours(said: str, ours: Mapping[Words, Item]) -> Words:
    """The name of ours that differs from what is said by an article at the beginning, or by what stands in brackets at
    the end; else the words as they are."""
    bare = {_without_article(name): name for name in ours}
    tries = [words_of(said), words_of(re.sub(r"\s*\([^)]*\)\s*$", "", said))]
    return next((bare[words] for one in tries if (words := _without_article(one)) in bare), tries[0])


def _without_article(words: Words) -> Words:
    return words[1:] if words[:1] in (("the",), ("a",), ("an",)) else words
