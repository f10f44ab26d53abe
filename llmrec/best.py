"""The best of many: lists of items from scores."""

from __future__ import annotations

import numpy as np

from llmrec.types import NO_ITEM, Floats, Int32


def best(scores: Floats, items: Int32, k: int, above: float = -np.inf) -> tuple[Int32, Floats]:
    """The k best-scored items of each row, best first; equal scores in the order of ``items``.

    Args:
        scores: [b, n], one column an item of ``items`` [n].
        above: only items with a higher score are listed.

    Returns:
        ids int32 [b, k] and scores [b, k], NO_ITEM and -inf at the end of a short list: what ``search`` returns.
    """
    found = np.full((len(scores), k), NO_ITEM, np.int32)
    values = np.full((len(scores), k), -np.inf, scores.dtype)
    for row, given in enumerate(scores):
        least = np.partition(given, -k)[-k] if len(given) > k else -np.inf
        places = np.flatnonzero((given >= least) & (given > above))
        order = places[np.argsort(-given[places], kind="stable")][:k]
        found[row, : len(order)] = items[order]
        values[row, : len(order)] = given[order]
    return found, values
