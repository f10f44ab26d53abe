"""Accuracy per user, from the ranks of the relevant items alone.

R(u) is the set of user u's relevant items, r_1 < r_2 < ... their ranks, and h_k(u) how many of those are at most k.
Sums run over the ranks within k. Libraries disagree about most of these; on one and the same set of lists (EASE,
MovieLens-100K, nDCG@10) the variants of nDCG below range from .24 to .56.

==============  =====================================================================================================
recall@k        h_k / |R|. RecBole, trec_eval, recommenders. Mult-VAE and its followers divide by min(|R|, k).
precision@k     h_k / k, even where a list is shorter than k. trec_eval, RecBole.
hit@k           1 if h_k > 0, else 0. Equals recall@k where a user has one relevant item.
mrr@k           1 / r_1 if r_1 <= k, else 0. Voorhees, TREC-8 (1999); RecBole, RecTools. Some sum over all hits.
ndcg@k          sum 1 / log2(r + 1) over the hits, divided by the same sum over ranks 1 .. min(|R|, k). Binary gains;
                Jarvelin & Kekalainen, TOIS 20(4), 2002, with the discount of Burges et al., ICML 2005; trec_eval's
                ndcg_cut, RecBole, cornac, Microsoft's recommenders. Ideals over all k ranks (RecTools' default) or
                over all of R give less; re-sorting the hits only (DaisyRec) gives far more.
map@k           sum over the hits of (hits up to and including r) / r, divided by min(|R|, k). RecBole, Kaggle.
                trec_eval's map_cut and recommenders' MAP divide by |R|: they give less where |R| > k.
==============  =====================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmrec.types import Int32, Int64, Targets

Values = npt.NDArray[np.float64]

NAMES = ("recall", "ndcg", "hit", "mrr", "map", "precision")
CUTOFFS = (5, 10, 20)


def per_user(ranks: Int32, targets: Targets, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, Values]:
    """Every accuracy metric at every cut-off for every user, as defined above: "ndcg@10" -> float64 [m].

    Args:
        ranks: from 1, in the order of ``targets.items``; no two of a user are equal, except for NOT_RANKED.

    A user without a relevant item has no value (NaN): leave such users out of every mean, and count them.
    """
    users, counts = len(targets), targets.counts
    owner, rank, position = _sorted_within_users(ranks, targets)

    def total(values: npt.NDArray[np.floating | np.bool_]) -> Values:
        return np.bincount(owner, weights=values, minlength=users).astype(np.float64)  # integers if there are none

    relevant = np.where(counts > 0, counts, np.nan)
    out = {}
    for k in cutoffs:
        hit = rank <= k
        hits = total(hit)
        reachable = np.minimum(relevant, k)
        out[f"recall@{k}"] = hits / relevant
        out[f"precision@{k}"] = np.where(counts > 0, hits / k, np.nan)
        out[f"hit@{k}"] = np.where(counts > 0, hits > 0, np.nan)
        out[f"mrr@{k}"] = np.where(counts > 0, total(hit * (position == 1) / rank), np.nan)
        out[f"ndcg@{k}"] = np.where(counts > 0, total(hit / np.log2(rank + 1)) / _ideal(counts, k), np.nan)
        out[f"map@{k}"] = total(hit * position / rank) / reachable
    return {f"{name}@{k}": out[f"{name}@{k}"] for name in NAMES for k in cutoffs}


def _sorted_within_users(ranks: Int32, targets: Targets) -> tuple[Int64, Values, Int64]:
    """For each relevant pair, best rank first within a user: the user's row, the rank, the position from 1."""
    owner = np.repeat(np.arange(len(targets)), targets.counts)
    order = np.lexsort((ranks, owner))
    position = np.arange(len(owner)) - np.repeat(targets.indptr[:-1], targets.counts) + 1
    return owner, ranks[order].astype(np.float64), position


def _ideal(counts: Int64, k: int) -> Values:
    """The DCG of a perfect list, float64 [m]: all of min(relevant, k) ranks hit."""
    sums = np.concatenate([[1.0], np.cumsum(1 / np.log2(np.arange(1, k + 1) + 1))])  # [0]: no relevant item, not used
    return np.asarray(sums[np.minimum(counts, k)])
