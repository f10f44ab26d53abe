"""The task ``topn``: a user's held-out items, ranked among all candidates (see `llmrec.evaluate`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from llmrec.evaluate import Answers, measure, validate
from llmrec.evaluate import answer as ask
from llmrec.stored import answer_hashes, read_tables, write_answers
from llmrec.stored import read_answers as read
from llmrec.types import Part, Split

__all__ = ["answer", "measure", "read", "stored", "validate", "write"]

LIST_LENGTH = 20
"""Items in a stored recommendation list."""


def answer(method: Any, split: Split, part: Part) -> Answers:
    """Ranks of all relevant items of a part's users, and their lists."""
    return ask(method, split, part, k=LIST_LENGTH)


def write(answers: Answers, split: Split, folder: Path) -> dict[str, str]:
    """ranks.parquet and answers.parquet (see `llmrec.stored`)."""
    hashes = write_answers(answers, split, folder)
    # Ranks are kept under version control: the slowest compression takes 13 % off them.
    path = folder / "ranks.parquet"
    pl.read_parquet(path).write_parquet(path, compression_level=19)
    return hashes


def stored(folder: Path) -> dict[str, str]:
    """The fingerprints of what `write` wrote."""
    return answer_hashes(*read_tables(folder))
