"""What the lists are like, apart from being right: coverage, concentration, novelty, diversity, popularity.

==================  =================================================================================================
coverage@k          items that stand in anyone's first k places / candidates. Ge et al., RecSys 2010; RecBole.
gini@k              Gini index of how often each candidate is recommended: 0 all equally often, 1 one item only.
                    sum_i (2 i - n - 1) c_i / (n sum c), c ascending over the n candidates, those never recommended
                    included. RecBole; Elliot divides by n - 1 and prints 1 - gini.
novelty@k           mean over a list of -log2(share of training interactions that are the item's), in bits; an item
                    that never occurs counts as if once. Castells, Vargas & Wang, DDR at ECIR 2011 (item choice);
                    Microsoft's recommenders. Zhou et al., PNAS 107(10), 2010, take the share of users instead.
popularity@k        mean over a list of the item's training interactions. RecBole's averagepopularity.
tail@k              share of a list outside the head, which is the most popular 20 % of the items in training.
                    RecBole's tailpercentage takes the least popular 10 %.
diversity_text@k    1 - mean cosine between the text embeddings of two items of a list. Ziegler et al., WWW 2005.
diversity_genre@k   1 - mean Jaccard index between the categories of two items of a list; pairs in which an item
                    has none are left out.
==================  =================================================================================================

Each but the first two is a mean within a list, then over the users whose list has what it takes (one item, or two).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from llmrec.evaluate.popularity import Popularity
from llmrec.types import NO_ITEM, Floats, Int32, Split, TopK

Values = npt.NDArray[np.float64]

CUTOFFS = (5, 10, 20)
USERS_AT_ONCE = 1024
"""Users whose items' embeddings are summed in one go."""


def list_metrics(
    topk: TopK, split: Split, categories: Sequence[Sequence[str]], embeddings: Floats | None = None
) -> dict[str, float]:
    """All of the above, at 5, 10 and 20, that the lists, the items' categories and their embeddings [n_items, d] allow.

    A metric is left out where nobody has a value: no lists, no categories, no embeddings.
    """
    popularity = Popularity.of(split)
    bits = category_bits(categories) if any(categories) else None
    unit = unit_vectors(embeddings) if embeddings is not None else None
    out = {}
    for k in (k for k in CUTOFFS if k <= topk.items.shape[1]):
        items = topk.items[:, :k]
        out[f"coverage@{k}"] = coverage(items, split.candidates) if len(items) else np.nan
        out[f"gini@{k}"] = gini(items, split.candidates)
        out[f"novelty@{k}"] = _mean(mean_in_list(items, popularity.information))
        out[f"popularity@{k}"] = _mean(mean_in_list(items, popularity.counts.astype(np.float64)))
        out[f"tail@{k}"] = _mean(mean_in_list(items, (~popularity.head).astype(np.float64)))
        if unit is not None:
            out[f"diversity_text@{k}"] = _mean(text_diversity(items, unit))
        if bits is not None:
            out[f"diversity_genre@{k}"] = _mean(genre_diversity(items, bits))
    return {name: value for name, value in out.items() if np.isfinite(value)}


def coverage(items: Int32, candidates: npt.NDArray[np.bool_]) -> float:
    """Share of the candidates that stand in any list; items int32 [m, k]."""
    return len(np.unique(items[items != NO_ITEM])) / max(1, int(candidates.sum()))


def gini(items: Int32, candidates: npt.NDArray[np.bool_]) -> float:
    """Gini index of how often each candidate is recommended; NaN if none is. items int32 [m, k]."""
    often = np.sort(np.bincount(items[items != NO_ITEM], minlength=len(candidates))[candidates])
    n, total = len(often), often.sum()
    return float(((2 * np.arange(1, n + 1) - n - 1) * often).sum() / (n * total)) if total else np.nan


def mean_in_list(items: Int32, values: Values) -> Values:
    """Mean of the items' values in each list, float64 [m]; NaN for an empty list. items int32 [m, k]."""
    filled = items != NO_ITEM
    return _ratio(np.where(filled, values[items], 0.0).sum(axis=1), filled.sum(axis=1))


def unit_vectors(embeddings: Floats) -> Floats:
    """Rows of unit length, float32 [n_items + 1, d]; zeros stay zeros, and the last row, for NO_ITEM, is zeros."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit = embeddings / np.where(norms == 0, 1, norms)
    return np.vstack([unit, np.zeros((1, unit.shape[1]))]).astype(np.float32)


def text_diversity(items: Int32, unit: Floats) -> Values:
    """1 - mean pairwise cosine in each list, float64 [m]; NaN for lists of fewer than two. items int32 [m, k].

    The sum of n unit vectors has the squared norm n + 2 (sum of the pairs' cosines), so no pair is ever formed. An
    embedding of zeros (an item without text) has cosine 0 with everything.
    """
    selves = (unit != 0).any(axis=1)[items].sum(axis=1)
    squared = np.empty(len(items))
    for start in range(0, len(items), USERS_AT_ONCE):
        some = items[start : start + USERS_AT_ONCE]
        total = np.zeros((len(some), unit.shape[1]), np.float32)
        for place in range(items.shape[1]):
            total += unit[some[:, place]]
        squared[start : start + len(some)] = np.einsum("ud,ud->u", total, total, dtype=np.float64)
    n = (items != NO_ITEM).sum(axis=1)
    return 1 - _ratio(squared - selves, n * (n - 1))


def category_bits(categories: Sequence[Sequence[str]]) -> npt.NDArray[np.uint64]:
    """Each item's set of categories as bits, uint64 [n_items + 1, words]; the last row, for NO_ITEM, is empty."""
    index = {name: place for place, name in enumerate(sorted({name for own in categories for name in own}))}
    bits = np.zeros((len(categories) + 1, -(-len(index) // 64)), np.uint64)
    for item, own in enumerate(categories):
        for name in own:
            word, bit = divmod(index[name], 64)
            bits[item, word] |= np.uint64(1 << bit)
    return bits


def genre_diversity(items: Int32, bits: npt.NDArray[np.uint64]) -> Values:
    """1 - mean pairwise Jaccard index of categories in each list, float64 [m]; items int32 [m, k].

    Pairs in which an item has no category are left out; NaN where no pair is left.
    """
    sizes = np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
    total, pairs = np.zeros(len(items)), np.zeros(len(items))
    for left, right in combinations(range(items.shape[1]), 2):
        a, b = items[:, left], items[:, right]
        shared = np.bitwise_count(bits[a] & bits[b]).sum(axis=1, dtype=np.int64)
        there = (sizes[a] > 0) & (sizes[b] > 0)
        total += np.where(there, shared / np.maximum(sizes[a] + sizes[b] - shared, 1), 0.0)
        pairs += there
    return 1 - _ratio(total, pairs)


def _ratio(above: npt.NDArray[np.floating], below: npt.NDArray[np.number]) -> Values:
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


def _mean(values: Values) -> float:
    """Mean over the users who have a value; NaN if nobody has."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else np.nan
