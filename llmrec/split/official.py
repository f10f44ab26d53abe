"""``official``: the dataset's own split. Either it names train, validation and test, or it numbers folds: fold f tests
and the next one (after the last, the first) validates.

With ``fit_data = "train+valid"`` that is what is usually published: all folds but one are fitted on. A target that the
same user has on an earlier side too is left out.
"""

from __future__ import annotations

import polars as pl

from llmrec.errors import UserError
from llmrec.records import Protocol
from llmrec.split.events import LEFT_OUT, TEST, TRAIN, VALID, Events, Sides, settle

PARTS = {"train": TRAIN, "valid": VALID, "test": TEST}


def sides(events: Events, protocol: Protocol) -> Sides:
    """Where each event goes [events].

    Raises:
        UserError: the dataset has no split of its own, or has no such fold, or has folds and none is chosen.
    """
    if events.official is None:
        raise UserError(
            "protocol 'official': this copy of the dataset has no split of its own. If another source of its card has "
            "one (see `llmrec datasets show`), put that one's files into the mirror; else choose another protocol."
        )
    names = set(events.official.unique().drop_nulls().to_list())
    if names <= PARTS.keys():
        if protocol.fold is not None:
            raise UserError(
                f"protocol.fold = {protocol.fold}: the dataset's own split has no folds but {_listed(names)}; leave "
                "`fold` out."
            )
        if "valid" not in names and protocol.fit_data == "train":
            raise UserError(
                "protocol 'official': the dataset's own split has no validation part; use fit_data = 'train+valid', "
                "with methods that do not stop early."
            )
        numbers = PARTS
    else:
        numbers = _of_folds(names, protocol.fold)
    out = events.official.replace_strict(numbers, default=LEFT_OUT, return_dtype=pl.UInt8).to_numpy()
    return settle(events, out)


def _of_folds(names: set[str], fold: int | None) -> dict[str, int]:
    """The side of each fold. Raises UserError where there is no such fold."""
    n = len(names)
    if names != {str(number) for number in range(1, n + 1)} or n < 2:
        raise UserError(
            f"protocol 'official': expected train, valid and test, or folds from 1, found {_listed(names)}."
        )
    if fold is None or fold > n:
        found = "none is chosen" if fold is None else f"there is no fold {fold}"
        raise UserError(
            f"protocol.fold: the dataset has {n} official folds and {found}; set fold to a number from 1 to {n}, or "
            f"`folds = {list(range(1, n + 1))}` in the suite."
        )
    return {**dict.fromkeys(names, TRAIN), str(fold % n + 1): VALID, str(fold): TEST}


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) or "nothing"
