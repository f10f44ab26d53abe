"""item-knn beside RecBole's ItemKNN, ease beside the bare LAPACK solve, als beside bare implicit: seconds and ratios.

    python benchmarks/speed/neighbours.py [--rounds 3] [--threads 2] [--dataset ml-1m-noratings] [--only ease]

Leave-one-out on ml-1m-noratings (6,040 users x 3,416 items), both sides in this process, by turns, medians. Counted are
wall-clock and CPU seconds of the whole process.

    item-knn   100 neighbours, cosine, no shrinkage, from the interactions in memory on both sides. RecBole: its
               constructor (similarities, the nearest, and the scores of all users at once), then full_sort_predict
               (rows of those scores); ours: fit (similarities, the nearest), then score, which makes the scores, in the
               batches of the evaluation. The ratio is of both together. Bar: at least 5 times as fast
    user-knn   the same with users for items; RecBole's similarities of training, ours of the histories at hand, which
               are therefore computed when asked
    ease       from the Gram matrix to the weights, beside LAPACK's potrf + potri of the same matrix, scipy.linalg.inv
               and numpy.linalg.inv; then the whole fit, to which nobody has given the Gram matrix. Bar: at most 1.2
               times potrf + potri
    als        the fit beside implicit's own call at the same parameters, then answering all users from their
               histories (recalculate_user and a product). Bar: at most 1.1 times implicit
Ways to item-knn's similarities that were tried here, CPU seconds of one thread, for all pairs of 3,416 items:

    scipy's sparse product, blocks of 1,024 items                1.25   before; its results' ids put in order: .6 more
    each pair once (blocks to the right of the diagonal)         .61    of 128, 256 and 512 items alike: .57 to .66
    the same, without scipy's first pass over the pairs          .41    what is used: the same to the last bit
    items by falling, rising popularity; tiles of columns        .57 to .71 (with the first pass)
    popular items times a dense matrix                           slower from 512 items on (.32 for .23)
    closed_form's Gram matrix: BLAS for popular items            .55 to .74, for counts alone
    float64 dsyrk of all                                         1.76
    implicit's all_pairs_knn (compiled, a heap for each row)     2.29   and its ties are others
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.closed_form import gram_matrix, item_weights
from llmrec.context import Context
from llmrec.data import load
from llmrec.discover import load_method
from llmrec.recbole_mend import mended
from llmrec.records import Protocol
from llmrec.split import make_split
from llmrec.types import Items, Split

USERS_AT_ONCE = 512
NEIGHBOURS = 100
L2 = 100.0
Side = Callable[[], Any]


def fitted(name: str, split: Split, items: Items, **params: Any) -> Any:
    method = load_method(name)(**params)
    method.fit(split, Context(seed=0, items=items))
    return method


def answers(method: Any, split: Split) -> None:
    for users, _ in split.batches("test", USERS_AT_ONCE):
        method.score(users)


def nearest_neighbours(name: str, kind: str, split: Split, items: Items, rounds: int) -> None:
    """RecBole's ItemKNN knows a user by training alone, ours by the history at hand: the sums have one item more."""
    from recbole.model.general_recommender import ItemKNN

    from llmrec.recbole_data import train_data

    with tempfile.TemporaryDirectory() as folder, mended(Path(folder)):
        adapter = load_method("recbole")(model="ItemKNN", config={"knn_method": kind, "k": NEIGHBOURS})
        ctx = Context(seed=0, items=items)
        config = adapter._settings(ItemKNN, ctx, folder, "", "")
        data = train_data(config, split, ctx)._dataset
        kept: dict[str, Any] = {}

        def their_fit() -> None:
            kept["theirs"] = ItemKNN(config, data)

        def their_answers() -> None:
            import torch

            model = kept["theirs"]
            for users, _ in split.batches("test", USERS_AT_ONCE):
                model.full_sort_predict({model.USER_ID: torch.from_numpy(users.ids.astype(np.int64) + 1)})

        def our_fit() -> None:
            kept["ours"] = fitted(name, split, items, neighbours=NEIGHBOURS, weighting="binary")

        print(f"\n{name}, cosine, {NEIGHBOURS} neighbours: building, and answering all users")
        sides: dict[str, Side] = {
            "RecBole, building": their_fit,
            "RecBole, answers": their_answers,
            "llmrec, building": our_fit,
            "llmrec, answers": lambda: answers(kept["ours"], split),
        }
        found = measured(sides, rounds)
    for side in ("RecBole", "llmrec"):
        both = zip(found[f"{side}, building"], found[f"{side}, answers"], strict=True)
        found[side] = [(a[0] + b[0], a[1] + b[1]) for a, b in both]
    if name == "item-knn":
        ratio(found, "RecBole, building", "llmrec, building")
        ratio(found, "RecBole, answers", "llmrec, answers")
    ratio(found, "RecBole", "llmrec", "at least 5")


