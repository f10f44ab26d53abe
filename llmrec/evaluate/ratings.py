"""Metrics of predicted ratings: r is a rating that was given, p the prediction; both in the units of the ratings.

==========  ==========================================================================================================
rmse        sqrt(mean of (p - r)^2) over all pairs; lower is better. Herlocker et al., Evaluating Collaborative
            Filtering Recommender Systems, TOIS 22(1), 2004; scikit-learn's root_mean_squared_error, Surprise. Some
            average the users' own values instead (LensKit offers both), which is another number: see `per_user`.
mae         mean of |p - r| over all pairs; lower is better. Herlocker et al. 2004; scikit-learn's mean_absolute_error.
auc         share of the pairs of one liked and one other rating (r >= the card's ``liked``, and r below it) in which
            the liked one has the higher prediction, a tie counting one half; over all users' ratings together. Higher
            is better. Hanley & McNeil, Radiology 143(1), 1982; the Mann-Whitney statistic; scikit-learn's
            roc_auc_score. Much of it is who rates high and what is rated high, for it compares across users.
user_auc    the same within each user, averaged over the users who gave ratings of both kinds: a constant for each user
            is worth one half. Zhu et al., Optimized Cost per Click in Taobao Display Advertising, KDD 2017, weight
            users by their impressions (GAUC); here every user counts alike, as in `topn`.
==========  ==========================================================================================================
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmrec.types import Bools, Int64

Values = npt.NDArray[np.float64]


def rmse(given: Values, predicted: Values) -> float:
    """Root of the mean squared error over pairs, as defined above; both [n], n > 0."""
    return float(np.sqrt(np.mean((predicted - given) ** 2)))


def mae(given: Values, predicted: Values) -> float:
    """Mean absolute error over pairs, as defined above; both [n], n > 0."""
    return float(np.mean(np.abs(predicted - given)))


def auc(liked: Bools, predicted: Values) -> float:
    """The AUC of liked over all pairs, as defined above; NaN where all pairs are of one kind."""
    return float(grouped_auc(np.zeros(len(liked), np.int64), liked, predicted, 1)[0])


def per_user(owner: Int64, given: Values, predicted: Values, users: int) -> dict[str, Values]:
    """Each user's own "rmse" and "mae", float64 [users]; NaN for a user without a pair.

    ``owner`` is the user's row for every pair. The mean of the users' mae, weighted by their pairs, is the mae over all
    pairs; for the rmse this holds for its square.
    """
    pairs = np.bincount(owner, minlength=users).astype(np.float64)
    pairs[pairs == 0] = np.nan
    error = predicted - given
    return {
        "rmse": np.sqrt(np.bincount(owner, error**2, users) / pairs),
        "mae": np.bincount(owner, np.abs(error), users) / pairs,
    }


def grouped_auc(group: Int64, liked: Bools, predicted: Values, groups: int) -> Values:
    """The AUC of liked within each group of pairs, float64 [groups]; NaN for a group with pairs of one kind only.

    With mean ranks for ties: (sum of the liked pairs' ranks - m (m + 1) / 2) / (m n) for m liked and n other pairs.
    """
    if not len(group):
        return np.full(groups, np.nan)
    order = np.lexsort((predicted, group))
    group, liked, predicted = group[order], liked[order], predicted[order]
    first = np.flatnonzero(np.r_[True, (group[1:] != group[:-1]) | (predicted[1:] != predicted[:-1])])  # of each tie
    length = np.diff(np.r_[first, len(group)])
    begin = np.searchsorted(group, np.arange(groups))  # of each group
    rank = np.repeat(first + (length + 1) / 2, length) - begin[group]
    m, n = (np.bincount(group, kind, groups) for kind in (liked, ~liked))
    above = np.bincount(group, np.where(liked, rank, 0.0), groups) - m * (m + 1) / 2
    area: Values = np.divide(above, m * n, out=np.full(groups, np.nan), where=m * n > 0)
    return area
