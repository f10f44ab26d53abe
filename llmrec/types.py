"""The values that pass between the parts: interactions, items, splits, batches of users, and their answers.

Users and items are int32 ids from 0. An array's shape stands beside it in brackets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

if TYPE_CHECKING:
    import scipy.sparse

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Part = Literal["valid", "test"]

NO_ITEM = -1
"""An empty place in a top-k list: the method had no (valid) answer for it."""

NOT_RANKED = np.int32(np.iinfo(np.int32).max)
"""The rank of a relevant item that a generative method did not list: worse than every cut-off."""


@dataclass(frozen=True)
class Interactions:
    """What happened. ``frame`` has user int32, item int32, value float32, time int64 (null if unknown) and order int32
    (position within the user's history, oldest first, ties already settled), sorted by (user, order)."""

    frame: pl.DataFrame
    n_users: int
    n_items: int

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def user(self) -> Int32:
        return self.frame["user"].to_numpy()

    @property
    def item(self) -> Int32:
        return self.frame["item"].to_numpy()

    @cached_property
    def histories(self) -> Histories:
        """Each user's items, oldest first."""
        indptr = np.zeros(self.n_users + 1, np.int64)
        np.cumsum(np.bincount(self.user, minlength=self.n_users), out=indptr[1:])
        time = self.frame["time"]
        return Histories(indptr, self.item, self.n_items, None if time.null_count() else time.to_numpy())

    def matrix(self) -> scipy.sparse.csr_matrix:
        """Binary user x item matrix, float32 [n_users, n_items]; a repeated pair counts once."""
        return self.histories.matrix()


@dataclass(frozen=True)
class Histories:
    """Item sequences in compressed rows: row r is ``items[indptr[r]:indptr[r + 1]]``, oldest first."""

    indptr: Int64  # [rows + 1]
    items: Int32  # [events]
    n_items: int
    times: Int64 | None = None  # [events], seconds; None where they are not known

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, row: int) -> Int32:
        return self.items[self.indptr[row] : self.indptr[row + 1]]

    @property
    def lengths(self) -> Int64:
        return np.diff(self.indptr)

    @property
    def rows(self) -> Int64:
        """The row of every event, int64 [events]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def ages(self) -> Int64:
        """How far back every event lies in its row, int64 [events]; 0 is the newest."""
        return np.repeat(self.indptr[1:], self.lengths) - 1 - np.arange(len(self.items))

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Histories:
        """The histories of some rows, in that order."""
        lengths = self.lengths[rows]
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        source = np.repeat(self.indptr[:-1][rows] - indptr[:-1], lengths) + np.arange(indptr[-1])
        times = None if self.times is None else self.times[source]
        return Histories(indptr, self.items[source], self.n_items, times)

    def last(self, length: int, pad: int = NO_ITEM) -> Int32:
        """The newest ``length`` items of each row, right-aligned, int32 [rows, length]; column -1 is the newest."""
        out = np.full((len(self), length), pad, np.int32)
        kept = np.minimum(self.lengths, length)
        rows = np.repeat(np.arange(len(self)), kept)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(kept) - kept, kept)
        source = np.repeat(self.indptr[1:] - kept, kept) + within
        out[rows, length - np.repeat(kept, kept) + within] = self.items[source]
        return out

    def matrix(self) -> scipy.sparse.csr_matrix:
        """Binary rows x items matrix, float32; a repeated item counts once."""
        import scipy.sparse

        counts = scipy.sparse.csr_matrix(
            (np.ones(len(self.items), np.float32), self.items.copy(), self.indptr.copy()),
            shape=(len(self), self.n_items),
        )
        counts.sum_duplicates()  # sorts in place, hence the copies
        counts.data[:] = 1.0
        return counts


@dataclass(frozen=True)
class Items:
    """The catalogue. ``frame`` has raw_id str, title str, text str (the card's item-text template filled in; '' where
    an item has none) and categories list[str]; row i is item i."""

    frame: pl.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def titles(self) -> list[str]:
        return self.frame["title"].to_list()

    @property
    def texts(self) -> list[str]:
        return self.frame["text"].to_list()

    @property
    def categories(self) -> list[list[str]]:
        return self.frame["categories"].to_list()


@dataclass(frozen=True)
class Targets:
    """The relevant items of the users who have any: user ``users[r]`` has ``items[indptr[r]:indptr[r + 1]]``."""

    users: Int32  # [m], ascending
    indptr: Int64  # [m + 1]
    items: Int32  # [relevant pairs]

    def __len__(self) -> int:
        return len(self.users)

    @property
    def counts(self) -> Int64:
        return np.diff(self.indptr)

    def take(self, rows: slice) -> Targets:
        indptr = self.indptr[rows.start : rows.stop + 1]
        return Targets(self.users[rows], indptr - indptr[0], self.items[indptr[0] : indptr[-1]])


@dataclass(frozen=True)
class Users:
    """A batch of users who ask for recommendations, with what is known of each at that moment."""

    ids: Int32  # [b]
    histories: Histories  # b rows, oldest first; a user may have none

    def __len__(self) -> int:
        return len(self.ids)

    def matrix(self) -> scipy.sparse.csr_matrix:
        """Binary user x item matrix of the histories, float32 [b, n_items]."""
        return self.histories.matrix()


@dataclass(frozen=True)
class Impressions:
    """Lists that were shown to users, and what they clicked. Row r: user ``users.ids[r]``, whose history at that moment
    is row r of ``users.histories``, was shown row r of ``shown``; a user may have several rows."""

    users: Users  # n rows
    shown: Histories  # n rows: the candidates, in the order of the log
    clicked: Bools  # [len(shown.items)]

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Impressions:
        """Some impressions, in that order."""
        clicks = Histories(self.shown.indptr, self.clicked.astype(np.int32), 2).take(rows).items
        users = Users(self.users.ids[rows], self.users.histories.take(rows))
        return Impressions(users, self.shown.take(rows), clicks.astype(bool))


@dataclass(frozen=True)
class Requests:
    """Requests in a user's own words and the items that answer them."""

    texts: list[str]  # [n]
    relevant: Histories  # n rows: the labelled items of each request, in no order
    kinds: list[str]  # [n]: the slice of each request, e.g. "shares words" or "shares no word"

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> Requests:
        """Some requests, in that order."""
        return Requests([self.texts[r] for r in rows], self.relevant.take(rows), [self.kinds[r] for r in rows])


