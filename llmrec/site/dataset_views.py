"""Pages of datasets: what the card says, statistics, what the splits are, and which leaderboards there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmrec.audit import Finding
from llmrec.data import Dataset, cached, card
from llmrec.data.fetch import place
from llmrec.data.sheet import sheet
from llmrec.errors import UserError
from llmrec.fingerprints import committed
from llmrec.inventory import dataset_facts
from llmrec.report.words import protocol_words
from llmrec.site import audits, names
from llmrec.site.boards import Board
from llmrec.site.catalogue import Site
from llmrec.site.write import Page

COUNTS = {
    "train_events": "events to train on", "valid_events": "events to validate on", "test_events": "events to test on",
    "left_out_events": "events left out", "users": "users asked", "test_users_with_history": "of them with a history",
    "users_without_target": "users without a target", "targets": "targets", "ties": "events tied in time",
    "tied_test_users": "users whose targets hang on the order of ties", "impressions": "impressions asked",
    "requests": "requests asked", "candidates": "candidates",
}  # fmt: skip
"""Counts of records that belong to the split, in words."""


def dataset_pages(site: Site) -> Iterator[Page]:
    """The list of datasets and a page for each: of all that have a card where all suites are shown."""
    listed = [_listed(site, name) for name in _names(site)]
    yield Page("datasets/index.html", "datasets.html.jinja", {"datasets": listed})
    prints = committed()
    for name in _names(site):
        yield Page(names.dataset_page(name), "dataset.html.jinja", _values(site, name, prints.get(name, {})))


def _names(site: Site) -> list[str]:
    """Those of the boards; of a whole site every card too, but the members of families of which nothing is shown."""
    known = [*site.by_dataset]
    if site.whole:
        known += [facts["name"] for facts in dataset_facts() if not facts.get("problem") and ":" not in facts["name"]]
    return sorted(set(known))


def _listed(site: Site, name: str) -> dict[str, Any]:
    this = card(name)
    return {
        "name": name, "title": this.title, "scenario": this.scenario, "time": this.time, "licence": this.licence,
        "sizes": [getattr(this.statistics, n) for n in ("users", "items", "interactions")],
        "boards": len(site.by_dataset.get(name, [])),
    }  # fmt: skip


def _values(site: Site, name: str, prints: dict[str, Any]) -> dict[str, Any]:
    this = card(name)
    dataset = cached(name)  # nothing is fetched or read anew for a page
    boards = site.by_dataset.get(name, [])
    found = sheet(this, dataset)
    return {
        "card": this,
        "sheet": found,
        "boards": boards,
        "titles_may_be_shown": this.redistributable is True,
        "audits": [*_audits(dataset, boards)] if dataset is not None else [],
        "splits": [_split_facts(board) for board in boards],
        "prints": prints,
        "words": {True: "allowed", False: "not allowed", None: "not stated"},
    }


def _audits(dataset: Dataset, boards: list[Board]) -> Iterator[tuple[str, list[Finding]]]:
    """What an audit of the data at hand finds: of data and catalogue, then of the split under each protocol."""
    if boards and not _asks_for_files(dataset):
        yield "Events and catalogue, whatever the protocol.", audits.of_data(dataset)
    for board in boards:
        task, fold = board.block.spec.task, board.block.folds[0]
        protocol = board.protocol.model_copy(update={"fold": fold or board.protocol.fold})
        try:
            found = audits.of_split(dataset, protocol, task)
        except UserError:  # the card has changed since and admits the protocol no longer; its records speak above
            continue
        yield f"The split, {task}: {protocol_words(protocol, task)}.", found


def _asks_for_files(dataset: Dataset) -> bool:
    """Whether an audit of the catalogue would read a second source of titles that is not on this machine."""
    second = any(source.crosscheck for source in dataset.card.sources)
    return second and place(dataset.card) in ("download", "nowhere")


def _split_facts(board: Board) -> dict[str, Any]:
    """What the records of a board say of its split."""
    records = [record for line in board.block.finished if line.family != "external" for record in line.records]
    first = records[0] if records else None
    counts = first.counts if first else {}
    return {
        "board": board,
        "protocol": protocol_words(board.protocol, board.block.spec.task),
        "fold": first.spec.protocol.fold if first else None,
        "counts": [(words, counts[key]) for key, words in COUNTS.items() if key in counts],
        "prints": {key: first.fingerprints.get(key, "") for key in ("data", "split")} if first else {},
    }
