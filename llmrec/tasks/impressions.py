"""The task ``impressions``: put in order the items that a user was shown, as on a page of news.

What counts is the impression, not the user: every figure is a mean over impressions, and tests and intervals pair over
them. Impressions of which nothing or everything was clicked cannot be ranked well or badly; they are left out, counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from llmrec.errors import MethodError, UserError
from llmrec.evaluate.answers import BATCH_BYTES
from llmrec.evaluate.measure import Measures
from llmrec.evaluate.popularity import Popularity
from llmrec.evaluate.shown import Clicks, Values, per_impression, place
from llmrec.stored import digest, read_table
from llmrec.types import Bools, Floats, Histories, Impressions, Int64, Items, Part, Split, Users

BATCH = 512
"""Impressions asked for at a time, at most."""


@dataclass(frozen=True)
class ImpressionAnswers:
    """A score for every candidate of a part's impressions."""

    impressions: Impressions
    scores: Floats  # [candidates], in the order of impressions.shown.items
    part: Part = "test"

    def __len__(self) -> int:
        return len(self.impressions)

    @property
    def shown(self) -> Int64:
        """Candidates of each impression, [n]."""
        return self.impressions.shown.lengths

    @property
    def clicked(self) -> Int64:
        """Clicked candidates of each impression, [n]."""
        rows = self.impressions.shown.rows[self.impressions.clicked]
        return np.bincount(rows, minlength=len(self)).astype(np.int64)

    @property
    def places(self) -> Clicks:
        """Where the clicked candidates stand."""
        return place(self.scores, self.impressions.shown, self.impressions.clicked)


