"""Semantic ids: item vectors become short codes by residual k-means, and every item gets an id of its own.

Level 1 clusters the vectors, level 2 what level 1 left over, and so on: similar items share the front of their ids
(TIGER, Rajput et al. 2023, whose RQ-VAE is the other choice: `llmrec.gpt.rqvae`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from llmrec.errors import MethodError
from llmrec.seeds import content_hash
from llmrec.types import Floats, Int32

START = 0
"""The token in front of every history; the codes' tokens follow it, each level in a range of its own."""

LEAST_USE = 0.5
"""A level of which fewer codes are in use has collapsed: its ids say nothing, and training on them fails silently."""


@dataclass(frozen=True)
class ItemIds:
    """One id an item, all different."""

    codes: Int32  # [n_items, levels]
    sizes: tuple[int, ...]  # codes of each level
    collisions: int  # items that shared their codes with an earlier item before that was resolved
    error: float  # share of the vectors' variance that the codes do not tell
    quantiser: str = "k-means"

    @property
    def vocabulary(self) -> int:
        return 1 + sum(self.sizes)

    @property
    def tokens(self) -> Int32:
        """The ids as tokens of a language model [n_items, levels]."""
        offsets = np.cumsum([START + 1, *self.sizes[:-1]])
        tokens: Int32 = (self.codes + offsets).astype(np.int32)
        return tokens

    @property
    def fingerprint(self) -> str:
        """Hash of the ids: a model is only good for the ids that it was trained on."""
        return content_hash(self.codes.tolist())

    def report(self) -> dict[str, float | int | str]:
        """For the log: size, collisions, and of each level the codes in use (share) and their perplexity (share)."""
        use, spread = [], []
        for level, size in enumerate(self.sizes):
            share = np.bincount(self.codes[:, level], minlength=size) / len(self.codes)
            used = share[share > 0]
            use.append(len(used) / size)
            spread.append(float(np.exp(-(used * np.log(used)).sum())) / size)
        return {
            "ids": self.fingerprint, "quantiser": self.quantiser,
            "sizes": "x".join(map(str, self.sizes)), "collisions": self.collisions,
            "unexplained": round(self.error, 4), "use": " ".join(f"{u:.2f}" for u in use),
            "perplexity": " ".join(f"{p:.2f}" for p in spread), "least_use": min(use),
        }  # fmt: skip


def semantic_ids(
    vectors: Floats,
    *,
    levels: int,
    codes: int,
    seed: int,
    resolve: Literal["nearest", "level"] = "nearest",
    quantiser: Literal["k-means", "rq-vae"] = "k-means",
) -> ItemIds:
    """Ids for items with the given vectors [n_items, d].

    A level has fewer codes than asked when fewer vectors differ. ``resolve`` says what happens to items with the same
    codes: "nearest" shares the last level's codes out among them at the least total squared distance (ids stay short),
    "level" appends one more level that numbers them (TIGER).

    Raises:
        MethodError: there are fewer ids than items, or a codebook is used by less than half.
    """
    if quantiser == "rq-vae":
        from llmrec.gpt.rqvae import rqvae

        vectors, books, labels, error = rqvae(vectors, levels=levels, codes=codes, seed=seed)
    else:
        books, labels, left = _residual_kmeans(vectors, levels, codes, seed)
        error = float((left**2).sum() / max(((vectors - vectors.mean(0)) ** 2).sum(), 1e-12))
    sizes = [len(book) for book in books]
    collisions = len(labels) - len(np.unique(labels, axis=0))
    use = [len(np.unique(labels[:, level])) / size for level, size in enumerate(sizes)]
    if min(use) < LEAST_USE:
        level = int(np.argmin(use))
        raise MethodError(
            f"semantic ids: only {use[level]:.0%} of the {sizes[level]} codes of level {level + 1} are in use. "
            "Take fewer codes, or vectors that tell the items apart."
        )
    if collisions and resolve == "level":
        number = _number_within(labels)
        labels = np.concatenate([labels, number[:, None]], axis=1)
        sizes.append(int(number.max()) + 1)
    elif collisions:
        labels, sizes[-1] = _share_out(vectors, books, labels, codes)
    return ItemIds(labels.astype(np.int32), tuple(sizes), collisions, error, quantiser)


