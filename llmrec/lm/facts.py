"""What a sentence about a recommended item states, as far as the data can tell whether it is so.

    title     a title of the catalogue, or a quoted name: true iff it is the item's or that of an item the user liked
    category  a genre or label of the catalogue: true iff the item has it
    year      a year or a decade ("the 1990s"): true iff the item is of it; nothing where the item's is not known
              (both of the title of ours that was named last, else of the recommended item)
    liked     a title behind "because you liked" and the like: true iff the user liked it

Strict on purpose: a comparison with a third item ("much like Alien") is false, for nothing that the sentence was
written from backs it. What is said twice counts once. An item's own title is a fact, if a cheap one, so that figures
are given by kind.

What is not checked: opinions, plots, people, moods, whether the item answers the request; a category beside "you
liked", which is about the user. Negations are not understood: "not a comedy" reads as "comedy". Titles and labels are
found by words with spaces between them: in Chinese and Japanese only what stands in quotation marks is.

Precision comes before recall. A word that is also a title ("Heat", "Her") counts as one only in quotation marks, or
where it is the item's or a liked one's and begins with a capital; a third item's title without quotation marks has to
have two words with capitals. A label counts where it is said of the item: in front of a word for a thing ("a war
film"), with an article ("a comedy"), in brackets, in a row with one that counts, or with its capital within a
sentence; words that are labels and things ("a war", "action") not with an article alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmrec.lm.names import WORD, YEAR, Item, Words, as_ours, by_name, named, names_of, words_of

Kind = Literal["title", "category", "year", "liked"]
KINDS: tuple[Kind, ...] = ("title", "category", "year", "liked")

QUOTED = re.compile(
    r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|「([^」]+)」|《([^》]+)》|(?<!\w)['\u2018]([^'\u2018\u2019]+(?:['\u2019]\w[^'\u2018\u2019]*)*)['\u2019](?!\w)"
)
DATED = re.compile(r"(?<![\w$€£.,])(?:((?:18|19|20)\d\d)('?s)?|['\u2019]([1-9]0)s)(?!\w)")
LIKED = re.compile(
    r"\b(?:you|users?)(?:['\u2019]ve| have| has| also| really| previously)* "
    r"(?:like|love|enjoy|watch|rate|listen)(?:e?d|s)?\b"
    r"|\b(?:your|user['\u2019]s) (?:love|liking|enjoyment) (?:of|for)\b",
    re.IGNORECASE,
)
CLAUSE_END = re.compile(
    r"[;.!?](?=\s|$)"
    r"|,(?!\s*(?:and |or )?\x01+(?!\x01|\s+(?:is|was|are|will|would|can|may|might|should|has|fits|offers|seems)\b))"
)
"""A comma ends a clause unless a quoted name follows (written as \\x01) that is not what a new clause speaks of."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


THINGS = _set(
    "fiction tale anime film films movie movies picture genre genres story stories flick music song songs track tracks "
    "artist artists band bands album albums act singer book books novel novels series show product products "
    "title titles news article articles piece element elements theme themes fan fans category categories classic"
)
"""Words that make a label of what stands before them."""

BOTH = _set(
    "action adventure animation art beauty business children crime family food health history horror love "
    "money nature news politics science sport sports travel war weather world"
)
"""Labels that are also things: "a war" is no war film."""

ALIASES: Mapping[str, tuple[str, ...]] = {
    "sci-fi": ("science fiction", "science-fiction", "scifi"),
    "film-noir": ("noir",),
    "children": ("children's", "childrens"),
    "romance": ("romantic",),
    "animation": ("animated",),
    "musical": ("musicals",),
}
"""Other words for a label, where they say just that of a film."""

SMALL = _set("a an and at by de for from in la le of on or the to with")


@dataclass(frozen=True)
class Fact:
    """One thing stated."""

    kind: Kind
    said: str  # as the sentence has it
    true: bool
    of: str = ""  # the title of the item of ours that it is about


@dataclass(frozen=True)
class Known:
    """A recommended item, what the user is known to like, and what was asked for."""

    item: Item
    liked: Sequence[Item] = ()
    request: str = ""  # its words in quotation marks are no names


