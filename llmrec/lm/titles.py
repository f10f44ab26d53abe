"""The titles by which items are written: each item one, no two alike, none empty, none longer than allowed.

1. Blanks are put together. An item without a title is called by its text, and without a text "untitled <raw id>".
2. Of items with one title, each gets its last category in brackets if that tells them all apart: "Emma (Audiobook)".
   Otherwise the first, by raw id, keeps the title, and the next are called "Emma (2)", "Emma (3)".
3. A title of more tokens than allowed is cut. Where that makes two alike, the first, by raw id, keeps what is left, and
   of the next so many tokens are taken away that " 2" (3, 4, ...) fits behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmrec.errors import UserError

if TYPE_CHECKING:
    from llmrec.types import Items

Encode = Callable[[list[str]], list[list[int]]]
"""Texts to their tokens."""


def unique_titles(items: Items) -> tuple[list[str], dict[str, int]]:
    """A title for each item, rules 1 and 2; how many were empty and how many shared (but for the first)."""
    raw = items.frame["raw_id"].to_list()
    given = [" ".join(title.split()) for title in items.titles]
    titles = [
        title or " ".join(text.split()) or f"untitled {name}"
        for title, text, name in zip(given, items.texts, raw, strict=True)
    ]
    last = [names[-1] if names else "" for names in items.categories]
    order = sorted(range(len(raw)), key=lambda item: raw[item])
    shared = _groups(titles, order)
    taken = set(titles)
    for same in shared:
        named = [f"{titles[item]} ({last[item]})" for item in same]
        if all(last[item] for item in same) and len(set(named)) == len(named) and not taken & set(named):
            for item, name in zip(same, named, strict=True):
                titles[item] = name
        else:
            number = 2
            for item in same[1:]:
                while (name := f"{titles[item]} ({number})") in taken:
                    number += 1
                titles[item] = name
                taken.add(name)
        taken.update(titles[item] for item in same)
    return titles, {
        "empty_titles": sum(not title for title in given),
        "shared_titles": sum(len(same) - 1 for same in shared),
    }


def _groups(values: Sequence[object], order: Sequence[int]) -> list[list[int]]:
    """Places with equal values, two or more, each group in the order given."""
    found: dict[object, list[int]] = {}
    for place in order:
        found.setdefault(values[place], []).append(place)
    return [same for same in found.values() if len(same) > 1]


def title_tokens(
    titles: Sequence[str], raw: Sequence[str], encode: Encode, *, longest: int, never: int
) -> tuple[list[list[int]], dict[str, int]]:
    """Each title's tokens, at most ``longest``, by rule 3; how many were cut, and how many of those were then numbered.

    Args:
        raw: the items' raw ids, which say who comes first.
        never: a token that no title may hold, the one that ends it; it is left out.

    Raises:
        UserError: titles cannot be told apart: ``longest`` is too short for a number, or tokens are lacking.
    """
    whole = [[token for token in tokens if token != never] for tokens in encode(list(titles))]
    cut = [tuple(tokens[:longest]) for tokens in whole]
    order = sorted(range(len(raw)), key=lambda item: raw[item])
    taken, numbered = set(cut), 0
    for same in _groups(cut, order):
        number = 2
        for item in same[1:]:
            while (made := _numbered(cut[item], number, encode, longest, titles[item])) in taken:
                number += 1
                if number > len(titles) + 2:
                    raise UserError(
                        f"title {titles[item]!r} cannot be told from another one: the tokenizer has no tokens for its "
                        "letters nor for numbers. Use another model."
                    )
            cut[item], numbered = made, numbered + 1
            taken.add(made)
    if empty := [item for item, tokens in enumerate(cut) if not tokens]:
        raise UserError(f"title {titles[empty[0]]!r} has no tokens in this model's vocabulary. Use another model.")
    counts = {"cut_titles": sum(len(tokens) > longest for tokens in whole), "numbered_titles": numbered}
    return [list(tokens) for tokens in cut], counts


def _numbered(tokens: tuple[int, ...], number: int, encode: Encode, longest: int, title: str) -> tuple[int, ...]:
    end = encode([f" {number}"])[0]
    if len(end) >= longest:
        raise UserError(
            f"title_tokens = {longest}: too few to tell {title!r} from another title that begins like it. Allow more."
        )
    return (*tokens[: longest - len(end)], *end)
