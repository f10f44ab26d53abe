"""Metrics of impressions on whatever hypothesis makes up: a slow, obvious reference, and what must not matter."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.evaluate.shown import METRICS, per_impression, place
from llmrec.types import Histories

candidates = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=14)
logs = st.lists(candidates, min_size=1, max_size=6)  # scores from -3 to 3: most of them tie


def flat(log):
    shown = Histories(np.cumsum([0, *map(len, log)]), np.zeros(sum(map(len, log)), np.int32), 1)
    scores, clicked = (np.array([pair[side] for some in log for pair in some]) for side in (0, 1))
    return shown, scores.astype(np.float64), clicked.astype(bool)


def measured(shown, scores, clicked, **how):
    counts = np.bincount(shown.rows[clicked], minlength=len(shown))
    return per_impression(place(scores, shown, clicked), shown.lengths, counts, **how)


def reference(some):
    """One impression, by loops: (auc, mrr, ndcg@5, ndcg@10), or None where there is no choice."""
    hits, rest = [s for s, c in some if c], [s for s, c in some if not c]
    if not hits or not rest:
        return None
    wins = sum((h > r) + (h == r) / 2 for h in hits for r in rest) / (len(hits) * len(rest))
    falling = sorted(some, key=lambda pair: (-pair[0], pair[1]))  # of equal scores the clicked ones come last
    ranks = [rank for rank, (_, c) in enumerate(falling, 1) if c]

    def ndcg(k):
        ideal = sum(1 / np.log2(r + 1) for r in range(1, min(k, len(hits)) + 1))
        return sum(1 / np.log2(r + 1) for r in ranks if r <= k) / ideal

    return wins, sum(1 / r for r in ranks) / len(ranks), ndcg(5), ndcg(10)


@given(logs)
@settings(max_examples=150, deadline=None)
def test_equal_to_loops(log):
    values = measured(*flat(log))
    for row, some in enumerate(log):
        expected = reference(some)
        found = [values[name][row] for name in METRICS]
        assert np.isnan(found).all() if expected is None else np.allclose(found, expected, atol=1e-12)


@given(logs, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_neither_order_nor_scale_matters(log, random):
    values = measured(*flat(log))
    shuffled = [random.sample(some, len(some)) for some in log]
    shown, scores, clicked = flat(shuffled)
    for same in (scores, 1000 * scores + 7, np.exp(scores), scores.astype(np.float32)):
        for name, value in measured(shown, same, clicked).items():
            np.testing.assert_allclose(value, values[name], atol=1e-12)


@given(logs)
@settings(max_examples=60, deadline=None)
def test_the_rule_for_ties_never_flatters(log):
    shown, scores, clicked = flat(log)
    values, shuffled = measured(shown, scores, clicked), measured(shown, scores, clicked, shuffled=True)
    there = ~np.isnan(values["auc"])
    for name in METRICS:
        assert (values[name][there] <= shuffled[name][there] + 1e-12).all()
        assert ((values[name][there] >= 0) & (values[name][there] <= 1 + 1e-12)).all()
    turned = measured(shown, -scores, clicked)["auc"][there]
    np.testing.assert_allclose(values["auc"][there] + turned, 1, atol=1e-12)
