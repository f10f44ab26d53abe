"""Why targets are ranked among all items: among 99 sampled ones the order of the methods is another.

Krichene and Rendle, On Sampled Metrics for Item Recommendation, KDD 2020. The sampling stands here and nowhere else.
Its figures were computed with other code too: markov .0502, item-knn .0374, popularity .0059 become
.2179, .2959, .1586.
"""

import numpy as np
import pytest

from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.evaluate import answer, per_user
from llmrec.records import Protocol
from llmrec.tasks import TASKS

FULL = {"markov": 0.0502, "item-knn": 0.0374, "popularity": 0.0059}  # ndcg@10 among all 12,101 items
SAMPLED = {"item-knn": 0.2959, "markov": 0.2179, "popularity": 0.1586}  # ndcg@10 among 99 uniform ones
NEGATIVES = 99


@pytest.fixture(scope="module")
def beauty(split_of):
    return split_of("amazon2014-beauty", ties="file", fit_data="train+valid")


def sampled(method, split, seed: int) -> float:
    """Mean ndcg@10 of the target among 99 items drawn uniformly from those that are not the user's own."""
    rng, gains = np.random.default_rng(seed), []
    for users, targets in split.batches("test", 512):
        scores = method.score(users)
        scores = scores.toarray() if hasattr(scores, "toarray") else np.asarray(scores)
        own = users.matrix().toarray() > 0
        own[np.arange(len(users)), targets.items] = True  # leave-one-out: one target a user
        for row, target in enumerate(targets.items):
            drawn = rng.choice(np.flatnonzero(~own[row]), NEGATIVES, replace=False)
            rank = 1 + np.count_nonzero(scores[row, drawn] >= scores[row, target])  # ties count against the target
            gains.append(1 / np.log2(rank + 1) if rank <= 10 else 0.0)
    return float(np.mean(gains))


@pytest.mark.slow
def test_sampling_turns_the_order_around(beauty):
    split, items = beauty
    full, few = {}, {}
    for name in FULL:
        method = load_method(name)()
        method.fit(split, Context(seed=0, items=items))
        answers = answer(method, split, "test", lists=False)
        full[name] = float(per_user(answers.ranks, answers.targets)["ndcg@10"].mean())
        few[name] = sampled(method, split, seed=0)
    assert full == pytest.approx(FULL, abs=1e-4)
    # The draw moves a figure by about .001. Ties move item-knn's by .008: half of the targets share no user with the
    # history, so it gives them 0 like most of the 99; here ties count against them, as they do among all items.
    assert few == pytest.approx(SAMPLED, rel=0.04)
    assert sorted(full, key=full.get) == ["popularity", "item-knn", "markov"]
    assert sorted(few, key=few.get) == ["popularity", "markov", "item-knn"]


def test_nothing_else_samples():
    """No protocol and no metric of the suite knows of sampled candidates."""
    assert Protocol.model_fields["candidates"].annotation.__args__ == ("all", "train")
    assert not [m for m in TASKS["topn"].metrics if "sampl" in m]
