"""What each method recommends to whom, to be looked at: for every leaderboard with answers at hand a page on which a
reader picks a user (an impression, a request) and sees the history, the held-out items and every method's list.

It needs what is never committed, answers and data, so it is made where they are and stays there.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.data import Dataset, card
from llmrec.errors import UserError
from llmrec.inventory import at_hand
from llmrec.recheck import check_stored
from llmrec.report.evidence import Line, Run
from llmrec.report.words import display_name
from llmrec.site.boards import Board
from llmrec.site.explorer_ratings import Predicted, held_out, highest
from llmrec.split import make_split
from llmrec.tasks import implementation
from llmrec.types import NO_ITEM, NOT_RANKED, Histories, Int32, Items, Split

SHOWN = 10
"""Items of each method's list that are shown."""

NEWEST = 60
"""Items of a history that are shown."""


@dataclass(frozen=True)
class Missing:
    """A row whose answers cannot be shown."""

    name: str
    why: str
    command: str  # that makes them, '' where none does


@dataclass(frozen=True)
class Questions:
    """Everyone who is asked. Item ids are the split's own."""

    names: list[str]
    texts: list[str]  # what was asked for in words, '' elsewhere
    histories: Histories  # oldest first
    relevant: Histories
    given: list[list[float]] | None = None  # the ratings of the relevant items, where ratings are asked for

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Answered:
    """A row's lists."""

    line: Line
    name: str
    run_id: str
    items: Int32  # [questions, SHOWN], NO_ITEM where there is none
    best: Int32  # [questions] rank of the best placed relevant item, from 1; 0: not ranked
    predicted: Predicted | None = None  # where ratings are asked for


@dataclass(frozen=True)
class Gallery:
    """One leaderboard, to be looked at."""

    board: Board
    titles: list[str]
    questions: Questions
    answered: tuple[Answered, ...]
    missing: tuple[Missing, ...]

    @property
    def local_only(self) -> bool:
        """Whether the pages must not be passed on: always, unless the card says that copies may be."""
        return card(self.board.block.dataset).redistributable is not True


def galleries(boards: Sequence[Board]) -> tuple[list[Gallery], list[str]]:
    """Those that can be shown, and of each other leaderboard why not, with the command that mends it.

    Raises:
        UserError: none can be shown.
    """
    found, refused = [], []
    for board in boards:
        made = _gallery(board)
        if isinstance(made, str):
            refused.append(made)
        else:
            found.append(made)
    if not found:
        raise UserError("nothing to explore here. " + " ".join(refused))
    return found, refused


def _gallery(board: Board) -> Gallery | str:
    block = board.block
    where = f"{block.dataset}, {block.task.name} ({board.words})"
    missing = [missing for line in block.lines if (missing := _absent(board, line))]
    lines = [line for line in block.lines if _run_with_answers(line) is not None]
    if not lines:
        wanted = next((one for one in missing if one.command), None)
        again = f" Make some: `{wanted.command}`, then add `--results my-results` here." if wanted else ""
        return f"{where}: no answers are here (they are not committed).{again}"
    dataset = at_hand(card(block.dataset))
    if dataset is None:
        return f"{where}: the data are not here. Run: llmrec fetch {shlex.quote(block.dataset)}"
    split, items = make_split(dataset, block.spec.protocol, block.task.name)  # type: ignore[arg-type]
    questions = _questions(dataset, split, block.task.name)
    answered = []
    for line in lines:
        run = _run_with_answers(line)
        assert run is not None
        try:
            answered.append(_answered(line, run, split))
        except UserError as error:
            missing.append(Missing(display_name(line), str(error), _again(board, line)))
    if not answered:
        return f"{where}: {missing[0].why}"
    return Gallery(board, _titles(items), questions, tuple(answered), tuple(missing))


def _titles(items: Items) -> list[str]:
    """Titles; the raw id where an item has none."""
    return [title or raw for title, raw in items.frame.select("title", "raw_id").iter_rows()]


def _run_with_answers(line: Line) -> Run | None:
    """The first of a row's runs whose answers are stored, of the first official fold where there are several. A control
    may have another protocol, so it has none here."""
    if line.control:
        return None
    runs = [run for run in line.done if run.fold == line.folds[0]]
    return next((run for run in runs if run.folder and (run.folder / "answers.parquet").exists()), None)


def _absent(board: Board, line: Line) -> Missing | None:
    """Why a row has no answers here, and what makes them."""
    if line.control or _run_with_answers(line) is not None:
        return None
    why = "its answers are not here (they are not committed)" if line.done else line.runs[0].reason
    return Missing(display_name(line), why, _again(board, line))


def _again(board: Board, line: Line) -> str:
    """The command that makes a row's answers in a folder of the reader's own."""
    if line.family == "external":
        return ""
    origin, seed = board.origins[line.label][0], line.runs[0].spec.seed
    suite, label, dataset = (shlex.quote(text) for text in (origin.suite, origin.label, board.block.dataset))
    return f"llmrec run {suite} -m {label} -d {dataset} --seeds {seed} --results my-results"


