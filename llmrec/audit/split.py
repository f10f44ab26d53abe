"""The split: how many are asked, ties, cold users and items, leakage in time, and what ids alone give away."""

from __future__ import annotations

import numpy as np
import polars as pl

from llmrec.audit.findings import Finding
from llmrec.types import Bools, Int32, Split, Targets


def split_findings(split: Split) -> list[Finding]:
    """All findings about one split."""
    if split.impressions or split.requests:
        return _impressions(split) if split.impressions else _requests(split)
    targets = split.targets("test")
    asked = f"{len(targets.users):,} users asked"
    return [
        Finding("split", "training events", len(split.train), why=f"{split.n_users:,} users, {split.n_items:,} items"),
        Finding("split", "validation targets", len(split.targets("valid").items)),
        Finding("split", "test targets", len(targets.items), why=asked),
        *_ties(split, targets),
        *_cold(split, targets),
        *_times(split, targets),
        *_ids(split, targets),
    ]


def _impressions(split: Split) -> list[Finding]:
    """What was shown: how much there is to judge, and what of it is new to what methods fit on."""
    seen, known = _seen(split.fit.item, split.n_items), _seen(split.fit.user, split.n_users)
    test = split.impressions["test"]
    clicked = np.bincount(test.shown.rows[test.clicked], minlength=len(test))
    return [
        Finding("split", "training events", len(split.train), why=f"{split.n_users:,} users, {split.n_items:,} items"),
        Finding("split", "validation impressions", len(split.impressions["valid"])),
        Finding(
            "split", "test impressions", len(test),
            why=f"{len(split.asked['test']):,} users asked; under 300 a table is marked small and decides no claim",
        ),
        Finding(
            "split", "test impressions without a choice (nothing or everything clicked)",
            int(((clicked == 0) | (clicked == test.shown.lengths)).sum()), len(test), why="left out of every mean",
        ),
        Finding(
            "split", "clicked candidates that training never saw (cold items)",
            int((~seen[test.shown.items[test.clicked]]).sum()), int(test.clicked.sum()),
            why="collaborative filtering cannot recommend them",
        ),
        Finding(
            "split", "test impressions of users that training never saw (cold users)",
            int((~known[test.users.ids]).sum()), len(test),
            why="methods that learn a vector per user know nothing of them",
        ),
        Finding(
            "split", "test impressions without any history", int((test.users.histories.lengths == 0).sum()), len(test),
            why="everybody can only go by what was shown",
        ),
    ]  # fmt: skip


def _requests(split: Split) -> list[Finding]:
    """What is asked in words: how much there is to judge, and how much could be the answer."""
    seen, test = _seen(split.fit.item, split.n_items), split.requests["test"]
    return [
        Finding("split", "training events", len(split.train), why=f"{split.n_users:,} users, {split.n_items:,} items"),
        Finding("split", "validation requests", len(split.requests["valid"])),
        Finding("split", "test requests", len(test), why="under 300 a table is marked small and decides no claim"),
        Finding(
            "split", "candidates (items with a label)", int(split.candidates.sum()), split.n_items,
            why="of the others nobody knows whether they would answer",
        ),
        Finding(
            "split", "answers of test requests that training never saw (cold items)",
            int((~seen[test.relevant.items]).sum()), len(test.relevant.items), why="popularity says nothing of them",
        ),
    ]  # fmt: skip


def _ties(split: Split, targets: Targets) -> list[Finding]:
    """What the order of equal times decides; nothing where there are no times."""
    if "ties" not in split.counts:
        return []
    events = sum(split.counts[f"{part}_events"] for part in ("train", "valid", "test", "left_out"))
    return [
        Finding(
            "split", "events at the same time as another of their user", split.counts["ties"], events,
            why="their order is the tie rule's",
        ),
        Finding(
            "split", "test users whose target the tie rule decides", split.counts["tied_test_users"],
            len(targets.users), why="under another rule they would be asked for something else",
        ),
    ]  # fmt: skip


