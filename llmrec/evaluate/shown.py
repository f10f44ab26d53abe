"""Accuracy per impression: was what the user clicked put before the rest of what was shown?

The four metrics of the MIND challenge (Wu et al., ACL 2020), as its evaluate.py (github.com/msnews/MIND) defines them.
C are the clicked candidates of an impression, r(c) is the rank of c among all that were shown, from 1.

=========  ==========================================================================================================
auc        share of the (clicked, not clicked) pairs in which the clicked one scores higher; ties count half
mrr        mean over ALL of C of 1 / r(c); most libraries (and mrr@k of the task topn) take the first hit only
ndcg@k     sum over C with r(c) <= k of 1 / log2(r(c) + 1), divided by the same sum over ranks 1 .. min(|C|, k)
=========  ==========================================================================================================

Ties. evaluate.py leaves tied candidates in whatever order its sort gives them. Here a rank counts every tied candidate
that was not clicked against the clicked one, as in the task topn: a constant score gets the worst mrr and ndcg that
there is, never a lucky one. Its auc is .5, for half a point for a tie is what AUC means (Mann-Whitney; scikit-learn),
and .5 is what knows nothing. ``shuffled`` gives what a random order of the tied candidates earns in the mean: how much
hangs on the rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmrec.types import Bools, Floats, Histories, Int64

Values = npt.NDArray[np.float64]

CUTOFFS = (5, 10)
METRICS = ("auc", "mrr", *(f"ndcg@{k}" for k in CUTOFFS))


@dataclass(frozen=True)
class Clicks:
    """Where the clicked candidates stand; one value a clicked candidate, int64 [clicks]."""

    at: Int64  # its place among all candidates
    row: Int64  # its impression
    above: Int64  # candidates that score higher
    tied: Int64  # candidates with its score, itself included
    rank: Int64  # from 1; tied candidates that were not clicked come first
    others_above: Int64  # candidates that were not clicked and score higher
    others_tied: Int64  # candidates that were not clicked and have its score


def place(scores: Floats, shown: Histories, clicked: Bools) -> Clicks:
    """Find every clicked candidate's place among the candidates of its impression.

    Args:
        scores: finite, [candidates], in the order of ``shown.items``; compared in their own precision.
        clicked: [candidates].
    """
    owner = shown.rows
    order = np.lexsort((-scores, owner))  # impression by impression, best first
    owner, score, click = owner[order], scores[order], clicked[order]
    change = np.ones(len(order), bool)  # where a group of equal scores begins
    change[1:] = (owner[1:] != owner[:-1]) | (score[1:] != score[:-1])
    group = np.cumsum(change) - 1
    starts = np.flatnonzero(change)
    sizes = np.diff(np.r_[starts, len(order)])
    hits = np.r_[0, np.cumsum(click)]  # clicked candidates before each place, over all impressions
    at = np.flatnonzero(click)
    mine = group[at]
    first, row = starts[mine], owner[at]
    above = first - shown.indptr[row]
    clicks_tied = hits[first + sizes[mine]] - hits[first]
    others_tied = sizes[mine] - clicks_tied
    return Clicks(
        at=order[at],
        row=row,
        above=above,
        tied=sizes[mine],
        rank=above + others_tied + hits[at] - hits[first] + 1,
        others_above=above - (hits[first] - hits[shown.indptr[row]]),
        others_tied=others_tied,
    )


def per_impression(clicks: Clicks, shown: Int64, clicked: Int64, *, shuffled: bool = False) -> dict[str, Values]:
    """The four metrics of every impression, float64 [n].

    An impression of which nothing or everything was clicked offers no choice and has no value (NaN): leave it out of
    every mean, and count it.

    Args:
        shown, clicked: how many candidates each impression has, and how many of them were clicked, [n].
        shuffled: tied candidates in random order (the expectation of it), not against the clicked ones.
    """
    some = np.where((clicked > 0) & (clicked < shown), clicked, np.nan)

    def total(values: Values) -> Values:
        return np.bincount(clicks.row, weights=values, minlength=len(shown)).astype(np.float64)

    def worth(by_rank: Values) -> Values:
        """What each click earns; ``by_rank[r]`` is for rank r, and [0] is 0."""
        if not shuffled:
            return np.asarray(by_rank[clicks.rank])
        sums = np.cumsum(by_rank)
        return np.asarray((sums[clicks.above + clicks.tied] - sums[clicks.above]) / clicks.tied)

    others = shown - clicked
    below = others[clicks.row] - clicks.others_above - clicks.others_tied / 2
    ranks = np.arange(1, max(int(shown.max(initial=0)), *CUTOFFS) + 1)
    out = {
        "auc": total(below) / (some * np.maximum(others, 1)),
        "mrr": total(worth(np.r_[0, 1 / ranks])) / some,
    }
    for k in CUTOFFS:
        gains = np.r_[0, np.where(ranks <= k, 1 / np.log2(ranks + 1), 0)]
        ideal = np.cumsum(gains)[clicked]
        out[f"ndcg@{k}"] = np.where(np.isnan(some), np.nan, total(worth(gains)) / np.where(ideal > 0, ideal, 1))
    return out
