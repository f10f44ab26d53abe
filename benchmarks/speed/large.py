"""item-knn, ease, als and sasrec (one epoch) on data as large as MovieLens 20M: seconds and peak memory of each.

    python benchmarks/speed/large.py [--only ease] [--threads 2] [--scale 1] [--loss sampled-softmax] [--seconds 300]

The data are made here, from a seed: 138,000 users, 27,000 items, 20 million different (user, item) pairs. A user's
number of items is log-normal as in MovieLens 20M (median 88, mean 145); items are drawn by a popularity that falls like
1 / (rank + 60)^1.35, which gives the most popular tenth of them four fifths of the events. --scale .02 makes a
fiftieth of users, items and events, to see that all runs; its figures say nothing about the full size.

Each method is fitted and asked for 10,000 users' lists in a process of its own, one after another, by its defaults;
seconds, CPU seconds of all its threads, and the largest resident memory of that whole process, data and imports
included (`getrusage`). Bar: 20 GiB. One that ends badly or takes longer than --limit stops none of the others.

sasrec trains one epoch of every position of every history, under the loss that --loss names: sampled softmax, since
the softmax over 27,000 items for each of 20 million targets takes hours on a CPU. With --seconds it is stopped after so
many seconds of training; the share of the steps that was done is printed then, with what all would take at that rate.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.evaluate import answer, per_user
from llmrec.types import Interactions, Split

USERS, ITEMS, EVENTS = 138_000, 27_000, 20_000_000
ASKED = 10_000
GIB = 2**30
BAR = 20 * GIB
METHODS = ("item-knn", "ease", "als", "sasrec")
DRAW = "draw"


def draw(users: int, items: int, events: int) -> tuple[np.ndarray, np.ndarray]:
    """User and item of every event, int32, sorted by user, a user's items in random order."""
    rng = np.random.default_rng(0)
    sizes = np.maximum(20, rng.lognormal(4.25, 1.15, users))
    sizes *= events / sizes.sum()
    popularity = np.cumsum((np.arange(items) + 60.0) ** -1.35)
    pairs = np.empty(0, np.int64)
    while len(pairs) < events:  # what was drawn twice is drawn anew
        more = 1.4 * (1 - len(pairs) / events) + 0.01
        user = np.repeat(np.arange(users), rng.poisson(more * sizes))
        item = np.searchsorted(popularity, rng.random(len(user)) * popularity[-1])
        pairs = np.sort(np.concatenate([pairs, user * items + item]))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    pairs = pairs[rng.random(len(pairs)) < events / len(pairs)]
    user = pairs // items
    order = np.argsort(user + rng.random(len(user)))  # by user, at random within
    names = rng.permutation(items)  # no order of popularity in the ids, as after a split
    return user[order].astype(np.int32), names[pairs[order] % items].astype(np.int32)


def split_of(user: np.ndarray, item: np.ndarray, users: int, items: int) -> Split:
    """Leave-one-out; the first of the users who have three events are asked."""
    sizes = np.bincount(user, minlength=users)
    left = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(user))  # 1: tests, 2: validates
    held_out = np.where(np.repeat(sizes, sizes) >= 3, left, 3)
    place = (np.arange(len(user)) - np.repeat(np.cumsum(sizes) - sizes, sizes)).astype(np.int32)
    parts = []
    for kept in (held_out > 2, held_out == 2, held_out == 1):
        frame = pl.DataFrame({"user": user[kept], "item": item[kept], "order": place[kept]}).select(
            "user", "item", pl.lit(1.0, pl.Float32).alias("value"), pl.lit(None, pl.Int64).alias("time"), "order"
        )
        parts.append(Interactions(frame, users, items))
    asked = np.flatnonzero(sizes >= 3)[:ASKED].astype(np.int32)
    train, valid, test = parts
    small = toy.leave_one_out([[0, 1, 2]], items)
    return dataclasses.replace(
        small, n_users=users, train=train, valid=valid, test=test, asked={"valid": asked, "test": asked}
    )


class Enough(Exception):
    """An epoch has been trained for long enough."""


