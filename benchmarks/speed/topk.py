"""Top-20 lists for 1,000,000 users of 50,000 items in batches, and their evaluation: answers per second, peak memory.

    python benchmarks/speed/topk.py [--users 1000000] [--threads 2] [--peer 20000]
    python benchmarks/speed/topk.py --items 1000000 --width 384 --users 1000 --peer 100

The second line is the search of a text encoder's embeddings among a million items.

A model of user and item factors (float32, 64 wide) goes through the suite's own path: scores of a batch of users, the
history masked, ties counted, the relevant item's rank and the list of 20; then every metric of the task. No array of
users x items is ever held: that would be 200 GB. What is held grows with the users alone (data, ranks, lists and
metrics): it is printed beside the size of one batch of scores. The first --peer users are also answered by implicit's
C++ top-k, whose lists must be the same; it masks the history too, but computes neither ranks nor metrics. Fewer --users
are a smaller measurement, and printed as such; seconds are proportional to them.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from llmrec import toy
from llmrec.evaluate import answer, measure
from llmrec.evaluate.answers import BATCH_BYTES
from llmrec.types import Floats, Interactions, Split, Users

HISTORY, K = 10, 20
ALL_USERS, ALL_ITEMS = 1_000_000, 50_000
MIB = 2**20


class Factors:
    """User factors x item factors."""

    def __init__(self, n_users: int, n_items: int, width: int) -> None:
        rng = np.random.default_rng(1)
        self.users = rng.standard_normal((n_users, width), dtype=np.float32)
        self.items = rng.standard_normal((n_items, width), dtype=np.float32)

    def score(self, users: Users) -> Floats:
        return self.users[users.ids] @ self.items.T


def split_of(n_users: int, n_items: int) -> Split:
    """Histories of 10 different items a user, and one more item each that is asked for."""
    rng = np.random.default_rng(0)
    stride = rng.integers(1, n_items // (HISTORY + 1), n_users)
    item = (rng.integers(0, n_items, n_users)[:, None] + np.arange(HISTORY + 1) * stride[:, None]) % n_items
    parts = []
    for columns in (slice(0, HISTORY), slice(0, 0), slice(HISTORY, HISTORY + 1)):
        some = item[:, columns]
        places = np.tile(np.arange(HISTORY + 1, dtype=np.int32)[columns], n_users)
        user = np.repeat(np.arange(n_users, dtype=np.int32), some.shape[1])
        frame = pl.DataFrame({"user": user, "item": some.ravel().astype(np.int32), "order": places}).select(
            "user", "item", pl.lit(1.0, pl.Float32).alias("value"), pl.lit(None, pl.Int64).alias("time"), "order"
        )
        parts.append(Interactions(frame, n_users, n_items))
    asked = np.arange(n_users, dtype=np.int32)
    train, valid, test = parts
    small = toy.leave_one_out([[0, 1, 2]], n_items)
    return dataclasses.replace(
        small, n_users=n_users, train=train, valid=valid, test=test, asked={"valid": asked[:0], "test": asked}
    )


def memory(what: str = "VmHWM") -> float:
    """The process's largest resident memory so far (VmRSS: the present one), MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(what))


def implicits(model: Factors, split: Split, n_users: int, threads: int) -> np.ndarray:
    """implicit's lists of the first users, int32 [n_users, K]."""
    from implicit.cpu.topk import topk

    lists = []
    for users, _ in split.batches("test", BATCH_BYTES // (8 * split.n_items)):
        if users.ids[0] >= n_users:
            break
        lists.append(
            topk(model.items, model.users[users.ids], K, filter_query_items=users.matrix(), num_threads=threads)[0]
        )
    return np.concatenate(lists)[:n_users]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=ALL_USERS)
    parser.add_argument("--items", type=int, default=ALL_ITEMS)
    parser.add_argument("--width", type=int, default=64, help="of the factors")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", type=int, default=20_000, help="users that implicit answers as well; 0: none")
    given = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != str(given.threads):  # libraries read it when they are imported
        os.environ["OMP_NUM_THREADS"] = str(given.threads)
        os.execv(sys.executable, sys.orig_argv)
    split, model = split_of(given.users, given.items), Factors(given.users, given.items, given.width)
    before = memory("VmRSS")
    part = "" if given.users * given.items >= ALL_USERS * ALL_ITEMS else f" (NOT {ALL_USERS:,} x {ALL_ITEMS:,})"
    size = f"{given.users:,} users x {given.items:,} items{part}, {given.width} wide"
    print(f"{size}, {given.threads} threads, load {os.getloadavg()[0]:.1f}")
    wall, cpu = time.perf_counter(), time.process_time()
    answers = answer(model, split, "test", k=K)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert answers.topk is not None
    batch = max(1, BATCH_BYTES // (8 * given.items)) * given.items * 4 / MIB
    print(
        f"answers   {given.users / wall:10,.0f} a second, {given.users / cpu:,.0f} a CPU second ({wall:.0f} s)",
        flush=True,
    )
    print(f"memory    {memory():10,.0f} MiB at the peak; {before:,.0f} before; scores of a batch {batch:.0f}; "
          f"of all users {given.users * given.items * 4 / MIB:,.0f}")  # fmt: skip
    wall, cpu = time.perf_counter(), time.process_time()
    found = measure(answers, split, toy.items(given.items), None).metrics
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"metrics   {wall:10.1f} s, {cpu:.1f} CPU s for {len(found)} of them; peak {memory():,.0f} MiB", flush=True)
    if given.peer:
        some = min(given.peer, given.users)
        wall, cpu = time.perf_counter(), time.process_time()
        theirs = implicits(model, split, some, given.threads)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        same = float((theirs == answers.topk.items[:some]).mean())
        print(
            f"implicit  {some / wall:10,.0f} a second, {some / cpu:,.0f} a CPU second, lists alone; {same:.2%} the same"
        )


if __name__ == "__main__":
    main()
