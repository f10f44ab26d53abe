"""All figures of one run: means, values per user, slices, counts, validation."""

import dataclasses

import numpy as np
import pytest

from llmrec import toy
from llmrec.evaluate import answer, measure, per_user, validate
from llmrec.types import Targets


class Noise:
    def score(self, users):
        return np.stack([np.random.default_rng(int(u)).random(30) for u in users.ids])


def make_split():
    """40 users with histories of 2 to 21 items; items 27 to 29 only ever tested; up to 5 targets a user."""
    rng = np.random.default_rng(0)
    sequences = [rng.choice(27, 4 + u // 2, replace=False, p=POPULARITY).tolist() for u in range(40)]
    split = toy.leave_one_out(sequences, 30)
    test = [rng.permutation(np.setdiff1d(np.arange(30), s))[: rng.integers(1, 6)].tolist() for s in sequences]
    return dataclasses.replace(split, test=toy.interactions(test, 30))


POPULARITY = np.arange(27, 0, -1) / np.arange(27, 0, -1).sum()


def test_means_are_over_users_and_agree_with_the_frame():
    split, catalogue = make_split(), toy.items(30)
    answers = answer(Noise(), split, "test")
    measures = measure(answers, split, catalogue, np.random.default_rng(0).random((30, 4)))
    assert measures.metrics["ndcg@10"] == per_user(answers.ranks, answers.targets)["ndcg@10"].mean()
    for name in ("recall@5", "map@20", "precision@10"):
        assert measures.users[name].mean() == pytest.approx(measures.metrics[name])
    assert measures.users["user"].to_list() == list(range(40))
    assert measures.users["history"].to_list() == split.train_and_valid.histories.lengths.tolist()
    assert {"coverage@10", "gini@10", "novelty@10", "popularity@10", "tail@10"} <= set(measures.metrics)
    assert {"diversity_text@10", "diversity_genre@10", "coverage@20"} <= set(measures.metrics)
    assert measures.counts == {
        "users": 40,
        "users_without_target": 0,
        "targets": len(answers.ranks),
        "unranked_targets": 0,
        "empty_places": int((answers.topk.items == -1).sum()),
    }
    assert np.isfinite(list(measures.metrics.values())).all()
    assert "diversity_text@10" not in measure(answers, split, catalogue).metrics


def test_users_without_a_target_are_left_out_and_counted():
    split = make_split()
    test = [[]] * 10 + [split.test.histories[u].tolist() for u in range(10, 40)]
    split = dataclasses.replace(split, test=toy.interactions(test, 30))
    answers = answer(Noise(), split, "test")
    measures = measure(answers, split, toy.items(30))
    assert measures.counts["users"] == 30 and measures.counts["users_without_target"] == 10
    assert measures.users["user"].to_list() == list(range(10, 40))
    alone = measure(
        answer(Noise(), dataclasses.replace(split, asked={**split.asked, "test": np.arange(10, 40)}), "test"),
        split,
        toy.items(30),
    )
    for name in ("ndcg@10", "recall@20", "mrr@5"):
        assert measures.metrics[name] == pytest.approx(alone.metrics[name])


def test_slices_by_users_partition_them():
    split = make_split()
    answers = answer(Noise(), split, "test")
    measures = measure(answers, split, toy.items(30))
    parts = [measures.slices[f"users:{name}"] for name in ("low", "mid", "high")]
    assert sum(p["users"] for p in parts) == 40
    assert sum(p["targets"] for p in parts) == len(answers.ranks)
    assert all(12 <= p["users"] <= 15 for p in parts)
    mean = sum(p["ndcg@10"] * p["users"] for p in parts) / 40
    assert mean == pytest.approx(measures.metrics["ndcg@10"])
    lengths = measures.users["history"].to_numpy()
    low = lengths <= np.sort(lengths)[int((40 - 1) / 3)]
    assert measures.slices["users:low"]["recall@10"] == pytest.approx(
        measures.users["recall@10"].to_numpy()[low].mean()
    )


def test_slices_by_items_look_at_their_own_targets_only():
    split = make_split()
    answers = answer(Noise(), split, "test")
    slices = measure(answers, split, toy.items(30)).slices
    counts = np.bincount(split.fit.item, minlength=30)
    cold = counts[answers.targets.items] == 0
    assert slices["items:cold"]["targets"] == cold.sum() > 0
    assert slices["items:head"]["targets"] + slices["items:tail"]["targets"] == len(answers.ranks)
    values = []
    for row in range(40):
        pairs = slice(answers.targets.indptr[row], answers.targets.indptr[row + 1])
        ranks = answers.ranks[pairs][cold[pairs]]
        if len(ranks):
            one = Targets(np.zeros(1, np.int32), np.array([0, len(ranks)]), np.zeros(len(ranks), np.int32))
            values.append(per_user(ranks, one)["ndcg@10"][0])
    assert slices["items:cold"]["ndcg@10"] == pytest.approx(np.mean(values))
    assert slices["items:cold"]["users"] == len(values)


def test_a_slice_with_nobody_has_counts_only():
    split = toy.checkerboard(30)
    slices = measure(answer(Noise(), split, "test"), split, toy.items(30)).slices
    assert slices["items:cold"] == {"targets": 0, "users": 0}
    assert slices["users:high"] == {"targets": 0, "users": 0}  # all histories are equally long
    assert slices["users:low"]["users"] == 30


def test_no_users_no_means():
    split = dataclasses.replace(make_split(), asked={"valid": np.empty(0, np.int32), "test": np.empty(0, np.int32)})
    measures = measure(answer(Noise(), split, "test"), split, toy.items(30), np.ones((30, 2)))
    assert measures.metrics == {} and len(measures.users) == 0 and measures.counts["users"] == 0
    assert validate(Noise(), split)["ndcg@10"] == 0.0


def test_validation_uses_the_validation_items_and_only_training_history():
    split = make_split()
    answers = answer(Noise(), split, "valid", lists=False)
    expected = per_user(answers.ranks, answers.targets)
    values = validate(Noise(), split)
    assert values["ndcg@10"] == pytest.approx(expected["ndcg@10"].mean())
    assert values["recall@10"] == pytest.approx(expected["recall@10"].mean())


def test_evaluation_imports_no_torch():
    import subprocess
    import sys

    code = "import sys, llmrec.evaluate, llmrec.stats; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
