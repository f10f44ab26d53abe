"""What a language model is asked about a user and some candidates, in words.

The templates of the history are those of LLMRank (Hou et al., ECIR 2024, section 3.1), and one that is no sentence but
a list which goes on, for models that were never taught to follow instructions.

    list        Movies watched, in order: 1. Heat 2. Casino 3.
    sequential  I've watched the following movies in the past, in order: 1. Heat 2. Casino
    recency     ... Note that my most recently watched movie is Casino.
    in-context  If I've watched the following movies in the past, in order: 1. Heat, then you should recommend Casino to
                me, and now that I've watched Casino, ...

A question is kept in two pieces, what is said of the user and what is asked, so that the first is read once for all
candidates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llmrec.errors import UserError, nearest

TEMPLATES = ("list", "sequential", "recency", "in-context")
YES_NO = ("Yes", "No")
A_B = ("A", "B")


@dataclass(frozen=True)
class Shot:
    """An example for the prompt: what a training user had taken, what came next, and what did not."""

    history: Sequence[str]
    next: str
    other: str


@dataclass(frozen=True)
class Wording:
    """How users and items are spoken of."""

    template: str = "sequential"
    thing: str = "movie"  # what an item is
    did: str = "watched"  # what users did with it
    things: str = ""  # its plural; "": with an s

    def __post_init__(self) -> None:
        if self.template not in TEMPLATES:
            raise UserError(f"template {self.template!r} is unknown.{nearest(self.template, TEMPLATES)}")

    @property
    def many(self) -> str:
        return self.things or f"{self.thing}s"

    def history(self, titles: Sequence[str]) -> str:
        """What is said of a user; '' of one of whom nothing is known."""
        if not titles:
            return ""
        if self.template == "list":
            return f"{self.many.capitalize()} {self.did}, in order:\n{_numbered(titles)}\n"
        said = f"I've {self.did} the following {self.many} in the past, in order:\n"
        if self.template == "in-context" and len(titles) > 1:
            return (
                f"If {said}{_numbered(titles[:-1])}\nthen you should recommend {titles[-1]} to me, and now that I've "
                f"{self.did} {titles[-1]}, then:\n"
            )
        said += f"{_numbered(titles)}\n"
        if self.template == "recency":
            said += f"Note that my most recently {self.did} {self.thing} is {titles[-1]}.\n"
        return said

    def next(self, titles: Sequence[str]) -> str:
        """What a title follows, after a blank: the prompt of ``likelihood``."""
        if self.template == "list":
            opening = self.history(titles) or f"{self.many.capitalize()} {self.did}, in order:\n"
            return f"{opening}{len(titles) + 1}."
        return f"{self.history(titles)}The next {self.thing} you should recommend to me is:"

    def whether(self, title: str) -> str:
        """The question of ``yes-no`` after the history; ``Yes`` or ``No`` follows after a blank."""
        return f"Would I like the {self.thing} {title}? Answer Yes or No.\nAnswer:"

    def which(self, a: str, b: str) -> str:
        """The question of ``pairwise`` after the history; ``A`` or ``B`` follows after a blank."""
        return (
            f"Which of these two {self.many} would I like more as the next one?\nA: {a}\nB: {b}\n"
            "Answer A or B.\nAnswer:"
        )

    def ranking(self, titles: Sequence[str]) -> str:
        """The question of ``list`` after the history."""
        return (
            f"Now there are {len(titles)} candidate {self.many} that I could take next:\n{_numbered(titles)}\n"
            f"Please rank these {len(titles)} {self.many} by how likely I would like each of them as the next one, the "
            "most likely first. Think of my history. Write one line for each, with its number and its title as given "
            "above, and nothing else."
        )

    def shown(self, shots: Sequence[Shot], scoring: str) -> str:
        """Examples that go before a prompt. Of those for ``yes-no`` every other one is answered No."""
        told = []
        for place, shot in enumerate(shots):
            if scoring == "likelihood":
                told.append(f"{self.next(shot.history)} {shot.next}\n\n")
                continue
            item, answer = (shot.next, YES_NO[0]) if place % 2 == 0 else (shot.other, YES_NO[1])
            told.append(f"{self.history(shot.history)}{self.whether(item)} {answer}\n\n")
        return "".join(told)


def _numbered(titles: Sequence[str]) -> str:
    return "\n".join(f"{place}. {title}" for place, title in enumerate(titles, 1))


@dataclass(frozen=True)
class Ranking:
    """What of a written ranking could be read."""

    places: list[int]  # of the candidates as shown, best first, none twice
    repeated: int  # lines that name an item again
    unknown: int  # lines that name none of the candidates
    lines: int


LINE = re.compile(r"^[\s\-*\u2022\[(]*(?:(\d+)\s*[.):\]]*)?[\s*]*(.*?)[\s*]*$")
"""A bullet, a number in any brackets, and the rest of a line."""


def read_ranking(text: str, titles: Sequence[str]) -> Ranking:
    """The order in which a reply names the candidates. A line counts by the title in it, whatever number it has (models
    number lines anew); a line without a known title counts by its number alone if nothing else stands in it."""
    by_title: dict[str, list[int]] = {}
    for place, title in enumerate(titles):
        by_title.setdefault(_plain(title), []).append(place)
    found: list[int] = []
    repeated = unknown = 0
    lines = [line for line in text.splitlines() if line.strip()]
    for line in lines:
        match = LINE.match(line)
        number, rest = match.groups() if match else (None, line)
        named = by_title.get(_plain(line)) or by_title.get(_plain(rest)) or _within(_plain(rest), by_title)
        if named is None and number and not rest.strip() and 1 <= int(number) <= len(titles):
            named = [int(number) - 1]
        if named is None:
            unknown += 1
        elif left := [place for place in named if place not in found]:
            found.append(left[0])
        else:
            repeated += 1
    return Ranking(found, repeated, unknown, len(lines))


def _within(line: str, by_title: dict[str, list[int]]) -> list[int] | None:
    """The longest title that a line contains as whole words: "heat, a thriller" names "heat"."""
    inside = [title for title in by_title if title and f" {title} " in f" {line} "]
    return by_title[max(inside, key=len)] if inside else None


def _plain(text: str) -> str:
    """Lower case, letters and digits of any script only, single blanks."""
    return " ".join(re.findall(r"\w+", text.casefold()))
