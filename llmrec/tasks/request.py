"""The task ``request``: items for a request in words ("a film set beyond the earth"), best first.

What is relevant says the label that the request was made of (`llmrec.data.requests`). Labels are incomplete: an item
without one may well deserve it, so that precision and ndcg are lower bounds, the same for all methods. Every figure is
a mean over requests, and tests and intervals pair over them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from llmrec.errors import MethodError, UserError
from llmrec.evaluate.answers import BATCH_BYTES
from llmrec.evaluate.found import check_found, place_found
from llmrec.evaluate.measure import Measures
from llmrec.evaluate.metrics import CUTOFFS, Values, per_user
from llmrec.stored import digest, read_table
from llmrec.types import NO_ITEM, Bools, Floats, Int32, Items, Part, Requests, Split, Targets

LIST_LENGTH = 20
"""Items asked for and stored for each request."""

BATCH = 512
"""Requests asked for at a time, at most; fewer where the catalogue is large, so that memory does not grow with it."""

METRICS = tuple(f"{name}@{k}" for name in ("ndcg", "precision", "recall") for k in CUTOFFS)


@dataclass(frozen=True)
class RequestAnswers:
    """The items that a method found for a part's requests."""

    requests: Requests
    items: Int32  # [n, k], best first, NO_ITEM at the end of a short list
    scores: Floats  # [n, k], falling, -inf where there is no item
    part: Part = "test"

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def targets(self) -> Targets:
        """The relevant items of each request, whose number stands for the user."""
        relevant = self.requests.relevant
        return Targets(np.arange(len(self), dtype=np.int32), relevant.indptr, relevant.items)

    @property
    def ranks(self) -> Int32:
        """The place of every relevant item in its request's list, in the order of ``targets.items``."""
        return place_found(self.items, self.scores, self.targets)


def answer(method: Any, split: Split, part: Part) -> RequestAnswers:
    """The items that a method finds for the part's requests.

    Raises:
        MethodError: it has no ``search``, or gave lists of the wrong shape or order, an id that is no candidate's or
            stands twice in a list, or a score that is not finite; names method and request.
    """
    name = getattr(method, "name", None) or type(method).__name__
    if not callable(getattr(method, "search", None)):
        raise MethodError(f"{name}: has no search(texts, k).")
    requests = split.requests[part]
    size = max(1, min(BATCH, BATCH_BYTES // (8 * max(1, split.n_items))))
    items, scores = [np.empty((0, LIST_LENGTH), np.int32)], [np.empty((0, LIST_LENGTH), np.float32)]
    for start in range(0, len(requests), size):
        texts = requests.texts[start : start + size]
        found = check_found(method.search(list(texts), LIST_LENGTH), texts, LIST_LENGTH, split.candidates, name)
        items.append(found[0])
        scores.append(found[1])
    return RequestAnswers(requests, np.concatenate(items), np.concatenate(scores), part)


def validate(method: Any, split: Split) -> dict[str, float]:
    """Means over the requests of the validation part: {"ndcg@10": ..., "precision@10": ..., "recall@10": ...}."""
    answers = answer(method, split, "valid")
    values = per_user(answers.ranks, answers.targets, (10,))
    return {name: float(values[name].mean()) if len(answers) else 0.0 for name in METRICS if name in values}


def measure(answers: RequestAnswers, split: Split, items: Items, embeddings: Floats | None = None) -> Measures:
    """All figures of one run's answers; neither the items' texts nor their embeddings play a part.

    ``users`` of the result has one row a request: "user" is its number in the part, then kind and targets (how many
    items are relevant), then the metrics. Slices are the kinds: "requests:shares words", "requests:shares no word".
    """
    targets = answers.targets
    values = {name: value for name, value in per_user(answers.ranks, targets).items() if name in METRICS}
    values = {name: values[name] for name in METRICS}
    frame = pl.DataFrame(
        {
            "user": targets.users,
            "kind": pl.Series(answers.requests.kinds, dtype=pl.String),
            "targets": targets.counts.astype(np.int32),
            **values,
        }
    )
    kinds = np.array(answers.requests.kinds, dtype=object)
    counts = {
        "requests": len(answers),
        "targets": len(targets.items),
        "candidates": int(split.candidates.sum()),
        "unanswered": int((answers.items == NO_ITEM).all(axis=1).sum()),
        "empty_places": int((answers.items == NO_ITEM).sum()),
    }
    slices = {f"requests:{kind}": _means(values, kinds == kind) for kind in sorted(set(answers.requests.kinds))}
    metrics = {name: float(value.mean()) for name, value in values.items()} if len(answers) else {}
    return Measures(metrics, frame, slices, counts)


def write(answers: RequestAnswers, split: Split, folder: Path) -> dict[str, str]:
    """Write answers.parquet: request int32 (its number in the part), item int32 (the card's id; -1: none), score.

    Returns the fingerprints of the lists ("answers") and of the scores ("scores").
    """
    items = np.where(answers.items == NO_ITEM, NO_ITEM, split.canonical[answers.items]).astype(np.int32)
    table = pl.DataFrame(
        {
            "request": np.repeat(np.arange(len(answers), dtype=np.int32), answers.items.shape[1]),
            "item": items.reshape(-1),
            "score": answers.scores.reshape(-1),
        }
    )
    table.write_parquet(folder / "answers.parquet")
    return hashes(table)


def hashes(table: pl.DataFrame) -> dict[str, str]:
    """The fingerprints of a table of answers."""
    request, item, score = (table[name].to_numpy() for name in ("request", "item", "score"))
    return {"answers": digest([request, item]), "scores": digest([score])}


def stored(folder: Path) -> dict[str, str]:
    """The fingerprints of what `write` wrote."""
    return hashes(read_table(folder, "answers.parquet"))


def read(folder: Path, split: Split, rates: dict[str, float]) -> RequestAnswers:
    """The stored answers of a run; ``rates`` (of written lists) mean nothing here.

    Raises:
        UserError: the file is missing or corrupt, or belongs to another split.
    """
    table = read_table(folder, "answers.parquet", ["request", "item", "score"])
    requests = split.requests["test"]
    whole = len(table) == len(requests) * LIST_LENGTH
    if not whole or not np.array_equal(table["request"], np.repeat(np.arange(len(requests)), LIST_LENGTH)):
        raise UserError(f"{folder}: its answers belong to another split. Run the suite with --stale.")
    own = np.full(split.n_items + 1, NO_ITEM, np.int32)  # the last place answers for NO_ITEM
    own[split.canonical] = np.arange(split.n_items, dtype=np.int32)
    shape = (len(requests), LIST_LENGTH)
    items, scores = own[table["item"].to_numpy()].reshape(shape), table["score"].to_numpy().reshape(shape)
    return RequestAnswers(requests, items, scores)


def _means(values: dict[str, Values], group: Bools) -> dict[str, float]:
    """Mean metrics of a group and how many "requests" it has."""
    return {**{name: float(value[group].mean()) for name, value in values.items()}, "requests": float(group.sum())}