def fit(name: str, split: Split, loss: str, seconds: float) -> tuple[Any, dict[str, Any]]:
    """The method, fitted, and what is to be said of it."""
    one_epoch = name == "sasrec"
    method = load_method(name)(**({"epochs": 1, "loss": loss} if one_epoch else {}))
    ctx = Context(seed=0, items=toy.items(1), epochs=1 if one_epoch else None)
    said: dict[str, Any] = {}
    if one_epoch:
        stop_after(seconds, said)
        windows = int(np.ceil(split.fit.histories.lengths / method.length).sum())
        said["steps of an epoch"] = -(-windows // method.batch_size)
        said["how"] = f"{loss}, width {method.width}, {method.layers} layers, length {method.length}"
    began = clocks()
    with contextlib.suppress(Enough):
        method.fit(split, ctx)
    said["fit"] = since(began)
    return method, said


def stop_after(seconds: float, said: dict[str, Any]) -> None:
    """Count torch's optimiser steps, and end the training after so many seconds of them."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    began = time.perf_counter()

    def count(*_: Any) -> None:
        said["steps"] = said.get("steps", 0) + 1
        if time.perf_counter() - began > seconds:
            raise Enough

    register_optimizer_step_post_hook(count)


def clocks() -> tuple[float, float]:
    """Seconds of the clock, and of all processors for this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def since(began: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = clocks()
    return wall - began[0], cpu - began[1]


def peak() -> int:
    """The process's largest resident memory so far, bytes (Linux: getrusage counts KiB)."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def be_child(name: str, folder: Path, scale: float, loss: str, seconds: float) -> None:
    """Draw the data, or fit and ask one method; what is to be said goes to standard output, in JSON."""
    users, items = round(USERS * scale), round(ITEMS * scale)
    if name == DRAW:  # not in the parent: a process starts with the largest memory of the one that began it
        user, item = draw(users, items, round(EVENTS * scale))
        np.save(folder / "user.npy", user)
        np.save(folder / "item.npy", item)
        most = np.sort(np.bincount(item, minlength=items))[::-1][: items // 10].sum() / len(user)
        print(json.dumps({"events": len(user), "most": float(most)}))
        return
    split = split_of(np.load(folder / "user.npy"), np.load(folder / "item.npy"), users, items)
    data = peak()
    method, said = fit(name, split, loss, seconds)
    if name == "sasrec":
        method.model.eval()
    began = clocks()
    answers = answer(method, split, "test", k=20)
    said["answer"] = since(began)
    said["ndcg@10"] = float(per_user(answers.ranks, answers.targets)["ndcg@10"].mean())
    print(json.dumps({**said, "data": data, "peak": peak()}))


def show(name: str, said: dict[str, Any]) -> None:
    verdict = "held" if said["peak"] <= BAR else "MISSED"
    seconds = "".join(f"{value:10,.1f}" for what in ("fit", "answer") for value in said[what])
    memory = "".join(f"{said[what] / GIB:9.2f}" for what in ("data", "peak"))
    print(f"{name:9}{seconds}{memory}   {verdict}; ndcg@10 {said['ndcg@10']:.4f}", flush=True)
    if "steps" in said:
        share = said["steps"] / said["steps of an epoch"]
        done = (
            "one whole epoch"
            if share >= 1
            else f"STOPPED after {share:.2%} of an epoch's steps; all of them would take"
        )
        rest = (
            "" if share >= 1 else f" {said['fit'][0] / share:,.0f} s, {said['fit'][1] / share:,.0f} CPU s at that rate"
        )
        print(f"{'':9}  {said['how']}: {done}{rest}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=METHODS, help="only this method; repeatable")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="of users, items and events")
    parser.add_argument("--loss", default="sampled-softmax", help="of sasrec")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="of training in sasrec's epoch; default: all"
    )
    parser.add_argument("--limit", type=float, help="seconds after which a method is cut off; default: never")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        be_child(given.child[0], Path(given.child[1]), given.scale, given.loss, given.seconds)
        return
    limited = {name: str(given.threads) for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS")}
    passed = ["--scale", str(given.scale), "--loss", given.loss, "--seconds", str(given.seconds)]

    def child(name: str, folder: str) -> dict[str, Any] | None:
        command = [sys.executable, "-P", __file__, "--child", name, folder, *passed]
        try:
            done = subprocess.run(
                command, env={**os.environ, **limited}, stdout=subprocess.PIPE, text=True, timeout=given.limit
            )
        except subprocess.TimeoutExpired:
            print(f"{name:9}  NOT FINISHED: cut off after {given.limit:,.0f} s", flush=True)
            return None
        if done.returncode:
            print(f"{name:9}  NOT FINISHED: ended with exit code {done.returncode}", flush=True)
            return None
        return dict(json.loads(done.stdout.splitlines()[-1]))

    with tempfile.TemporaryDirectory() as folder:
        drawn = child(DRAW, folder)
        if drawn is None:
            sys.exit(1)
        users, items = round(USERS * given.scale), round(ITEMS * given.scale)
        print(f"{users:,} users, {items:,} items, {drawn['events']:,} events, "
              f"{drawn['most']:.0%} of them with the most popular tenth")  # fmt: skip
        print(f"{given.threads} threads, load {os.getloadavg()[0]:.1f}")
        print(f"{'':9}{'fit s':>10}{'CPU s':>10}{'answer s':>10}{'CPU s':>10}{'data GiB':>9}{'peak GiB':>9}"
              f"   bar {BAR / GIB:.0f} GiB")  # fmt: skip
        for name in given.only or METHODS:
            said = child(name, folder)
            if said is not None:
                show(name, said)


if __name__ == "__main__":
    main()
