"""A run's answers as files, in the card's canonical item ids: what reeval, verify and significance tests read.

ranks.parquet     user int32, item int32, rank int32: one row a relevant item, in the order of the split's targets
answers.parquet   user int32, item int32 (-1: none), score: the lists, best first, all of one length

Runs of one dataset and protocol are all asked for the same items. A committed ranks.parquet therefore keeps its ranks
alone and names in its metadata ("targets") the file of users and items that it shares: targets/<name>.parquet beside
runs/ (results/compact.py writes it so).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from llmrec.errors import UserError
from llmrec.types import NO_ITEM, Int32, Split, TopK

if TYPE_CHECKING:
    from llmrec.evaluate import Answers


def write_answers(answers: Answers, split: Split, folder: Path) -> dict[str, str]:
    """Write ranks and lists; return the fingerprints of what was answered ("answers") and of the scores ("scores")."""
    targets = answers.targets
    ranks = pl.DataFrame(
        {
            "user": np.repeat(targets.users, targets.counts),
            "item": split.canonical[targets.items],
            "rank": answers.ranks,
        }
    )
    ranks.write_parquet(folder / "ranks.parquet")
    assert answers.topk is not None
    lists = answers.topk
    table = pl.DataFrame(
        {
            "user": np.repeat(lists.users, lists.items.shape[1]),
            "item": _canonical(lists.items, split).reshape(-1),
            "score": lists.scores.reshape(-1),
        }
    )
    table.write_parquet(folder / "answers.parquet")
    return answer_hashes(ranks, table)


def answer_hashes(ranks: pl.DataFrame, lists: pl.DataFrame) -> dict[str, str]:
    """Fingerprints of answers in canonical ids: equal exactly where every rank and list (every score) is equal."""
    columns = {
        "answers": [ranks["user"], ranks["item"], ranks["rank"], lists["user"], lists["item"]],
        "scores": [lists["score"]],
    }
    return {name: digest([c.to_numpy() for c in some]) for name, some in columns.items()}


def read_tables(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables of ranks and lists of a run's folder.

    Raises:
        UserError: one is missing or cannot be read.
    """
    return read_ranks(folder), read_table(folder, "answers.parquet")


def read_ranks(folder: Path) -> pl.DataFrame:
    """A run's table of ranks: user, item, rank.

    Raises:
        UserError: it, or the file of users and items that it shares with other runs, is missing or cannot be read.
    """
    ranks = read_table(folder, "ranks.parquet")
    if "item" in ranks.columns:
        return ranks
    name = pl.read_parquet_metadata(folder / "ranks.parquet").get("targets", "")
    path = folder.parents[2] / "targets" / f"{name}.parquet"
    try:
        targets = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0]
        raise UserError(f"{path}: {reason}: {folder / 'ranks.parquet'} needs it. Copy targets/ with runs/.") from None
    if len(targets) != len(ranks):
        raise UserError(f"{path}: {len(targets):,} rows, {folder / 'ranks.parquet'} has {len(ranks):,}. Copy it again.")
    return targets.select("user", "item").with_columns(ranks["rank"])


def read_table(folder: Path, name: str, columns: list[str] | None = None) -> pl.DataFrame:
    """A table of a run's folder, all or some of its columns.

    Raises:
        UserError: it is missing or cannot be read.
    """
    path = folder / name
    if not path.exists():
        raise UserError(f"{path}: not here (answers are not committed). Run the suite with --stale to make it again.")
    try:
        return pl.read_parquet(path, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read ({reason}). Delete {folder} and run the suite again.") from None


def read_answers(folder: Path, split: Split, rates: dict[str, float]) -> Answers:
    """The stored answers of a run in the split's ids.

    Raises:
        UserError: the files are missing or corrupt, or belong to another split.
    """
    from llmrec.evaluate import Answers

    ranks, lists = read_tables(folder)
    targets = split.targets("test")
    same = len(ranks) == len(targets.items) and np.array_equal(ranks["item"], split.canonical[targets.items])
    if not same or not np.array_equal(ranks["user"], np.repeat(targets.users, targets.counts)):
        raise UserError(f"{folder}: its answers belong to another split. Run the suite with --stale.")
    own = np.full(split.n_items + 1, NO_ITEM, np.int32)  # the last place answers for NO_ITEM
    own[split.canonical] = np.arange(split.n_items, dtype=np.int32)
    shape = (len(targets), -1)
    items, scores = own[lists["item"].to_numpy()].reshape(shape), lists["score"].to_numpy().reshape(shape)
    return Answers(targets, ranks["rank"].to_numpy(), TopK(targets.users, items, scores), rates)


def _canonical(items: Int32, split: Split) -> Int32:
    return np.where(items == NO_ITEM, NO_ITEM, split.canonical[items]).astype(np.int32)


def digest(arrays: list[np.ndarray]) -> str:
    """The first 16 hex digits of the SHA-256 of some arrays, their types and lengths included."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}/{len(array)}/".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
