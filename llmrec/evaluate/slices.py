"""Accuracy by groups of users and of items.

users:low, users:mid, users:high    thirds of the users asked, by the length of the history known when they are asked;
                                    users with equally long histories stay together
items:head, items:tail              the most popular 20 % of the items in training, and all others
items:cold                          items never seen in training (a part of the tail)

A slice of items looks at the relevant items of that group only: the user's other relevant items are neither hits nor
missed, and users without a relevant item in the group are left out. Ranks stay those among all candidates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmrec.evaluate.answers import Answers
from llmrec.evaluate.metrics import per_user
from llmrec.evaluate.popularity import Popularity
from llmrec.types import Split, Targets

CUTOFFS = (10,)


def slice_metrics(answers: Answers, split: Split) -> dict[str, dict[str, float]]:
    """Each slice's accuracy at 10, with its "targets" and "users": {"items:tail": {"ndcg@10": ..., "targets": 312}}.

    A slice in which nobody has a relevant item has the two counts only.
    """
    targets = answers.targets
    owner = np.repeat(np.arange(len(targets)), targets.counts)
    users = {f"users:{name}": group[owner] for name, group in activity(answers, split).items()}
    popularity = Popularity.of(split)
    groups = {"head": popularity.head, "tail": ~popularity.head, "cold": popularity.cold}
    items = {f"items:{name}": group[targets.items] for name, group in groups.items()}
    return {name: _accuracy(answers, owner, pairs) for name, pairs in {**users, **items}.items()}


def activity(answers: Answers, split: Split) -> dict[str, npt.NDArray[np.bool_]]:
    """Users asked, by thirds of history length: low, mid, high, each bool [m]."""
    lengths = split.known(answers.part).histories.lengths[answers.targets.users]
    if not len(lengths):
        return {name: np.zeros(0, bool) for name in ("low", "mid", "high")}
    low, high = np.quantile(lengths, [1 / 3, 2 / 3], method="lower")
    return {"low": lengths <= low, "mid": (lengths > low) & (lengths <= high), "high": lengths > high}


def _accuracy(answers: Answers, owner: npt.NDArray[np.int64], pairs: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Mean accuracy when only the marked relevant pairs, bool [pairs], count."""
    counts = np.bincount(owner[pairs], minlength=len(answers.targets))
    there = counts > 0
    sizes = {"targets": float(pairs.sum()), "users": float(there.sum())}
    if not pairs.any():
        return sizes
    indptr = np.concatenate([[0], np.cumsum(counts[there])])
    targets = Targets(answers.targets.users[there], indptr, answers.targets.items[pairs])
    values = per_user(answers.ranks[pairs], targets, CUTOFFS)
    return {**{name: float(value.mean()) for name, value in values.items()}, **sizes}
