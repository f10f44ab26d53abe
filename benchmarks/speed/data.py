"""Loading, filtering and splitting: ours beside RecBole's, then 32 million interactions. Seconds and peak memory.

    python benchmarks/speed/data.py [--rounds 5] [--threads 2] [--large 32000000] [--only ml-1m-noratings]

ml-1m-noratings and amazon2014-beauty (LLMREC_MIRROR must have them), leave-one-out, each side in a process of its own,
sides by turns, medians. Each has done the same with a few events before the clock starts: nobody's imports are timed.
Peak memory is the whole process's, imports included.

    RecBole          create_dataset + data_preparation from its atomic file, users and items with under 5 events go
    RecBole, items   the same, and the items' titles and categories from its other atomic file, one token each
    llmrec, same     load + filter + split from the very same file by the same filter, nothing cached
    llmrec, card     the card as it stands: checksums, item texts, tables written to the cache, split
    first, again     load alone: with nothing cached, and from the cache (median of ten in one process)

The large file is made here: a table as ml-32m's, 200,000 users, 87,000 items drawn by Zipf's law, random times; read,
5-core, leave-one-out, nothing cached. Bars: 10 times as fast as RecBole in at most half its memory, 20 times as fast
from the cache, 32 million within 60 s and 6 GiB on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

DATASETS = ("ml-1m-noratings", "amazon2014-beauty")
USERS, ITEMS = 200_000, 87_000
GIB = 2**30

SAME = """
title = "The same events"
time = "exact"
filters = { core = 5 }
[[sources]]
interactions = { path = "NAME/NAME.inter", reader = "recbole" }
"""
LARGE = """
title = "As large as MovieLens 32M"
time = "exact"
filters = { core = 5 }
[[sources]]
[sources.interactions]
path = "ratings.csv"
columns = { user = "userId", item = "movieId", value = "rating", time = "timestamp" }
"""


def peak() -> int:
    """The process's largest resident memory so far, bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def clock(figures: dict[str, float]) -> Iterator[None]:
    """Add what the block takes to ``wall`` and ``cpu``."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    figures["wall"] = figures.get("wall", 0.0) + time.perf_counter() - wall
    figures["cpu"] = figures.get("cpu", 0.0) + time.process_time() - cpu


def ours(name: str, figures: dict[str, float]) -> None:
    """Load and split."""
    from llmrec.data import load
    from llmrec.records import Protocol
    from llmrec.split import make_split

    make_split(load("warm"), Protocol())
    with clock(figures):
        split, _ = make_split(load(name), Protocol())
    figures["events"] = len(split.train) + len(split.valid) + len(split.test)


def loading(name: str, figures: dict[str, float]) -> None:
    """Load once with what the cache has (nothing, or all of it); the second time, ten times."""
    from llmrec.content import cache_folder
    from llmrec.data import load

    taken = []
    times = 10 if any(cache_folder().glob("datasets/*")) else 1
    load("warm")
    for _ in range(times):
        once: dict[str, float] = {}
        with clock(once):
            data = load(name)
        taken.append(once)
    for what in ("wall", "cpu"):
        figures[what] = statistics.median(once[what] for once in taken)
    figures["events"] = len(data.interactions)


def recboles_items(folder: str, figures: dict[str, float]) -> None:
    """As `recboles`, with the items' texts."""
    recboles(folder, figures, {"item": ["item_id", "title", "class"]})


def recboles(folder: str, figures: dict[str, float], more: dict[str, list[str]] | None = None) -> None:
    """RecBole's own reader, filter, split and loaders, as `run_recbole` calls them."""
    warnings.simplefilter("ignore")
    from llmrec.recbole_mend import mended

    with mended(), contextlib.redirect_stdout(None):
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation

        settings = {
            "data_path": folder, "seed": 0,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"], **(more or {})},
            "user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[5,inf)", "show_progress": False,
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        }  # fmt: skip
        warm, config = (Config("BPR", name, config_dict=settings) for name in ("warm", "same"))
        data_preparation(warm, create_dataset(warm))
        with clock(figures):
            parts = data_preparation(config, create_dataset(config))
        figures["events"] = sum(len(part._dataset) for part in parts)


SIDES: dict[str, Callable[[str, dict[str, float]], None]] = {
    "ours": ours,
    "loading": loading,
    "recboles": recboles,
    "recboles_items": recboles_items,
}


