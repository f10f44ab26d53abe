"""SASRec: our training beside RecBole's and RecTools' at one size, on MovieLens-100K; with --curves also the quality.

    python benchmarks/speed/sasrec.py [--rounds 3] [--batches 2] [--full] [--threads 2] [--losses bce,...]
    python benchmarks/speed/sasrec.py --curves [--method bert4rec] [--seconds 3600]

All sides train on the same split (leave-one-out): 2 layers, 64 wide, 2 heads, length 50, 1,682 items, Adam at .001,
dropout .5, about 2,000 targets a step, under each loss that they share with ours:

    loss              negatives   RecBole 1.2.1            RecTools 0.19
    cross-entropy     -           CE                       softmax
    bce               1           BPR (the same draws)     BCE
    gbce              256         -                        gBCE
    sampled-softmax   256         -                        sampled_softmax (its own negatives for each target)

The feed-forward nets are as wide as the states, as in SASRec's paper, ours and RecTools'; RecBole's is set to it (its
own is 256). RecBole makes each prefix of a history a row with one target, and drops out attention weights also.
RecTools trains, as ours, every position of a window, and of each user it takes the newest 51 items only. Counted are
training targets per second of whole training steps, batching included. A RecBole epoch (48 batches) takes minutes, so
--batches of them are timed per round unless --full is given; the others are timed over whole epochs. Sides alternate,
after one batch or epoch to warm up; the median round counts.
RecTools is no dependency; install it anywhere, and say where:

    pip install --target peer --no-deps rectools==0.19.0 typeguard attrs pytorch-lightning lightning-utilities \\
        torchmetrics
    PYTHONPATH=peer python benchmarks/speed/sasrec.py

--curves trains ours and RecBole's to the end (early stopping, patience 10, at most --seconds each; ours at its own
defaults, RecBole at RecBole's) and prints validation ndcg@10, judged by the same evaluator, against training seconds.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
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
from llmrec.sequence.fit import adamw, next_item_steps, one_epoch, seeded
from llmrec.split import make_split
from llmrec.types import Items, Split

RECBOLE_SIZE = {
    "layers": 2, "width": 64, "heads": 2, "length": 50, "dropout": 0.5, "learning_rate": 1e-3,
    "batch_size": 50,  # windows: 2,002 targets a step on average; RecBole's batch has 2,048
}  # fmt: skip

NEGATIVES = {"cross-entropy": None, "bce": 1, "gbce": 256, "sampled-softmax": 256}
IN_RECBOLE = {"cross-entropy": "CE", "bce": "BPR"}
IN_RECTOOLS = {"cross-entropy": "softmax", "bce": "BCE", "gbce": "gBCE", "sampled-softmax": "sampled_softmax"}

RECBOLE_BAR, RECTOOLS_BAR = 60, 2
"""How many times a peer's targets per second ours should make."""

Timed = tuple[int, float, float]
"""Targets, seconds, CPU seconds."""


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