def answer(method: Any, split: Split, part: Part) -> ImpressionAnswers:
    """A score for every candidate of the part's impressions.

    A method with ``rerank`` is asked for just these. One with ``score`` is asked for the scores of all items, of which
    those of the candidates are kept; the batches shrink with the catalogue, so memory does not grow with it.

    Raises:
        MethodError: another number of scores than of candidates, or one that is not finite; names method, impression.
    """
    name = getattr(method, "name", None) or type(method).__name__
    reranks = callable(getattr(method, "rerank", None))
    if not reranks and not callable(getattr(method, "score", None)):
        raise MethodError(f"{name}: has neither rerank(users, candidates) nor score(users).")
    impressions = split.impressions[part]
    size = BATCH if reranks else max(1, min(BATCH, BATCH_BYTES // (8 * max(1, split.n_items))))
    found = []
    for start in range(0, len(impressions), size):
        rows = np.arange(start, min(start + size, len(impressions)))
        ids, histories = impressions.users.ids[rows], impressions.users.histories.take(rows)
        some = Impressions(Users(ids, histories), impressions.shown.take(rows), np.empty(0, bool))  # not the clicks
        scores = _reranked(method, some, name, start) if reranks else _gathered(method, some, split, name, start)
        _check_finite(scores, some, name, start)
        found.append(scores)
    return ImpressionAnswers(impressions, np.concatenate(found) if found else np.empty(0, np.float32), part)


def validate(method: Any, split: Split) -> dict[str, float]:
    """Means over the impressions of the validation part: {"auc": ..., "mrr": ..., "ndcg@5": ..., "ndcg@10": ...}."""
    answers = answer(method, split, "valid")
    values = per_impression(answers.places, answers.shown, answers.clicked)
    judged = ~np.isnan(values["auc"])
    return {name: float(value[judged].mean()) if judged.any() else 0.0 for name, value in values.items()}


def measure(answers: ImpressionAnswers, split: Split, items: Items, embeddings: Floats | None = None) -> Measures:
    """All figures of one run's answers; neither the items' texts nor their embeddings play a part.

    ``users`` of the result has one row an impression: "user" is its number in the part, then shown, clicked and history
    (how many items), then the metrics.
    """
    places, shown, clicked = answers.places, answers.shown, answers.clicked
    values = per_impression(places, shown, clicked)
    judged = ~np.isnan(values["auc"])
    frame = pl.DataFrame(
        {
            "user": np.flatnonzero(judged).astype(np.int32),
            "shown": shown[judged].astype(np.int32),
            "clicked": clicked[judged].astype(np.int32),
            "history": answers.impressions.users.histories.lengths[judged].astype(np.int32),
            **{name: value[judged] for name, value in values.items()},
        }
    )
    tied = np.bincount(places.row, weights=places.others_tied > 0, minlength=len(answers)) > 0
    counts = {
        "impressions": int(judged.sum()),
        "impressions_without_choice": int((~judged).sum()),
        "shown": int(shown[judged].sum()),
        "clicked": int(clicked[judged].sum()),
        "tied_impressions": int((tied & judged).sum()),  # in which a clicked candidate ties with one that was not
    }
    slices = {name: _means(values, judged & group) for name, group in _groups(answers, split, judged).items()}
    slices["ties:shuffled"] = _means(per_impression(places, shown, clicked, shuffled=True), judged)
    metrics = {name: float(value[judged].mean()) for name, value in values.items()} if judged.any() else {}
    return Measures(metrics, frame, slices, counts)


def write(answers: ImpressionAnswers, split: Split, folder: Path) -> dict[str, str]:
    """Write answers.parquet: impression int32 (its number in the part), item int32 (the card's id), score.

    Returns the fingerprints of the order that the scores give ("answers") and of the scores ("scores").
    """
    shown = answers.impressions.shown
    table = pl.DataFrame(
        {
            "impression": shown.rows.astype(np.int32),
            "item": split.canonical[shown.items],
            "score": answers.scores,
        }
    )
    table.write_parquet(folder / "answers.parquet")
    return hashes(table)


def hashes(table: pl.DataFrame) -> dict[str, str]:
    """The fingerprints of a table of answers."""
    impression, item, score = (table[name].to_numpy() for name in ("impression", "item", "score"))
    indptr = np.searchsorted(impression, np.arange(impression.max(initial=-1) + 2))
    everyone = place(score, Histories(indptr, item, 0), np.ones(len(score), bool))
    above = np.empty(len(score), np.int32)  # how many candidates of the impression score higher
    above[everyone.at] = everyone.above
    return {"answers": digest([impression, item, above]), "scores": digest([score])}


def stored(folder: Path) -> dict[str, str]:
    """The fingerprints of what `write` wrote."""
    return hashes(read_table(folder, "answers.parquet"))


def read(folder: Path, split: Split, rates: dict[str, float]) -> ImpressionAnswers:
    """The stored answers of a run; ``rates`` (of written lists) mean nothing here.

    Raises:
        UserError: the file is missing or corrupt, or belongs to another split.
    """
    table = read_table(folder, "answers.parquet", ["impression", "item", "score"])
    impressions = split.impressions["test"]
    shown = impressions.shown
    same = len(table) == len(shown.items) and np.array_equal(table["item"], split.canonical[shown.items])
    if not same or not np.array_equal(table["impression"], shown.rows):
        raise UserError(f"{folder}: its answers belong to another split. Run the suite with --stale.")
    return ImpressionAnswers(impressions, table["score"].to_numpy())


def _reranked(method: Any, some: Impressions, name: str, start: int) -> Floats:
    scores = _numbers(method.rerank(some.users, some.shown), name, "rerank")
    if scores.shape != (len(some.shown.items),):
        raise MethodError(
            f"{name}: rerank() returned shape {scores.shape} for the impressions {start} to {start + len(some) - 1}; "
            f"expected ({len(some.shown.items)},), one score a candidate."
        )
    return scores


def _gathered(method: Any, some: Impressions, split: Split, name: str, start: int) -> Floats:
    scores = _numbers(method.score(some.users), name, "score")
    if scores.shape != (len(some), split.n_items):
        raise MethodError(
            f"{name}: score() returned shape {scores.shape} for the impressions {start} to {start + len(some) - 1}; "
            f"expected ({len(some)}, {split.n_items}), one row an impression and one column an item."
        )
    return np.asarray(scores[some.shown.rows, some.shown.items])


def _numbers(given: Any, name: str, verb: str) -> Floats:
    """Scores as floating numbers that lose nothing: counts become float64."""
    scores = np.asarray(given.toarray() if hasattr(given, "toarray") else given)
    if not (np.issubdtype(scores.dtype, np.number) or scores.dtype == bool) or np.iscomplexobj(scores):
        raise MethodError(f"{name}: {verb}() returned values of type {scores.dtype}; scores are real numbers.")
    return scores.astype(np.result_type(scores.dtype, np.float32), copy=False)


def _check_finite(scores: Floats, some: Impressions, name: str, start: int) -> None:
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        row = some.shown.rows[wrong[0]]
        raise MethodError(
            f"{name}: the score of item {some.shown.items[wrong[0]]} in impression {start + row} (user "
            f"{some.users.ids[row]}) is {scores[wrong[0]]}; every score must be finite."
        )


def _groups(answers: ImpressionAnswers, split: Split, judged: Bools) -> dict[str, Bools]:
    """Impressions by what was clicked, by how much is known of the user, and by how much was shown, each bool [n].

    items:cold     a clicked item never occurs in training; items:warm: all of them do
    users:low ...  thirds by the length of the history; shown:few ... thirds by the number of candidates (left out where
                   all impressions are of one size); equals stay together
    """
    impressions = answers.impressions
    cold_click = Popularity.of(split).cold[impressions.shown.items] & impressions.clicked
    cold = np.bincount(impressions.shown.rows[cold_click], minlength=len(answers)) > 0
    groups = {"items:cold": cold, "items:warm": ~cold}
    groups |= _thirds(impressions.users.histories.lengths, judged, ("users:low", "users:mid", "users:high"))
    if len(np.unique(answers.shown[judged])) > 1:
        groups |= _thirds(answers.shown, judged, ("shown:few", "shown:some", "shown:many"))
    return groups


def _thirds(sizes: Int64, judged: Bools, names: tuple[str, str, str]) -> dict[str, Bools]:
    if not judged.any():
        return {name: np.zeros(len(sizes), bool) for name in names}
    low, high = np.quantile(sizes[judged], [1 / 3, 2 / 3], method="lower")
    return dict(zip(names, (sizes <= low, (sizes > low) & (sizes <= high), sizes > high), strict=True))


def _means(values: dict[str, Values], group: Bools) -> dict[str, float]:
    """Mean metrics of a group and how many "impressions" it has; of none, only that."""
    means = {name: float(value[group].mean()) for name, value in values.items()} if group.any() else {}
    return {**means, "impressions": float(group.sum())}