def _questions(dataset: Dataset, split: Split, task: str) -> Questions:
    if task == "request":
        asked = split.requests["test"]
        nothing = Histories(np.zeros(len(asked.texts) + 1, np.int64), np.empty(0, np.int32), split.n_items)
        names = [f"request {number}" for number in range(len(asked.texts))]
        return Questions(names, asked.texts, nothing, asked.relevant)
    if task == "impressions":
        some = split.impressions["test"]
        names = [f"impression {row}, user {dataset.users[user]}" for row, user in enumerate(some.users.ids.tolist())]
        clicked = np.concatenate([[0], np.cumsum(np.bincount(some.shown.rows[some.clicked], minlength=len(some)))])
        relevant = Histories(clicked.astype(np.int64), some.shown.items[some.clicked], split.n_items)
        return Questions(names, [""] * len(names), some.users.histories, relevant)
    if task == "rating":
        known = np.isin(split.test.user, split.asked["test"]) & split.candidates[split.test.item]
        rows = split.test.frame.filter(known)
        users, relevant, given = held_out(
            rows["user"].to_numpy(), rows["item"].to_numpy(), rows["value"].to_numpy(), split.n_items
        )
        names = [f"user {dataset.users[user]}" for user in users.tolist()]
        return Questions(names, [""] * len(names), split.known("test").histories.take(users), relevant, given)
    targets = split.targets("test")
    names = [f"user {dataset.users[user]}" for user in targets.users.tolist()]
    relevant = Histories(targets.indptr, targets.items, split.n_items)
    return Questions(names, [""] * len(names), split.known("test").histories.take(targets.users), relevant)


def _answered(line: Line, run: Run, split: Split) -> Answered:
    """A run's stored lists.

    Raises:
        UserError: they are not the record's, or belong to another split.
    """
    assert run.record is not None and run.folder is not None
    check_stored(run.record, run.folder)
    task = run.spec.task
    answers = implementation(task).read(run.folder, split, {})
    predicted = None
    if task == "rating":
        predicted = highest(answers.users, answers.items, answers.given, answers.predicted, SHOWN)
        lists, best = predicted.items, np.zeros(len(predicted.items), np.int32)
    elif task == "impressions":
        lists, best = _by_score(answers.impressions.shown, answers.impressions.clicked, answers.scores)
    else:
        lists = answers.topk.items if task == "topn" else answers.items
        best = _best(answers.ranks, answers.targets.indptr)
    filled = np.full((len(lists), SHOWN), NO_ITEM, np.int32)
    width = min(SHOWN, lists.shape[1])
    filled[:, :width] = lists[:, :width]
    return Answered(line, display_name(line), run.spec.run_id, filled, best, predicted)


def _best(ranks: Int32, indptr: np.ndarray) -> Int32:
    """The best rank of each question's relevant items, 0 where none is ranked or there is none."""
    best = np.full(len(indptr) - 1, NOT_RANKED, np.int32)
    np.minimum.at(best, np.repeat(np.arange(len(best)), np.diff(indptr)), ranks)
    return np.where(best == NOT_RANKED, 0, best).astype(np.int32)


def _by_score(shown: Histories, clicked: np.ndarray, scores: np.ndarray) -> tuple[Int32, Int32]:
    """Shown items from the highest score to the lowest, as many as are looked at, and the best place of a clicked one;
    ties keep the log's order, behind which a clicked item that ties with others may stand too well."""
    rows = shown.rows
    order = np.lexsort((np.arange(len(rows)), -scores, rows))
    place = np.arange(len(rows)) - shown.indptr[rows]  # rows are in order, so places count within each
    lists = np.full((len(shown), SHOWN), NO_ITEM, np.int32)
    kept = place < SHOWN
    lists[rows[kept], place[kept]] = shown.items[order][kept]
    best = np.full(len(shown), NOT_RANKED, np.int32)
    hits = clicked[order]
    np.minimum.at(best, rows[hits], (place[hits] + 1).astype(np.int32))
    return lists, np.where(best == NOT_RANKED, 0, best).astype(np.int32)


def cases(gallery: Gallery, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What the page shows of each question: h history (newest first), n its length, t relevant items, l lists, x text;
    of ratings g those given to the relevant items and p those predicted for the lists. Items are places in
    `Gallery.titles`."""
    asked = gallery.questions
    for row in rows:
        history = asked.histories[row]
        yield {
            "h": history[::-1][:NEWEST].tolist(),
            "n": len(history),
            "t": asked.relevant[row].tolist() if asked.given else sorted(set(asked.relevant[row].tolist())),
            "l": [[int(item) for item in one.items[row] if item != NO_ITEM] for one in gallery.answered],
            **({"x": asked.texts[row]} if asked.texts[row] else {}),
            **(_ratings(gallery, row) if asked.given else {}),
        }


def _ratings(gallery: Gallery, row: int) -> dict[str, Any]:
    assert gallery.questions.given is not None
    lists = [(one.items[row], one.predicted.values[row]) for one in gallery.answered if one.predicted]
    predicted = [[round(float(value), 2) for value in values[items != NO_ITEM]] for items, values in lists]
    return {"g": gallery.questions.given[row], "p": predicted}


def everyone(gallery: Gallery, most: int) -> list[int]:
    """The rows that are shown: all, or as many as wanted, evenly spread."""
    total = len(gallery.questions)
    if total <= most:
        return list(range(total))
    return [int(row) for row in np.linspace(0, total - 1, most).round()]


def folder_of(out: Path, *, local_only: bool) -> Path:
    """Where pages go: what must not be passed on lies in a folder of its own."""
    out = out.absolute()
    return out.with_name(f"{out.name}-local" if local_only else f"{out.name}-explorer")
