"""What texts are cut into for counting: words, or characters where a script puts no spaces between words."""

from __future__ import annotations

import re
from collections.abc import Sequence

UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Letters of scripts without spaces: Thai, Lao, Burmese, Khmer, kana, Chinese characters."""


def analyzer_for(texts: Sequence[str]) -> str:
    """ "char" if more than half of the texts' letters are of scripts that put no spaces between words, else "word"."""
    letters = sum(char.isalpha() for text in texts for char in text)
    return "char" if 2 * sum(len(UNSPACED.findall(text)) for text in texts) > letters else "word"
