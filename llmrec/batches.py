"""Texts of like length read together, so that little is padded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from llmrec.types import Int64


def in_batches(sizes: Int64, tokens: int) -> Iterator[Int64]:
    """Rows in order of size, in batches that hold at most so many tokens with their padding (one row at least)."""
    order = np.argsort(sizes, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * sizes[order[stop]] <= tokens:
            stop += 1
        yield order[start:stop]
        start = stop
