"""What counts as a word of a request, and when two texts share one: strict, so that "no shared word" can be trusted."""

from __future__ import annotations

import re
import unicodedata

_ENGLISH = (
    "a about all an and are as at be both but by for from has have i in into is it its like me my not of on or our out "
    "some something such than that the their them there these they this to too two very want was we were what when "
    "where which who with you your"
)
_CHINESE = "的了和與与及或在有是我你他她們们想要看一個个篇些關关於于這这那不以也都等中上下之對对到為为給给請请找"
STOP = frozenset(_ENGLISH.split()) | frozenset(_CHINESE)
"""Words (and Chinese characters) that say nothing about an item."""

_WORD = re.compile(r"[^\W_]+")
_IDEOGRAPH = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order; plurals lose their s. Of Chinese every character is a word."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'").replace("'s", "").replace("'", "")
    return [_singular(word) for word in _WORD.findall(_IDEOGRAPH.sub(r" \g<0> ", text))]


def content_words(text: str) -> list[str]:
    """The words of a text that say something."""
    return [word for word in words(text) if word not in STOP]


def share_a_word(a: str, b: str) -> bool:
    """Whether two texts have a content word in common, endings and compounds included: "robots" and "robotic", "rock"
    and "rockabilly", "pop" and "synthpop" are in common; "psychology" and "psychedelic" are not."""
    return any(_alike(x, y) for x in content_words(a) for y in content_words(b))


def _alike(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    if short == long:
        return True
    if len(short) >= 3 and (long.startswith(short) or long.endswith(short)):
        return True
    common = next((n for n, (x, y) in enumerate(zip(short, long, strict=False)) if x != y), len(short))
    return common >= 4 and 2 * common >= len(long)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
