"""Full-ranking evaluation: our evaluator beside RecBole's, on the same scores, masks and targets.

    python benchmarks/speed/evaluation.py [--rounds 15] [--threads 2] [--users 512] [--recbole-default]

6,040 users x 3,416 items (ml-1m-noratings; a stand-in of that size if the data cannot be had), leave-one-out, scores =
user factors x item factors (float32, 64 wide). Timed on both sides: scoring, masking, ranking, and recall, ndcg, hit,
mrr, map and precision at 5, 10, 20; ours makes the top-20 lists as well. RecBole's side is the loop of its
Trainer.evaluate with its Collector and Evaluator, once with its loader's collation of each batch of users, as it runs
and as ours does its own, and once with batches collated beforehand, untimed. Batches hold as many users as ours. Sides
alternate; the median round counts. CPU seconds are of the whole process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from llmrec import toy
from llmrec.errors import UserError
from llmrec.evaluate import answer, per_user
from llmrec.recbole_mend import mended
from llmrec.records import Protocol
from llmrec.types import Split

USERS, ITEMS, WIDTH = 6_040, 3_416, 64
CUTOFFS = (5, 10, 20)
Index = tuple[torch.Tensor, torch.Tensor]
METRICS = ("Recall", "NDCG", "Hit", "MRR", "MAP", "Precision")


def problem() -> tuple[Split, str]:
    """The split, and what it is."""
    from llmrec.data import load
    from llmrec.split import make_split

    try:
        return make_split(load("ml-1m-noratings"), Protocol(ties="file"))[0], "ml-1m-noratings"
    except UserError:
        rng = np.random.default_rng(0)
        lengths = np.clip(rng.lognormal(4.6, 1, USERS), 20, 2_000).astype(int)
        sequences = [rng.choice(ITEMS, length, replace=False).tolist() for length in lengths]
        return toy.leave_one_out(sequences, ITEMS), "a stand-in of the size of ml-1m-noratings"


class Factors:
    """User factors x item factors."""

    def __init__(self, split: Split) -> None:
        rng = np.random.default_rng(1)
        self.users = rng.standard_normal((split.n_users, WIDTH), dtype=np.float32)
        self.items = rng.standard_normal((WIDTH, split.n_items), dtype=np.float32)

    def score(self, users) -> np.ndarray:
        return self.users[users.ids] @ self.items


def our_side(split: Split, model: Factors, users_in_batch: int) -> Callable[[], dict[str, float]]:
    def run() -> dict[str, float]:
        answers = answer(model, split, "test", k=max(CUTOFFS), batch_size=users_in_batch)
        return {name: float(v.mean()) for name, v in per_user(answers.ranks, answers.targets, CUTOFFS).items()}

    return run


def recbole_side(
    split: Split, model: Factors, users_in_batch: int, *, collated: bool
) -> Callable[[], dict[str, float]]:
    """Trainer.evaluate and Trainer._full_sort_batch_eval of RecBole 1.2.1, whose item 0 is padding.

    ``collated``: the batches are made here, before the clock starts.
    """
    from recbole.evaluator import Collector, Evaluator

    config = {
        "topk": list(CUTOFFS), "metrics": list(METRICS), "metric_decimal_place": 8,
        "device": "cpu", "eval_args": {"mode": "full"},
    }  # fmt: skip
    collector, evaluator = Collector(config), Evaluator(config)
    user_factors = torch.from_numpy(model.users)
    item_factors = torch.cat([torch.zeros(WIDTH, 1), torch.from_numpy(model.items)], dim=1)
    # What FullSortEvalDataLoader keeps when it is made: a tensor of items for each user.
    asked = split.targets("test")
    histories = split.known("test").histories
    history_of = [torch.from_numpy(histories[user].astype(np.int64) + 1) for user in asked.users]
    positive_of = [torch.from_numpy(own.astype(np.int64) + 1) for own in np.split(asked.items, asked.indptr[1:-1])]
    ids = torch.from_numpy(asked.users.astype(np.int64))

    def collate(rows: slice) -> tuple[torch.Tensor, Index, torch.Tensor, torch.Tensor]:
        """FullSortEvalDataLoader.collate_fn, line by line."""
        history_item, positive_item = history_of[rows], positive_of[rows]
        history_u = torch.cat([torch.full_like(items, i) for i, items in enumerate(history_item)])
        history_i = torch.cat(history_item)
        positive_u = torch.cat([torch.full_like(items, i) for i, items in enumerate(positive_item)])
        return ids[rows], (history_u, history_i), positive_u, torch.cat(positive_item)

    rows = [slice(start, start + users_in_batch) for start in range(0, len(asked), users_in_batch)]
    kept = [collate(some) for some in rows] if collated else []

    @torch.no_grad()
    def run() -> dict[str, float]:
        for users, history_index, positive_u, positive_i in kept or map(collate, rows):
            scores = user_factors[users] @ item_factors
            scores = scores.view(-1, split.n_items + 1)
            scores[:, 0] = -np.inf
            scores[history_index] = -np.inf
            collector.eval_batch_collect(scores, None, positive_u, positive_i)
        return {name: float(value) for name, value in evaluator.evaluate(collector.get_data_struct()).items()}

    return run


def bare_product(split: Split, model: Factors, users_in_batch: int) -> Callable[[], None]:
    def run() -> None:
        for users, _ in split.batches("test", users_in_batch):
            model.score(users)

    return run


def timed(run: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--users", type=int, default=512, help="users in a batch, on both sides")
    parser.add_argument("--recbole-default", action="store_true", help="also time RecBole's own default batches, once")
    given = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != str(given.threads):  # libraries read it when they are imported
        os.environ["OMP_NUM_THREADS"] = str(given.threads)
        os.execv(sys.executable, sys.orig_argv)
    split, name = problem()
    model = Factors(split)
    print(f"{name}: {len(split.targets('test')):,} users x {split.n_items:,} items, {given.threads} threads")
    with mended():
        sides = {
            "RecBole": recbole_side(split, model, given.users, collated=False),
            "RecBole, collated": recbole_side(split, model, given.users, collated=True),
            "llmrec": our_side(split, model, given.users),
            "matrix product alone": bare_product(split, model, given.users),
        }
        ours, theirs = sides["llmrec"](), sides["RecBole"]()  # warms both up
        worst = max(abs(ours[key] - theirs[key]) for key in theirs)
        print(f"largest difference among {len(theirs)} metrics: {worst:.1e}")
        rounds = [{side: timed(run) for side, run in sides.items()} for _ in range(given.rounds)]
        default = (
            recbole_side(split, model, max(1, 4096 // split.n_items), collated=False) if given.recbole_default else None
        )
        default_seconds = timed(default)[0] if default else None
    median = {side: [statistics.median(r[side][i] for r in rounds) for i in (0, 1)] for side in sides}
    best = {side: min(r[side][0] for r in rounds) for side in sides}
    print(f"{'':22}{'median s':>10}{'best s':>10}{'CPU s':>10}")
    for side, (wall, cpu) in median.items():
        print(f"{side:22}{wall:10.3f}{best[side]:10.3f}{cpu:10.3f}")
    for side in ("RecBole", "RecBole, collated"):
        ratios = [r[side][0] / r["llmrec"][0] for r in rounds]
        print(
            f"{side} / llmrec: {median[side][0] / median['llmrec'][0]:.1f} (rounds: {min(ratios):.1f} to "
            f"{max(ratios):.1f}); in CPU seconds {median[side][1] / median['llmrec'][1]:.1f}"
        )
    if default_seconds is not None:
        print(f"RecBole with its default eval_batch_size of 4,096 scores, one user a batch: {default_seconds:.2f} s")


if __name__ == "__main__":
    main()
