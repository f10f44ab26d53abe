"""Answers that another program made: read from a file, judged under the same masks and metrics as any other run.

A file holds (user, item) and a score or a rank, by the dataset's raw ids:

    CSV (.csv, .tsv)        a header with user, item and score or rank; other columns are ignored
    Parquet (.parquet)      the same columns
    TREC run (.run, .trec)  lines `qid Q0 docno rank score tag`, no header; qid is the user, docno the item

A score goes before a rank where there are both (as trec_eval does), because ranks hide how ties were broken: here, ties
in score count against the target, in a file as in every method.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl

from llmrec.errors import UserError
from llmrec.types import NO_ITEM, NOT_RANKED, Floats, Int32, Int64, Split, TopK, Users

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.data import Dataset
    from llmrec.evaluate import Answers

READERS = {".csv": ",", ".tsv": "\t", ".parquet": "", ".run": "", ".trec": ""}


def read_file(path: Path) -> pl.DataFrame:
    """Read an answers file: line int (1 is the file's first), user str, item str, score float64 (higher is better).

    Raises:
        UserError: no such file, another kind of file, a missing column, or a value that is no number (with its line).
    """
    kind = path.suffix.lower()
    if kind not in READERS:
        raise UserError(f"{path}: expected a file that ends in .csv, .tsv, .parquet, .run or .trec.")
    if not path.is_file():
        raise UserError(f"{path}: no such file.")
    try:
        if kind == ".parquet":
            frame = pl.read_parquet(path).with_row_index("line", offset=1)
        elif kind in (".run", ".trec"):
            frame = _read_trec(path)
        else:
            frame = pl.read_csv(path, separator=READERS[kind], infer_schema=False).with_row_index("line", offset=2)
    except (pl.exceptions.PolarsError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]}).") from None
    return _checked(frame, path)


def _read_trec(path: Path) -> pl.DataFrame:
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 6:
            raise UserError(f"{path}, line {number}: {len(parts)} fields, expected 6: qid Q0 docno rank score tag.")
        rows.append((number, parts[0], parts[2], parts[4]))
    return pl.DataFrame(rows, schema=["line", "user", "item", "score"], orient="row")


def _checked(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    order = next((name for name in ("score", "rank") if name in frame.columns), None)
    if missing := [name for name in ("user", "item") if name not in frame.columns]:
        raise UserError(f"{path}: no column {missing[0]!r}; found: {', '.join(frame.columns[1:])}.")
    if order is None:
        raise UserError(f"{path}: no column 'score' or 'rank'; found: {', '.join(frame.columns[1:])}.")
    number = pl.col(order).cast(pl.Float64, strict=False)
    checked = frame.select(
        pl.col("line").cast(pl.Int64),
        pl.col("user").cast(pl.String),
        pl.col("item").cast(pl.String),
        pl.col(order).cast(pl.String).alias("written"),
        (number if order == "score" else -number).alias("score"),
    )
    unit = _unit(path)
    if len(empty := checked.filter(pl.col("user").is_null() | pl.col("item").is_null())):
        raise UserError(f"{path}, {unit} {empty['line'][0]}: user or item is empty.")
    wrong = checked.filter(~pl.col("score").is_finite().fill_null(False))
    if len(wrong):
        raise UserError(
            f"{path}, {unit} {wrong['line'][0]}: {order} {wrong['written'][0] or ''!r} is no finite number."
        )
    twice = checked.filter(~pl.struct("user", "item").is_first_distinct())
    if len(twice):
        line, user, item = twice.select("line", "user", "item").row(0)
        raise UserError(f"{path}, {unit} {line}: item {item!r} stands twice in the list of user {user!r}.")
    return checked.drop("written")


def to_ids(frame: pl.DataFrame, dataset: Dataset, path: Path) -> pl.DataFrame:
    """Raw ids to the card's: user int32, item int32, score float64.

    Raises:
        UserError: a user or item that the dataset does not have, with its line.
    """
    frame = _with_ids(frame, "user", [str(user) for user in dataset.users], dataset.name, path)
    frame = _with_ids(frame, "item", dataset.items.frame["raw_id"].to_list(), dataset.name, path)
    return frame.select("user", "item", "score")


def _with_ids(frame: pl.DataFrame, column: str, raw: list[str], dataset: str, path: Path) -> pl.DataFrame:
    known = pl.DataFrame({column: raw, "id": np.arange(len(raw), dtype=np.int32)}, schema_overrides={column: pl.String})
    frame = frame.join(known, on=column, how="left", maintain_order="left")
    strange = frame.filter(pl.col("id").is_null())
    if len(strange):
        more = f" ({len(strange)} such lines)" if len(strange) > 1 else ""
        raise UserError(
            f"{path}, {_unit(path)} {strange['line'][0]}: {column} {strange[column][0]!r} is not in dataset {dataset!r}"
            f"{more}. Write the dataset's raw ids, for example {raw[0]!r}."
        )
    return frame.drop(column).rename({"id": column})


def _unit(path: Path) -> str:
    return "row" if path.suffix.lower() == ".parquet" else "line"


@dataclass
class ExternalAnswers:
    """Scores from a file as a method: what the file does not list ties below all that it lists."""

    family: ClassVar[str] = "external"
    seeded: ClassVar[bool] = False

    frame: pl.DataFrame  # user, item (the card's ids), score

    def fit(self, split: Split, ctx: Context | None = None) -> None:
        """Put the file into the split's item ids; rows of user u are starts[u]:starts[u + 1]."""
        inverse = np.empty(split.n_items, np.int32)
        inverse[split.canonical] = np.arange(split.n_items, dtype=np.int32)
        by_user = self.frame.sort("user", maintain_order=True)
        self.n_items = split.n_items
        self.users: Int32 = by_user["user"].to_numpy()
        self.items: Int32 = inverse[by_user["item"].to_numpy()]
        self.scores: Floats = by_user["score"].to_numpy()
        self.starts = np.searchsorted(self.users, np.arange(split.n_users + 1))
        self.floor = np.nextafter(self.scores.min(initial=0.0), -np.inf)

    def score(self, users: Users) -> Floats:
        """Scores [b, n_items], float64."""
        scores = np.full((len(users), self.n_items), self.floor)
        for row, user in enumerate(users.ids):
            rows = slice(self.starts[user], self.starts[user + 1])
            scores[row, self.items[rows]] = self.scores[rows]
        return scores

    def without_unlisted(self, answers: Answers) -> Answers:
        """Take out of the answers what the file did not say: unlisted targets have no rank, unlisted items no place."""
        targets, lists = answers.targets, answers.topk
        listed = self._keys(self.users, self.items)
        asked = self._keys(np.repeat(targets.users, targets.counts), targets.items)
        ranks = np.where(np.isin(asked, listed), answers.ranks, NOT_RANKED).astype(np.int32)
        if lists is not None:
            there = np.isin(self._keys(lists.users[:, None], lists.items), listed) & (lists.items != NO_ITEM)
            items = np.where(there, lists.items, NO_ITEM).astype(np.int32)
            lists = TopK(lists.users, items, np.where(there, lists.scores, -np.inf))
        return dataclasses.replace(answers, ranks=ranks, topk=lists)

    def _keys(self, users: Int32, items: Int32) -> Int64:
        return users.astype(np.int64) * self.n_items + items
