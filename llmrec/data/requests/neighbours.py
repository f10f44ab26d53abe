"""Other words for a label: the labels that most often stand on the same items, if they share no word with it."""

from __future__ import annotations

import numpy as np

from llmrec.data.requests.labels import Labels
from llmrec.data.requests.words import share_a_word

NEIGHBOURS = 3
"""Labels that stand for another one; two at least, for one alone could as well be asked for itself."""

SEEN_TOGETHER = 2
"""Items that two labels share at least."""

FEWEST_ITEMS = 3
"""Items of a label that stands for another one, at least."""


def neighbours(carried: Labels, asked: list[str]) -> dict[str, list[str]]:
    """For each label of ``asked`` the labels nearest to it by the cosine of their items, nearest first, equal ones in
    alphabetical order. None shares a content word with the label or with another neighbour; a label with fewer than two
    is left out."""
    from scipy.sparse import csr_matrix

    known = sorted(label for label, items in carried.items.items() if len(items) >= FEWEST_ITEMS)
    counts = np.array([len(carried.items[label]) for label in known])
    held = [carried.items[label] for label in known]
    indptr = np.concatenate([[0], np.cumsum(counts)])
    columns = np.concatenate([np.empty(0, np.int32), *held])
    matrix = csr_matrix((np.ones(len(columns), np.int32), columns, indptr), (len(known), len(carried.labelled)))
    place = {label: row for row, label in enumerate(known)}
    found = {}
    for label in asked:
        if label not in place:
            continue
        together = np.asarray((matrix @ matrix[place[label]].T).todense()).ravel()  # items shared with each label
        cosine = together / np.sqrt(counts * float(counts[place[label]]))
        nearest: list[str] = []
        for row in np.lexsort((np.arange(len(known)), -cosine)):
            if together[row] < SEEN_TOGETHER or len(nearest) == NEIGHBOURS:
                break
            if not any(share_a_word(known[row], other) for other in (label, *nearest)):
                nearest.append(known[row])
        if len(nearest) >= 2:
            found[label] = nearest
    return found