def ease(split: Split, items: Items, rounds: int) -> None:
    import scipy.linalg
    from scipy.linalg import lapack

    full = gram_matrix(split.fit.matrix())
    ridged = full.copy(order="F")
    ridged[np.diag_indices_from(ridged)] += L2

    def bare() -> None:
        factor, _ = lapack.dpotrf(ridged.copy(order="F"), lower=True, overwrite_a=True)
        lapack.dpotri(factor, lower=True, overwrite_c=True)

    print(f"\nease, {len(full):,} items in float64")
    sides: dict[str, Side] = {
        "potrf + potri": bare,
        "scipy.linalg.inv": lambda: scipy.linalg.inv(ridged),
        "numpy.linalg.inv": lambda: np.linalg.inv(ridged),
        "llmrec, Gram matrix given": lambda: item_weights(full.copy(order="F"), L2),
        "llmrec, Gram matrix alone": lambda: gram_matrix(split.fit.matrix()),
        "llmrec, whole fit": lambda: fitted("ease", split, items, l2=L2),
    }
    found = measured(sides, rounds)
    ratio(found, "llmrec, Gram matrix given", "potrf + potri", "at most 1.2")
    for peer in ("potrf + potri", "scipy.linalg.inv", "numpy.linalg.inv"):
        ratio(found, "llmrec, whole fit", peer)


def als(split: Split, items: Items, rounds: int) -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    defaults = load_method("als")()
    names = ("factors", "regularization", "alpha", "iterations")
    params = {name: getattr(defaults, name) for name in names}
    seen = split.fit.matrix()
    kept: dict[str, Any] = {}

    def bare() -> None:
        model = AlternatingLeastSquares(**params, num_threads=int(os.environ["OMP_NUM_THREADS"]), random_state=0)
        with threadpool_limits(1, "blas"):
            model.fit(seen, show_progress=False)
        kept["bare"] = model

    def ours() -> None:
        kept["ours"] = fitted("als", split, items)

    def bare_answers() -> None:
        for users, _ in split.batches("test", USERS_AT_ONCE):
            own = kept["bare"].recalculate_user(np.arange(len(users)), users.matrix())
            own @ kept["bare"].item_factors.T

    print(f"\nals, {params}")
    sides: dict[str, Side] = {
        "implicit, fit": bare,
        "llmrec, fit": ours,
        "implicit, answers": bare_answers,
        "llmrec, answers": lambda: answers(kept["ours"], split),
    }
    found = measured(sides, rounds)
    ratio(found, "llmrec, fit", "implicit, fit", "at most 1.1")
    ratio(found, "llmrec, answers", "implicit, answers")


def measured(sides: dict[str, Side], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Wall-clock and CPU seconds of every side in every round, printed as medians."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    print(f"{'':28}{'median s':>10}{'CPU s':>10}")
    for name, times in found.items():
        wall, cpu = (statistics.median(values) for values in zip(*times, strict=True))
        print(f"{name:28}{wall:10.2f}{cpu:10.2f}", flush=True)
    return found


def ratio(found: dict[str, list[tuple[float, float]]], above: str, below: str, bar: str = "") -> None:
    wall, cpu = (
        statistics.median(a[i] / b[i] for a, b in zip(found[above], found[below], strict=True)) for i in (0, 1)
    )
    print(f"{above} / {below}: {wall:.2f}, in CPU seconds {cpu:.2f}" + (f"   (bar: {bar})" if bar else ""), flush=True)


PARTS = {
    "item-knn": partial(nearest_neighbours, "item-knn", "item"),
    "user-knn": partial(nearest_neighbours, "user-knn", "user"),
    "ease": ease,
    "als": als,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dataset", default="ml-1m-noratings")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; repeatable")
    given = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != str(given.threads):  # libraries read it when they are imported
        os.environ["OMP_NUM_THREADS"] = str(given.threads)
        os.execv(sys.executable, sys.orig_argv)
    split, items = make_split(load(given.dataset), Protocol())
    print(f"{given.dataset}: {split.n_users:,} users, {split.n_items:,} items, {len(split.fit):,} interactions; "
          f"{given.threads} threads, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for name in given.only or PARTS:
        PARTS[name](split, items, given.rounds)


if __name__ == "__main__":
    main()
