"""What every split is made with: its own item ids, samples of those who are asked, the fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from llmrec.records import Protocol
from llmrec.seeds import axis_rng, axis_seed, hash64
from llmrec.types import Int32, Int64

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Numbers:
    """A split's own item ids: a seeded permutation of the card's, so that no method reads an order into them."""

    canonical: Int32  # [n_items]: the card's id of a split's item
    own: Int32  # [n_items]: the split's id of a card's item
    order: Int32  # [n_items]: the priority of a split's item where scores tie in a list

    @classmethod
    def drawn(cls, seed: int, n_items: int) -> Numbers:
        """The permutation of a protocol's seed."""
        canonical = axis_rng(seed, "item ids").permutation(n_items).astype(np.int32)
        own = np.empty(n_items, np.int32)
        own[canonical] = np.arange(n_items, dtype=np.int32)
        priority = axis_rng(seed, "item order").permutation(n_items).astype(np.int32)
        return cls(canonical, own, priority[canonical])


def sample(protocol: Protocol, axis: str, ids: Integers) -> Int64:
    """Which of the ids (or content hashes) are asked, ascending: all, or the protocol's sample.

    Each id has its own seeded priority: a larger sample holds every smaller one, and nobody's place depends on who
    else there is.
    """
    if protocol.users == "all" or protocol.users >= len(ids):
        return np.arange(len(ids))
    priority = hash64(axis_seed(protocol.seed, axis), ids)
    return np.sort(np.argsort(priority, kind="stable")[: protocol.users])


def digest(protocol: Protocol, n_users: int, numbers: Numbers, *columns: npt.NDArray[Any] | pl.Series) -> str:
    """SHA-256 of what a split holds, in canonical ids: equal splits have equal fingerprints, whatever the options were
    called that made them. Missing times count as the smallest number."""
    known = f"{n_users}/{protocol.fit_data}/{protocol.mask_history}"
    sha = hashlib.sha256(known.encode())
    for column in (*columns, numbers.canonical, numbers.order):
        if isinstance(column, pl.Series):
            filled = column.fill_null(np.iinfo(np.int64).min) if column.null_count() else column
            column = filled.to_numpy()
        sha.update(f"/{column.dtype.str}/{len(column)}/".encode())
        sha.update(np.ascontiguousarray(column).data)  # the memory itself: no copy
    return sha.hexdigest()