def _cold(split: Split, targets: Targets) -> list[Finding]:
    seen, known = _seen(split.fit.item, split.n_items), _seen(split.fit.user, split.n_users)
    histories = split.known("test").histories.lengths[targets.users]
    owner = _owners(targets)
    warm = owner[seen[targets.items] & known[owner]]
    return [
        Finding(
            "split", "test targets that training never saw (cold items)", int((~seen[targets.items]).sum()),
            len(targets.items), why="collaborative filtering cannot recommend them",
        ),
        Finding(
            "split", "test users that training never saw (cold users)", int((~known[targets.users]).sum()),
            len(targets.users), why="methods that learn a vector per user know nothing of them",
        ),
        Finding(
            "split", "test users without any history when asked", int((histories == 0).sum()), len(targets.users),
            why="everybody can only give them what is popular",
        ),
        Finding(
            "split", "warm test users (user and target known from training)",
            int(np.unique(warm).size), len(targets.users), why="under 300 a table is marked small and decides no claim",
        ),
    ]  # fmt: skip


def _owners(targets: Targets) -> Int32:
    """The user of every relevant item [relevant pairs]."""
    return np.repeat(targets.users, targets.counts)


def _seen(ids: Int32, size: int) -> Bools:
    seen = np.zeros(size, bool)
    seen[ids] = True
    return seen


def _times(split: Split, targets: Targets) -> list[Finding]:
    """Leakage in time: what others did after a target's moment, and a model learns from all the same."""
    train, test = split.train.frame["time"], split.test.frame
    if train.null_count() or test["time"].null_count() or not len(train) or not len(test):
        return []
    moments = np.sort(train.to_numpy())
    later = 1 - np.searchsorted(moments, test["time"].to_numpy(), side="right") / len(moments)  # [test events]
    last_of_item = np.full(split.n_items, np.iinfo(np.int64).min)
    np.maximum.at(last_of_item, split.train.item, train.to_numpy())
    future = last_of_item[split.test.item] > test["time"].to_numpy()
    return [
        Finding(
            "split", "test events earlier than some training event", int((later > 0).sum()), len(test),
            why="training has seen the future of other users",
        ),
        Finding(
            "split", "share of training that lies after a test event, on average", value=float(later.mean()),
            why="0 under a split at points in time",
        ),
        Finding(
            "split", "test events whose item others take later, in training", int(future.sum()), len(test),
            why="an item's later popularity gives the target away",
        ),
    ]  # fmt: skip


def _ids(split: Split, targets: Targets) -> list[Finding]:
    """What numbers alone would score: the publisher's own, and those that items get in the order in which they appear,
    user after user (as P5 numbers them). The split permutes ids, so no method reads either."""
    events = pl.concat([part.frame for part in (split.train, split.valid, split.test)]).sort("user", "order")
    first = events["item"].unique(maintain_order=True).to_numpy()
    appeared = np.full(split.n_items, -1, np.int32)
    appeared[first] = np.arange(len(first), dtype=np.int32)
    why = "ids that tell the order of events leak the target; methods here see permuted ids"
    return [
        Finding("split", f"hit@1 of 'the largest id of the history + 1', {what}", hits, len(targets.users), why=why)
        for what, numbers in (("publisher's ids", split.canonical), ("ids by first appearance", appeared))
        for hits in [_next_number_hits(split, targets, numbers)]
    ]


def _next_number_hits(split: Split, targets: Targets, numbers: Int32) -> int:
    """Users one of whose targets has the number after the largest of their history."""
    known, owner = split.known("test").histories, _owners(targets)
    largest = np.full(split.n_users, -2, np.int64)
    np.maximum.at(largest, known.rows, numbers[known.items])
    return int(np.unique(owner[numbers[targets.items] == largest[owner] + 1]).size)