def _residual_kmeans(
    vectors: Floats, levels: int, codes: int, seed: int
) -> tuple[list[Floats], npt.NDArray[np.int64], Floats]:
    """Codebooks [size, d] of each level, labels [n, levels], and what is left of the vectors [n, d]."""
    from sklearn.cluster import KMeans

    left = np.asarray(vectors, np.float64).copy()
    books, labels = [], np.empty((len(left), levels), np.int64)
    for level in range(levels):
        size = min(codes, len(np.unique(left.round(6), axis=0)))
        found = KMeans(size, n_init=3, random_state=(seed + level) % 2**32).fit(left)
        books.append(found.cluster_centers_)
        labels[:, level] = found.labels_
        left -= found.cluster_centers_[found.labels_]
    return books, labels, left


def _number_within(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0, 1, 2, ... within each group of equal rows, in the order of the items."""
    group = np.unique(labels, axis=0, return_inverse=True)[1].ravel()
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    number = np.empty(len(labels), np.int64)
    number[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return number


def _share_out(
    vectors: Floats, books: list[Floats], labels: npt.NDArray[np.int64], codes: int
) -> tuple[npt.NDArray[np.int64], int]:
    """Give the items of each prefix different last codes, at the least total squared distance; the new last size.

    A prefix with more items than there are last codes hands the farthest ones to the nearest prefix with room. The last
    level may grow up to ``codes`` (it is smaller when few vectors differed); added codes stand at distance zero's end:
    they are nobody's nearest and only taken when all others are.
    """
    from scipy.optimize import linear_sum_assignment

    prefixes, member = np.unique(labels[:, :-1], axis=0, return_inverse=True)
    member = member.ravel()
    if len(prefixes) * codes < len(labels):
        raise MethodError(
            f"semantic ids: {len(labels)} items, but only {len(prefixes)} prefixes x {codes} codes. "
            "Take more levels or more codes."
        )
    centres = np.zeros((len(prefixes), vectors.shape[1]))
    for level, book in enumerate(books[:-1]):
        centres += book[prefixes[:, level]]
    member = _make_room(vectors, centres, member, codes)
    last = books[-1]
    size = max(len(last), int(np.bincount(member).max()))
    far = 1e6 + np.arange(size - len(last))  # cost of the added codes, the first of them first
    out = np.concatenate([prefixes[member], np.zeros((len(labels), 1), np.int64)], axis=1)
    for prefix in range(len(prefixes)):
        rows = np.flatnonzero(member == prefix)
        rest = vectors[rows] - centres[prefix]
        cost = ((rest[:, None] - last[None]) ** 2).sum(-1)  # [rows, last codes]
        cost = np.concatenate([cost, np.broadcast_to(far, (len(rows), len(far)))], axis=1)
        chosen_rows, chosen = linear_sum_assignment(cost)
        out[rows[chosen_rows], -1] = chosen
    return out, size


def _make_room(vectors: Floats, centres: Floats, member: npt.NDArray[np.int64], capacity: int) -> npt.NDArray[np.int64]:
    """Move items out of prefixes with more than ``capacity`` of them, the farthest first, to the nearest with room."""
    member = member.copy()
    counts = np.bincount(member, minlength=len(centres))
    for prefix in np.flatnonzero(counts > capacity):
        rows = np.flatnonzero(member == prefix)
        distance = ((vectors[rows] - centres[prefix]) ** 2).sum(-1)
        for row in rows[np.argsort(distance, kind="stable")[capacity:]]:
            away = ((vectors[row] - centres) ** 2).sum(-1)
            away[counts >= capacity] = np.inf
            counts[member[row]] -= 1
            member[row] = int(np.argmin(away))
            counts[member[row]] += 1
    return member