@dataclass(frozen=True)
class Split:
    """Who learns from what, and who is asked for what.

    Items carry the split's own ids (a protocol-seeded permutation of the card's, so that no method reads an order into
    them); ``canonical[i]`` is the card's id of split item i.
    """

    n_users: int
    n_items: int
    train: Interactions
    valid: Interactions  # validation targets
    test: Interactions  # test targets
    fit_data: Literal["train", "train+valid"]
    mask_history: bool
    candidates: Bools  # [n_items]: may be recommended
    canonical: Int32  # [n_items]
    item_order: Int32  # [n_items]: protocol-seeded priorities that break score ties in lists; smaller comes first
    asked: dict[Part, Int32]  # users asked in each part, ascending (all with a target, or the protocol's sample)
    fingerprint: str
    given: dict[Part, Interactions] = field(default_factory=dict)
    """What is known of the users asked in a part where it is not what others learn from (``user-holdout``)."""
    impressions: dict[Literal["fit", "valid", "test"], Impressions] = field(default_factory=dict)
    """The task ``impressions``: what was shown, to fit on and to be judged by."""
    requests: dict[Part, Requests] = field(default_factory=dict)
    """The task ``request``: what is asked for in words."""
    liked: float | None = None  # the lowest rating that says "liked"
    scale: tuple[float, float] | None = None  # the lowest and the highest rating that can be given
    counts: dict[str, int] = field(default_factory=dict)
    """What became of the dataset's events (train_events, ..., left_out_events), and what ties in time decide: ``ties``
    (events that share their time with another of the same user) and ``tied_test_users`` (users who might be asked for
    something else under another tie rule)."""

    @property
    def fit(self) -> Interactions:
        """The interactions that a method may fit on: train, or train + validation if the protocol says so."""
        return self.train if self.fit_data == "train" else self.train_and_valid

    @cached_property
    def train_and_valid(self) -> Interactions:
        frame = pl.concat([self.train.frame, self.valid.frame]).sort("user", "order", maintain_order=True)
        return Interactions(frame, self.n_users, self.n_items)

    def known(self, part: Part) -> Interactions:
        """What is known when the part's users are asked: train before validation, train + validation before test,
        unless the protocol gives something else."""
        if part in self.given:
            return self.given[part]
        return self.train if part == "valid" else self.train_and_valid

    def targets(self, part: Part) -> Targets:
        """The relevant items of the users asked in a part; a held-out item that is no candidate is none of them."""
        held_out = (self.valid if part == "valid" else self.test).histories.take(self.asked[part])
        kept = self.candidates[held_out.items]
        indptr = np.zeros(len(held_out) + 1, np.int64)
        np.cumsum(np.bincount(held_out.rows[kept], minlength=len(held_out)), out=indptr[1:])
        return Targets(self.asked[part], indptr, held_out.items[kept])

    def batches(self, part: Part, size: int) -> Iterator[tuple[Users, Targets]]:
        """The part's users with their histories and targets, ``size`` at a time."""
        histories, targets = self.known(part).histories, self.targets(part)
        for start in range(0, len(targets), size):
            some = targets.take(slice(start, min(start + size, len(targets))))
            yield Users(some.users, histories.take(some.users)), some


@dataclass(frozen=True)
class Generated:
    """What a generative method wrote for b users: grounded items and what had to be thrown away."""

    items: Int32  # [b, k], best first, NO_ITEM where there is no valid answer
    scores: Floats  # [b, k], falling; -inf where there is no item
    invalid: Int32  # [b] answers that are no item's id or title
    duplicate: Int32  # [b] answers that repeat an earlier one
    out_of_catalogue: Int32  # [b] well-formed answers that name nothing in the catalogue
    written: Int32  # [b] answers written in all: the denominator of the three rates


@dataclass(frozen=True)
class TopK:
    """Recommendation lists: user ``users[r]`` gets ``items[r]``, best first; NO_ITEM fills a short list."""

    users: Int32  # [n]
    items: Int32  # [n, k]
    scores: Floats  # [n, k]
