"""Figures of each user on a part of the items (``items:cold``), for suites that ask for them: ``slices`` in their file.

A record keeps a slice's means alone; a test needs each user's own. They are computed again from the stored ranks, and
the data say which items belong to the slice.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from llmrec.records import Protocol

if TYPE_CHECKING:
    import polars as pl

    from llmrec.report.evidence import Run


def column(part: str, metric: str) -> str:
    """The name under which a part's figures of each user stand."""
    return f"{part} {metric}"


def with_parts(run: Run, parts: tuple[str, ...]) -> pl.DataFrame:
    """A run's figures per user and, for each part, columns such as "items:cold ndcg@10": null for users to whom no item
    of the part is relevant. A slice looks at the relevant items of its group only (`llmrec.evaluate.slices`).

    Raises:
        UserError: the dataset is not at hand.
    """
    import numpy as np
    import polars as pl

    from llmrec.evaluate.metrics import per_user
    from llmrec.stored import read_ranks
    from llmrec.types import Targets

    table = run.users
    if not parts:
        return table
    assert run.folder is not None
    ranks = read_ranks(run.folder).sort("user", maintain_order=True)
    groups = _groups(run.spec.dataset, run.spec.protocol.model_dump_json())
    for part in parts:
        some = ranks.filter(groups[part][ranks["item"].to_numpy()])
        users, counts = np.unique(some["user"].to_numpy(), return_counts=True)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        targets = Targets(users.astype(np.int32), indptr, some["item"].to_numpy())
        figures: dict[str, Any] = per_user(some["rank"].to_numpy(), targets)
        named = {column(part, metric): values for metric, values in figures.items() if metric.endswith("@10")}
        table = table.join(pl.DataFrame({"user": targets.users, **named}), on="user", how="left")
    return table


@cache
def _groups(dataset: str, protocol: str) -> dict[str, Any]:
    """The items of each part, by the card's own ids, which records are kept in: bool [n_items]."""
    import numpy as np

    from llmrec.data import load
    from llmrec.evaluate.popularity import Popularity
    from llmrec.split import make_split

    split, _ = make_split(load(dataset), Protocol.model_validate_json(protocol), "topn")
    popularity = Popularity.of(split)
    groups = {"items:head": popularity.head, "items:tail": ~popularity.head, "items:cold": popularity.cold}
    place = np.argsort(split.canonical)  # the card's item i is the split's item place[i]
    return {part: group[place] for part, group in groups.items()}
