"""item-knn, ease, als and sasrec (one epoch) on data as large as MovieLens 20M: seconds and peak memory of each.

    python benchmarks/speed/large.py [--method ease] [--threads 2] [--events 20000000] [--seconds 300]

The data are made here, from a seed: 138,000 users, 27,000 items, 20 million different (user, item) pairs. A user's
number of items is log-normal as in MovieLens 20M (median 88, mean 145); items are drawn by a popularity that falls like
1 / (rank + 60)^1.35, which gives the most popular tenth of them four fifths of the events. Each method is fitted and
asked for 10,000 users' lists in a process of its own, one after another; peak memory is the whole process's, data and
imports included. Bar: 20 GiB.

An epoch of sasrec takes hours on a CPU: it is stopped after --seconds of training at full size, and the share of the
epoch's steps that was done is printed with the seconds that the whole would take at that rate.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
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

USERS, ITEMS = 138_000, 27_000
ASKED = 10_000
GIB = 2**30
BAR = 20 * GIB
METHODS = ("item-knn", "ease", "als", "sasrec")


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


def split_of(user: np.ndarray, item: np.ndarray) -> Split:
    """Leave-one-out; the first of the users who have three events are asked."""
    sizes = np.bincount(user, minlength=USERS)
    left = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(user))  # 1: tests, 2: validates
    held_out = np.where(np.repeat(sizes, sizes) >= 3, left, 3)
    place = (np.arange(len(user)) - np.repeat(np.cumsum(sizes) - sizes, sizes)).astype(np.int32)
    parts = []
    for kept in (held_out > 2, held_out == 2, held_out == 1):
        frame = pl.DataFrame({"user": user[kept], "item": item[kept], "order": place[kept]}).select(
            "user", "item", pl.lit(1.0, pl.Float32).alias("value"), pl.lit(None, pl.Int64).alias("time"), "order"
        )
        parts.append(Interactions(frame, USERS, ITEMS))
    asked = np.flatnonzero(sizes >= 3)[:ASKED].astype(np.int32)
    train, valid, test = parts
    small = toy.leave_one_out([[0, 1, 2]], ITEMS)
    return dataclasses.replace(
        small, n_users=USERS, train=train, valid=valid, test=test, asked={"valid": asked, "test": asked}
    )


class Enough(Exception):
    """An epoch has been trained for long enough."""


def fit(name: str, split: Split, seconds: float) -> tuple[Any, dict[str, float]]:
    """The method, fitted, and what is to be said of it."""
    method = load_method(name)(**({"epochs": 1} if name == "sasrec" else {}))
    ctx = Context(seed=0, items=toy.items(1), epochs=1 if name == "sasrec" else None)
    began = time.perf_counter()
    said: dict[str, float] = {}
    if name == "sasrec":
        stop_after(seconds, said)
        histories = split.fit.histories
        windows = int(np.ceil(histories.lengths / method.length).sum())
        said["steps of an epoch"] = -(-windows // method.batch_size)
    with contextlib.suppress(Enough):
        method.fit(split, ctx)
    said["fit"] = time.perf_counter() - began
    return method, said


def stop_after(seconds: float, said: dict[str, float]) -> None:
    """Count torch's optimiser steps, and end the training after so many seconds of them."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    began = time.perf_counter()

    def count(*_: Any) -> None:
        said["steps"] = said.get("steps", 0) + 1
        if time.perf_counter() - began > seconds:
            raise Enough

    register_optimizer_step_post_hook(count)


def peak() -> int:
    """The process's largest resident memory so far, bytes (Linux)."""
    status = Path("/proc/self/status").read_text()
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def be_child(name: str, folder: Path, seconds: float) -> None:
    split = split_of(np.load(folder / "user.npy"), np.load(folder / "item.npy"))
    data = peak()
    method, said = fit(name, split, seconds)
    if name == "sasrec":
        method.model.eval()
    began = time.perf_counter()
    answers = answer(method, split, "test", k=20)
    said["answer"] = time.perf_counter() - began
    said["ndcg@10"] = float(per_user(answers.ranks, answers.targets)["ndcg@10"].mean())
    print(json.dumps({**said, "data": data, "peak": peak()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", action="append", choices=METHODS, help="only this one; repeatable")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--seconds", type=float, default=300, help="of training in sasrec's epoch")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        be_child(given.child[0], Path(given.child[1]), given.seconds)
        return
    limited = {name: str(given.threads) for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        user, item = draw(USERS, ITEMS, given.events)
        np.save(Path(folder) / "user.npy", user)
        np.save(Path(folder) / "item.npy", item)
        most = np.sort(np.bincount(item, minlength=ITEMS))[::-1][: ITEMS // 10].sum() / len(user)
        print(f"{USERS:,} users, {ITEMS:,} items, {len(user):,} events, {most:.0%} of them with the most popular tenth")
        print(f"{given.threads} threads, load {os.getloadavg()[0]:.1f}")
        del user, item
        print(f"{'':10}{'fit s':>9}{'answer s':>10}{'data GiB':>10}{'peak GiB':>10}   bar {BAR / GIB:.0f} GiB")
        for name in given.method or METHODS:
            command = [sys.executable, "-P", __file__, "--child", name, folder, "--seconds", str(given.seconds)]
            done = subprocess.run(command, env={**os.environ, **limited}, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                print(f"{name:10} ended with exit code {done.returncode}")
                continue
            said = json.loads(done.stdout.splitlines()[-1])
            verdict = "held" if said["peak"] <= BAR else "MISSED"
            memory = "".join(f"{said[what] / GIB:10.2f}" for what in ("data", "peak"))
            print(f"{name:10}{said['fit']:9.1f}{said['answer']:10.1f}{memory}   {verdict}", flush=True)
            if said.get("steps", 0) < said.get("steps of an epoch", 0):
                share = said["steps"] / said["steps of an epoch"]
                print(
                    f"{'':10}{share:.2%} of an epoch's steps; all would take {said['fit'] / share:,.0f} s", flush=True
                )


if __name__ == "__main__":
    main()