def timed(run: Callable[[], int]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    targets = run()
    return targets, time.perf_counter() - wall, time.process_time() - cpu


def our_side(split: Split, items: Items, loss: str) -> Callable[[int], Timed]:
    """A function that trains the given epoch."""
    method = load_method("sasrec")(**RECBOLE_SIZE, loss=loss, negatives=NEGATIVES[loss])
    ctx, histories = Context(seed=0, items=items), split.fit.histories
    network = sys.modules[type(method).__module__].Transformer
    size = (method.length, method.width, method.layers, method.heads, method.dropout)
    model = seeded(lambda: network(split.n_items, *size), ctx).train()
    optimizer = adamw(model, method)

    def run(epoch: int) -> int:
        one_epoch(
            method, optimizer, ctx, epoch, next_item_steps(method, model, histories, ctx, method.mean_loss, epoch)
        )
        return len(split.fit)

    return lambda epoch: timed(lambda: run(epoch))


def recbole_side(
    split: Split, items: Items, loss: str, folder: str, batches: int | None
) -> tuple[Callable[[int], Timed], str]:
    """A function that trains so many batches of an epoch (None: all) with RecBole's trainer, and what that is."""
    from recbole.model.sequential_recommender import SASRec

    method = load_method("recbole:SASRec")(model="SASRec", config={"loss_type": IN_RECBOLE[loss], "inner_size": 64})
    ctx = Context(seed=0, items=items, validate=lambda _: {})
    config = method._settings(SASRec, ctx, folder, "", "")
    data = train_data(config, split, ctx)
    net = SASRec(config, data._dataset).to(config["device"])
    trainer = make_trainer(method, config, net, data, ctx, final=True)
    some = min(batches or len(data), len(data))

    def run(epoch: int) -> int:
        trainer._train_epoch(Some(data, some), epoch)
        return min(some * config["train_batch_size"], len(split.fit))

    trainer._train_epoch(Some(data, 1), 0)
    return lambda epoch: timed(lambda: run(epoch)), f"{some} of {len(data)} batches"


def rectools_side(split: Split, loss: str) -> Callable[[int], Timed]:
    """A function that trains an epoch with RecTools' model, from the first batch to the last."""
    import pandas as pd
    from pytorch_lightning import Callback, Trainer
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")

    class Clock(Callback):
        rounds: ClassVar[list[tuple[float, float]]] = []  # of the class: the trainer is copied

        def on_train_epoch_start(self, *_: Any) -> None:
            self.began = time.perf_counter(), time.process_time()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.rounds.append((time.perf_counter() - self.began[0], time.process_time() - self.began[1]))

    def trainer() -> Any:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return Trainer(
            max_epochs=1, accelerator="cpu", devices=1, enable_checkpointing=False, callbacks=[Clock()], **quiet
        )

    unique = pd.unique
    pd.unique = lambda values: unique(
        np.array(values, object) if isinstance(values, tuple) else values
    )  # pandas 3 refuses
    frame = split.fit.frame
    table = pd.DataFrame({"user_id": frame["user"].to_numpy(), "item_id": frame["item"].to_numpy(), "weight": 1.0})
    table["datetime"] = pd.to_datetime(frame["order"].to_numpy(), unit="s")
    dataset = Dataset.construct(table)
    model = SASRecModel(
        n_blocks=RECBOLE_SIZE["layers"], n_heads=RECBOLE_SIZE["heads"], n_factors=RECBOLE_SIZE["width"],
        dropout_rate=RECBOLE_SIZE["dropout"], session_max_len=RECBOLE_SIZE["length"], lr=RECBOLE_SIZE["learning_rate"],
        batch_size=RECBOLE_SIZE["batch_size"], loss=IN_RECTOOLS[loss], n_negatives=NEGATIVES[loss] or 1, gbce_t=0.75,
        get_trainer_func=trainer,
    )  # fmt: skip
    targets = int((split.fit.histories.lengths.clip(max=RECBOLE_SIZE["length"] + 1) - 1).clip(min=0).sum())

    def run(epoch: int) -> Timed:
        model.fit_partial(dataset, min_epochs=1, max_epochs=1)
        return targets, *Clock.rounds[-1]

    return run


def throughput(split: Split, items: Items, given: argparse.Namespace) -> None:
    has_rectools = find_spec("rectools") is not None
    if not has_rectools:
        print("RecTools is not installed here, so that it is not compared (the help says how to install it).")
    rounds = f"{torch.get_num_threads()} threads, median of {given.rounds} rounds"
    print(f"{len(split.fit):,} training interactions, {rounds}; targets per second (per CPU second)")
    for loss in given.losses:
        with tempfile.TemporaryDirectory() as folder, mended(Path(folder)):
            sides, part = {"ours": our_side(split, items, loss)}, ""
            if loss in IN_RECBOLE:
                batches = None if given.full else given.batches
                sides["RecBole"], part = recbole_side(split, items, loss, folder, batches)
            if has_rectools:
                sides["RecTools"] = rectools_side(split, loss)
            found: dict[str, list[Timed]] = {name: [] for name in sides}
            for round_ in range(given.rounds + 1):
                for name, run in sides.items():
                    if round_ or name != "RecBole":  # which is warm by then
                        found[name].append(run(round_))
        rates = {
            name: [statistics.median(one[0] / one[by] for one in rounds[-given.rounds :]) for by in (1, 2)]
            for name, rounds in found.items()
        }
        print(f"{loss}, negatives: {NEGATIVES[loss] or 'none'}")
        for name, (wall, cpu) in rates.items():
            line = f"  {name:8} {wall:10,.0f} ({cpu:,.0f})"
            if name != "ours":
                bar = RECBOLE_BAR if name == "RecBole" else RECTOOLS_BAR
                line += (
                    f"   ours: {rates['ours'][0] / wall:.1f} times, {rates['ours'][1] / cpu:.1f} by CPU (bar: {bar})"
                )
            print(line + (f"   {part} a round" if name == "RecBole" else ""), flush=True)


class OutOfTime(Exception):
    pass


def curve(name: str, params: dict[str, Any], split: Split, items: Items, limit: float) -> list[tuple[float, float]]:
    """(training seconds, validation ndcg@10) at each validation; the validation's own seconds are left out."""
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
        print(f"  {name} validation {len(points)}: {trained:.1f} s, ndcg@10 {metrics['ndcg@10']:.4f}", flush=True)
        if trained > limit:
            raise OutOfTime
        validating += time.perf_counter() - start
        return metrics

    try:
        load_method(name)(**params).fit(split, Context(seed=0, items=items, validate=judge))
    except OutOfTime:
        print(f"  {name}: stopped by --seconds {limit:g} before it had converged")
    return points


def curves(split: Split, items: Items, name: str, limit: float) -> None:
    model = {"sasrec": "SASRec", "bert4rec": "BERT4Rec"}[name]
    ours = curve(name, {"patience": 10}, split, items, limit)
    recbole = curve(f"recbole:{model}", {"model": model, "epochs": 300, "patience": 10}, split, items, limit)
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
    parser.add_argument("--losses", type=lambda said: said.split(","), default=list(NEGATIVES), help="with commas")
    parser.add_argument("--curves", action="store_true")
    parser.add_argument("--method", choices=("sasrec", "bert4rec"), default="sasrec", help="whose curves")
    parser.add_argument("--seconds", type=float, default=3600, help="limit of each side's training under --curves")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    split, items = make_split(load("ml-100k"), Protocol())
    if given.curves:
        curves(split, items, given.method, given.seconds)
    else:
        throughput(split, items, given)


if __name__ == "__main__":
    main()
