"""SASRec: an epoch of ours beside RecBole's at RecBole's own size, on MovieLens-100K; with --curves also the quality.

    python benchmarks/speed/sasrec.py [--rounds 3] [--batches 2] [--full] [--threads 2]
    python benchmarks/speed/sasrec.py --curves [--seconds 3600]

Both sides train on the same split (leave-one-out) at RecBole's defaults: 2 layers, 64 wide, 2 heads, inner size 256,
length 50, full cross-entropy over 1,682 items, Adam at .001, hidden dropout .5, about 2,000 targets a step. RecBole
makes each prefix of a history a row with one target, and drops out attention weights also; ours makes every position of
a window a target. Counted are training targets per second of whole training steps, batching included. A RecBole epoch
(48 batches) takes minutes, so --batches of them are timed per round unless --full is given; ours is timed over whole
epochs. Sides alternate, after one batch and one epoch to warm up; the median round counts.

--curves trains both to the end (early stopping, patience 10, at most --seconds each; ours at its own defaults, RecBole
at RecBole's) and prints validation ndcg@10, judged by the same evaluator, against training seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from llmrec import toy
from llmrec.context import Context
from llmrec.data import load
from llmrec.discover import load_method
from llmrec.evaluate import validate
from llmrec.recbole_data import train_data
from llmrec.recbole_mend import mended
from llmrec.recbole_trainer import make_trainer
from llmrec.records import Protocol
from llmrec.split import make_split
from llmrec.types import Items, Split

RECBOLE_SIZE = {
    "layers": 2, "width": 64, "heads": 2, "length": 50, "dropout": 0.5, "learning_rate": 1e-3,
    "batch_size": 50,  # windows: 2,002 targets a step on average; RecBole's batch has 2,048
}  # fmt: skip


class Some:
    """The first batches of a loader."""

    def __init__(self, loader: Any, batches: int) -> None:
        self.loader, self.batches = loader, batches

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.loader), self.batches)

    def __len__(self) -> int:
        return min(self.batches, len(self.loader))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def our_side(split: Split, items: Items) -> Callable[[int], int]:
    """A function that trains the given epoch and returns the number of targets."""
    method, ctx = load_method("sasrec")(**RECBOLE_SIZE), Context(seed=0, items=items)
    optimizer, histories = method.build(split.n_items, ctx), split.fit.histories

    def run(epoch: int) -> int:
        method.model.train()
        method.run_epoch(histories, optimizer, ctx, epoch)
        return len(split.fit)

    return run


def recbole_side(split: Split, items: Items, folder: str) -> tuple[Callable[[int, int], int], int]:
    """A function that trains so many batches with RecBole's trainer and returns their targets; batches in an epoch."""
    from recbole.model.sequential_recommender import SASRec

    method = load_method("recbole:SASRec")(model="SASRec")
    ctx = Context(seed=0, items=items, validate=lambda _: {})
    config = method._settings(SASRec, ctx, folder, "", "")
    data = train_data(config, split, ctx)
    net = SASRec(config, data._dataset).to(config["device"])
    trainer = make_trainer(method, config, net, data, ctx, final=True)

    def run(epoch: int, batches: int) -> int:
        trainer._train_epoch(Some(data, batches), epoch)
        return min(batches * config["train_batch_size"], len(data._dataset))

    return run, len(data)


def timed(run: Callable[[], int]) -> tuple[float, float, float]:
    """Targets per second, per CPU second, and the seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    targets = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return targets / wall, targets / cpu, wall


def throughput(split: Split, items: Items, given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder, mended(Path(folder)):
        ours, (recbole, in_epoch) = our_side(split, items), recbole_side(split, items, folder)
        batches = in_epoch if given.full else given.batches
        ours(0), recbole(0, 1)
        theirs, mine = [], []
        for round_ in range(1, given.rounds + 1):
            theirs.append(timed(lambda round_=round_: recbole(round_, batches)))
            mine.append(timed(lambda round_=round_: ours(round_)))
    share = batches / in_epoch
    print(
        f"{len(split.fit):,} training interactions, {torch.get_num_threads()} threads, median of {given.rounds} rounds"
    )
    print(f"RecBole: {batches} of {in_epoch} batches ({share:.0%} of an epoch) a round; ours: an epoch a round")
    print(f"{'':8} {'targets/s':>12} {'targets/CPU s':>14} {'s an epoch':>11}")
    for name, rounds, scale in (("RecBole", theirs, share), ("ours", mine, 1.0)):
        wall, cpu, seconds = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"{name:8} {wall:12,.0f} {cpu:14,.0f} {seconds / scale:11.1f}")
    ratios = [statistics.median(m[i] for m in mine) / statistics.median(t[i] for t in theirs) for i in (0, 1)]
    print(f"ratio    {ratios[0]:11.1f}x {ratios[1]:13.1f}x   (bar: 60x)")


class OutOfTime(Exception):
    pass


def curve(name: str, params: dict[str, Any], split: Split, items: Items, limit: float) -> list[tuple[float, float]]:
    """(training seconds, validation ndcg@10) after each epoch; the validation's own seconds are left out."""
    warm_up = load_method(name)(**params | {"epochs": 1})  # imports, on toy data
    warm_up.fit(toy.checkerboard(), Context(seed=0, items=toy.items(50), validate=lambda _: {"ndcg@10": 0.0}))
    points: list[tuple[float, float]] = []
    began, validating = time.perf_counter(), 0.0

    def judge(method: Any) -> dict[str, float]:
        nonlocal validating
        start = time.perf_counter()
        trained = start - began - validating
        metrics = validate(method, split)
        points.append((trained, metrics["ndcg@10"]))
        print(f"  {name} epoch {len(points)}: {trained:.1f} s, ndcg@10 {metrics['ndcg@10']:.4f}", flush=True)
        if trained > limit:
            raise OutOfTime
        validating += time.perf_counter() - start
        return metrics

    try:
        load_method(name)(**params).fit(split, Context(seed=0, items=items, validate=judge))
    except OutOfTime:
        print(f"  {name}: stopped by --seconds {limit:g} before it had converged")
    return points


def curves(split: Split, items: Items, limit: float) -> None:
    ours = curve("sasrec", {"patience": 10}, split, items, limit)
    recbole = curve("recbole:SASRec", {"model": "SASRec", "epochs": 300, "patience": 10}, split, items, limit)
    best_at, best = max(recbole, key=lambda point: point[1])
    print(f"RecBole's best: ndcg@10 {best:.4f} after {best_at:.0f} s of training ({len(recbole)} epochs run)")
    reached = next((seconds for seconds, value in ours if value >= best), None)
    if reached is None:
        print(f"ours does not reach it: best {max(value for _, value in ours):.4f} in {ours[-1][0]:.0f} s")
    else:
        print(f"ours reaches it after {reached:.0f} s: {best_at / reached:.0f} times sooner")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=2, help="RecBole's batches in a round")
    parser.add_argument("--full", action="store_true", help="time whole epochs of RecBole")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--curves", action="store_true")
    parser.add_argument("--seconds", type=float, default=3600, help="limit of each side's training under --curves")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    split, items = make_split(load("ml-100k"), Protocol())
    if given.curves:
        curves(split, items, given.seconds)
    else:
        throughput(split, items, given)


if __name__ == "__main__":
    main()