@dataclass
class Checker:
    """Finds a catalogue's titles and labels in sentences.

    Args:
        titles: of all items.
        labels: categories of all items.
    """

    titles: Sequence[str]
    labels: Sequence[str]
    catalogue: dict[Words, None] = field(init=False)
    said_as: dict[Words, str] = field(init=False)  # words -> label

    def __post_init__(self) -> None:
        self.catalogue = dict.fromkeys(words for title in self.titles if (words := words_of(named(title)[0])))
        self.said_as = {}
        for label in sorted(set(self.labels)):
            for form in (label, *ALIASES.get(label.casefold(), ())):
                words = words_of(form)
                for last in _numbers(words[-1]) if words else ():
                    self.said_as.setdefault((*words[:-1], last), label)

    def facts(self, sentence: str, known: Known) -> list[Fact]:
        """What a sentence states of an item and a user, in the order of `KINDS`."""
        clauses = list(_liked_clauses(sentence))
        own, liked = names_of(known.item.title), by_name(known.liked)
        ours = {**liked, **dict.fromkeys(own, known.item)}
        found: list[Fact] = []
        taken: list[tuple[int, int]] = []  # places that are titles or quoted: nothing else is read there
        subjects: list[tuple[int, Item]] = [(0, known.item)]  # from where on which item is spoken of
        for start, end, words, quoted in self._mentions(sentence, set(ours)):
            said = sentence[start:end]
            taken.append((start, end))
            if quoted and words not in ours and _no_name(said, words, known.request):
                continue
            said = said.strip(" ,.;:!?")
            if quoted and words not in ours and words not in self.catalogue:
                words = as_ours(sentence[start:end], ours)
            if quoted and words in self.said_as and words not in self.catalogue and words not in ours:
                found.append(Fact("category", said, self.said_as[words] in known.item.categories, known.item.title))
            else:
                kind: Kind = "liked" if any(a <= start < b for a, b in clauses) else "title"
                true = words in (liked if kind == "liked" else ours)
                found.append(Fact(kind, said, true, ours[words].title if words in ours else ""))
            subjects.append((start, ours.get(words, known.item)))
        subjects += [(end, known.item) for _, end in clauses]
        subjects.sort(key=lambda one: one[0])

        def spoken_of(place: int) -> Item:
            return [item for start, item in subjects if start <= place][-1]

        rest = _blanked(sentence, taken)
        for said, place, meant in _years(rest):
            item = spoken_of(place)
            if item.year is not None:
                found.append(Fact("year", said, item.year in meant, item.title))
        seen: set[tuple[str, str]] = set()
        for said, place, label in self._labels(_blanked(rest, clauses)):
            item = spoken_of(place)
            if (label, item.title) not in seen:
                seen.add((label, item.title))
                found.append(Fact("category", said, label in item.categories, item.title))
        return sorted(dict.fromkeys(found), key=lambda fact: KINDS.index(fact.kind))

    def _mentions(self, sentence: str, ours: set[Words]) -> Iterator[tuple[int, int, Words, bool]]:
        """Places of names: quoted ones, then the longest titles among the words outside of quotation marks."""
        quoted = [match.span() for match in QUOTED.finditer(sentence)]
        for start, end in quoted:
            for first, behind in self._listed(sentence, start + 1, end - 1):
                if words := words_of(YEAR.sub("", sentence[first:behind].strip(" ,.;:!?"))):
                    yield first, behind, words, True
        outside = _blanked(sentence, quoted)
        tokens = [(match.start(), match.end(), match[0]) for match in WORD.finditer(outside)]
        at = 0
        while at < len(tokens):
            for length in range(min(12, len(tokens) - at), 0, -1):
                some = tokens[at : at + length]
                words = words_of(outside[some[0][0] : some[-1][1]])
                if (words in ours and _is_name(some)) or (words in self.catalogue and _stands_out(some)):
                    if not _goes_on(outside, tokens[at + length - 1 : at + length + 1]):
                        yield some[0][0], some[-1][1], words, False
                    at += length - 1
                    break
            at += 1

    def _listed(self, sentence: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The names between two quotation marks: one, or several with semicolons between them."""
        if ";" in sentence[start:end] and words_of(sentence[start:end]) not in self.catalogue:
            for match in re.finditer(r"[^;]+", sentence[start:end]):
                yield start + match.start(), start + match.end()
        else:
            yield start, end

    def _labels(self, sentence: str) -> Iterator[tuple[str, int, str]]:
        """Labels that are said of an item: as said, where, and as the data have them."""
        tokens = [(match.start(), match.end(), match[0]) for match in WORD.finditer(sentence)]
        runs: list[tuple[int, int, str]] = []  # first token, token behind the last, label
        at = 0
        while at < len(tokens):
            for length in range(min(4, len(tokens) - at), 0, -1):
                some = tokens[at : at + length]
                if label := self.said_as.get(words_of(sentence[some[0][0] : some[-1][1]])):
                    runs.append((at, at + length, label))
                    at += length - 1
                    break
            at += 1
        counts = [_of_the_item(sentence, tokens, first, behind) for first, behind, _ in runs]
        for _ in runs:  # a row of labels counts as a whole: "action, crime and war films"
            for i in range(len(runs) - 1):
                between = sentence[tokens[runs[i][1] - 1][1] : tokens[runs[i + 1][0]][0]]
                if re.fullmatch(r"[\s,/&-]*(?:and|or)?[\s-]*", between):
                    counts[i] = counts[i + 1] = counts[i] or counts[i + 1]
        for (first, behind, label), counted in zip(runs, counts, strict=True):
            if counted:
                yield sentence[tokens[first][0] : tokens[behind - 1][1]], tokens[first][0], label


Token = tuple[int, int, str]


def _liked_clauses(sentence: str) -> Iterator[tuple[int, int]]:
    """Where a sentence speaks of what the user liked: from the words for it to the end of the clause."""
    hidden = _blanked(sentence, [match.span() for match in QUOTED.finditer(sentence)], "\x01")
    for match in LIKED.finditer(hidden):
        end = CLAUSE_END.search(hidden, match.end())
        yield match.start(), end.start() if end else len(sentence)


def _years(sentence: str) -> Iterator[tuple[str, int, Sequence[int]]]:
    """Years and decades: as said, where, and the years that are meant."""
    for match in DATED.finditer(sentence):
        first = int(match[1] or f"19{match[3]}")
        meant = range(first, first + (1 if match[1] and not match[2] else 10))
        if match[3]:  # "the '90s", of whichever century
            yield match[0], match.start(), [year + 100 * century for century in (-1, 0, 1) for year in meant]
        else:
            yield match[0], match.start(), meant


def _no_name(said: str, words: Words, request: str) -> bool:
    """Whether a quoted text is no name: words of the request, or words in small letters."""
    asked = f" {' '.join(words_of(request))} "
    return f" {' '.join(words)} " in asked or not any(c.isupper() or c.isdigit() or ord(c) > 0x2E80 for c in said)


def _is_name(some: Sequence[Token]) -> bool:
    """Whether the words of a title of ours are meant as one: its first and longer words have capitals or are digits."""
    big = [word for _, _, word in some if word.lower() not in SMALL]
    return bool(big) and all(not word[0].islower() for word in big)


def _stands_out(some: Sequence[Token]) -> bool:
    """Whether the words are a name, whatever is known of it: at least two of them have capitals."""
    big = [word for _, _, word in some if word.lower() not in SMALL]
    return _is_name(some) and sum(word[0].isupper() for word in big) >= 2


def _goes_on(sentence: str, tokens: Sequence[Token]) -> bool:
    """Whether a name seems longer than the title found in it: "Toy Story 2", "The Matrix Reloaded"."""
    if len(tokens) < 2:
        return False
    (_, end, _), (start, _, word) = tokens
    return sentence[end:start] == " " and (word[0].isupper() or (word.isdigit() and len(word) < 3))


def _of_the_item(sentence: str, tokens: Sequence[Token], first: int, behind: int) -> bool:
    """Whether the label at these words is said of an item."""
    word = tokens[first][2]
    ahead = sentence[: tokens[first][0]]
    begins = not ahead.strip(" \"'(")
    if ahead.endswith("(") or (word[0].isupper() and not begins):
        return True
    following = tokens[behind][2].lower() if behind < len(tokens) else ""
    if following in THINGS and sentence[tokens[behind - 1][1] : tokens[behind][0]].strip() in ("", "-"):
        return True
    if tokens[behind - 1][2].lower() in BOTH or words_of(tokens[behind - 1][2])[0] in ("romantic", "animated"):
        return False
    before = [text.lower() for _, _, text in tokens[max(0, first - 3) : first]]
    return any(article in before for article in ("a", "an", "this"))


def _numbers(word: str) -> tuple[str, ...]:
    """A word in the singular and the plural."""
    return (word, f"{word[:-1]}ies" if word.endswith("y") else f"{word}s")


def _blanked(text: str, spans: Sequence[tuple[int, int]], by: str = "\0") -> str:
    """The text with some places overwritten, its length unchanged."""
    out = list(text)
    for start, end in spans:
        out[start:end] = by * (end - start)
    return "".join(out)
