"""Windows that end early, so that every item of a history comes to be its last.

A model that hides items at random learns to fill gaps, with what came before and after; asked, it has what came before
alone. A window that is cut at a random place and hides its last item trains for that question at every item, where
hiding the last of whole histories asks for the same few items again and again. (RecBole's and others' training on all
prefixes of a history, Tan et al., "Improved Recurrent Neural Networks for Session-based Recommendations", DLRS 2016,
drawn anew in each epoch in place of written out.)
"""

from __future__ import annotations

import numpy as np

from llmrec.types import NO_ITEM, Bools, Int64


def crop(items: Int64, share: float, rng: np.random.Generator) -> tuple[Int64, Bools]:
    """Cut a share of windows [b, t], padded on the right with -1, behind a random item, the second at the earliest.

    Returns:
        the windows [b, t] and which of them were drawn, bool [b].
    """
    sizes = (items != NO_ITEM).sum(axis=1)
    drawn = rng.random(len(items)) < share
    ends = np.where(drawn & (sizes > 2), rng.integers(2, np.maximum(sizes, 2) + 1), sizes)
    return np.where(np.arange(items.shape[1]) < ends[:, None], items, NO_ITEM), drawn