def child(side: str, argument: str, threads: int, **environment: str) -> dict[str, float]:
    """One side in a process of its own, on as many cores as threads."""
    limited = {name: str(threads) for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-P", __file__, "--child", side, argument, "--threads", str(threads)],
        env={**os.environ, **limited, **environment}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def be_child(side: str, argument: str, threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    figures: dict[str, float] = {}
    SIDES[side](argument, figures)
    print(json.dumps({**figures, "peak": peak()}))


def write_warm(folder: Path) -> None:
    """A card and atomic files of 10 users who each had 8 of 10 items."""
    (folder / "warm").mkdir(parents=True)
    rows = [f"{user}\t{item}\t{item}\n" for user in range(10) for item in range(10)]
    rows = [row for place, row in enumerate(rows) if place % 11 and place % 11 != 1]
    (folder / "warm" / "warm.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(rows))
    items = [f"{item}\tone\ttwo\n" for item in range(10)]
    (folder / "warm" / "warm.item").write_text("item_id:token\ttitle:token\tclass:token\n" + "".join(items))
    (folder / "warm.toml").write_text(SAME.replace("NAME", "warm"))


def write_atomic(name: str, folder: Path) -> None:
    """A dataset's events as RecBole's atomic files; where only their order is known, that is the time."""
    import polars as pl

    from llmrec.data import load

    data = load(name)
    frame = data.interactions.frame
    time = pl.col("time" if data.card.time == "exact" else "order").alias("timestamp:float")
    ids = [(pl.col("user") + 1).alias("user_id:token"), (pl.col("item") + 1).alias("item_id:token")]
    (folder / "same").mkdir(parents=True)
    frame.select(*ids, time).write_csv(folder / "same" / "same.inter", separator="\t")
    (folder / "same.toml").write_text(SAME.replace("NAME", "same"))
    text = data.items.frame.with_row_index("number", 1).select(
        pl.col("number").alias("item_id:token"),
        pl.col("title").str.replace_all('"', "").alias("title:token"),  # RecBole takes it for a quotation
        pl.col("categories").list.join(" ").str.replace_all('"', "").alias("class:token"),
    )
    text.write_csv(folder / "same" / "same.item", separator="\t", quote_style="never")


def against_recbole(name: str, rounds: int, threads: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_warm(folder / "cards")
        write_atomic(name, folder / "cards")

        def fresh(number: int, what: str) -> str:
            return str(folder / f"cache-{number}-{what}")

        cards = {"LLMREC_DATASETS": str(folder / "cards")}
        taken: list[dict[str, dict[str, float]]] = []
        for number in range(rounds):
            first = fresh(number, "first")
            taken.append({
                "RecBole": child("recboles", str(folder / "cards"), threads),
                "RecBole, items": child("recboles_items", str(folder / "cards"), threads),
                "llmrec, same": child("ours", "same", threads, LLMREC_CACHE=fresh(number, "same"), **cards),
                "llmrec, card": child("ours", name, threads, LLMREC_CACHE=fresh(number, "card"), **cards),
                "first": child("loading", name, threads, LLMREC_CACHE=first, **cards),
                "again": child("loading", name, threads, LLMREC_CACHE=first, **cards),
            })  # fmt: skip
    show(name, taken)
    for slow, fast in (("RecBole", "same"), ("RecBole, items", "card"), ("RecBole", "card")):
        compare(slow, f"llmrec, {fast}", taken)
    compare("first", "again", taken)


def show(title: str, rounds: list[dict[str, dict[str, float]]]) -> None:
    print(f"\n{title}, {rounds[0]['RecBole']['events'] if 'RecBole' in rounds[0] else len(rounds):,} events")
    print(f"{'':16}{'median s':>10}{'CPU s':>10}{'peak MiB':>10}")
    for side in rounds[0]:
        wall, cpu, most = (statistics.median(r[side][n] for r in rounds) for n in ("wall", "cpu", "peak"))
        print(f"{side:16}{wall:10.3f}{cpu:10.3f}{most / 2**20:10.0f}")


def compare(slow: str, fast: str, rounds: list[dict[str, dict[str, float]]]) -> None:
    ratio = {n: sorted(r[slow][n] / r[fast][n] for r in rounds) for n in ("wall", "cpu", "peak")}
    wall, cpu, most = (statistics.median(ratio[n]) for n in ("wall", "cpu", "peak"))
    print(
        f"{slow} / {fast}: {wall:.1f} (rounds: {ratio['wall'][0]:.1f} to {ratio['wall'][-1]:.1f}); "
        f"in CPU seconds {cpu:.1f}; in peak memory {most:.1f}"
    )


def large(events: int, threads: int) -> None:
    import numpy as np
    import polars as pl

    with tempfile.TemporaryDirectory() as temporary:
        folder, rng = Path(temporary), np.random.default_rng(0)
        pl.DataFrame({
            "userId": np.sort(rng.integers(1, USERS + 1, events)),
            "movieId": rng.zipf(1.2, events) % ITEMS + 1,
            "rating": rng.integers(1, 11, events) / 2,
            "timestamp": rng.integers(789_652_009, 1_697_164_147, events),
        }).write_csv(folder / "ratings.csv")  # fmt: skip
        write_warm(folder)
        (folder / "large.toml").write_text(LARGE)
        size = (folder / "ratings.csv").stat().st_size
        figures = child("ours", "large", threads, LLMREC_DATASETS=temporary, LLMREC_CACHE=str(folder / "cache"))
        again = child("loading", "large", threads, LLMREC_DATASETS=temporary, LLMREC_CACHE=str(folder / "cache"))
    print(
        f"\n{events:,} events ({size / GIB:.2f} GiB of CSV) on {threads} cores: load + filter + split "
        f"{figures['wall']:.1f} s ({figures['cpu']:.1f} CPU s), peak {figures['peak'] / GIB:.2f} GiB; "
        f"load from the cache {again['wall']:.2f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--large", type=int, default=32_000_000, help="interactions of the large file; 0: leave it out")
    parser.add_argument("--only", action="append", choices=DATASETS, help="only this dataset; repeatable")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        be_child(*given.child, given.threads)
        return
    for name in given.only or DATASETS:
        against_recbole(name, given.rounds, given.threads)
    if given.large:
        large(given.large, given.threads)


if __name__ == "__main__":
    main()
