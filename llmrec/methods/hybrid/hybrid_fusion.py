"""Two methods fused: a weighted mean of their scores, or of the reciprocals of their ranks.

    fused = (1 - weight) * f(first) + weight * f(second)

where f brings a user's scores to mean 0 and deviation 1 (``z-score``), to 0 .. 1 (``min-max``), or to
1 / (damping + rank) (``rank``: reciprocal rank fusion, Cormack, Clarke and Buettcher, SIGIR 2009, who found 60 and
weights of one half; Fox and Shaw's CombSUM, TREC-2 1994, is the sum of scores). Mean, deviation, range and ranks are
those among the items that the user can be recommended: candidates, not in the history. The weight is the best of
0, .1, ..., 1 on the validation part, of equal ones the smallest; so that on validation, never on test, the fusion is no
worse than either part. Whether it is better on test is what a table shows, in which both parts stand too.

Reciprocal ranks also take a method that writes lists (``generate``): an item that is not in its list adds nothing.
Requests in words are answered with lists by all (``search``), of ``depth`` items: mean, deviation and range are those
of the list, and an item that one part does not list stands level with the last that it does, or adds nothing by ranks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from llmrec.best import best
from llmrec.errors import UserError, nearest
from llmrec.method import tune
from llmrec.parts import fit_part, read_part, scores_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmrec.context import Context
    from llmrec.types import Bools, Floats, Int32, Split, Users

WAYS = ("z-score", "min-max", "rank")
WEIGHTS = tuple(round(step / 10, 1) for step in range(11))
ROLES = ("first", "second")

KEPT_BYTES = 2 << 30
"""Of both parts' answers on the validation part that are kept while the weight is chosen; the rest is asked anew."""


@dataclass
class HybridFusion:
    """The scores or ranks of two methods, averaged with a weight that is chosen on validation."""

    family: ClassVar[str] = "hybrid"
    seeded: ClassVar[bool] = False  # of itself; a run is seeded where a part is
    early_stops: ClassVar[bool] = True  # it needs the validation part to choose its weight
    quick: ClassVar[dict[str, Any]] = {"first": {"method": "bm25"}, "second": {"method": "tfidf"}}

    first: dict[str, Any] = field(default_factory=lambda: {"method": "ease"})
    second: dict[str, Any] = field(default_factory=lambda: {"method": "bert-biencoder"})
    by: Literal["z-score", "min-max", "rank"] = tune("z-score", choices=WAYS)
    weight: float | None = None  # of the second, 0 to 1; None: chosen on validation
    damping: float = 60.0  # of reciprocal ranks; the larger, the less the first few ranks stand out
    depth: int = 200  # items of a list, of a method that writes or finds lists

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise UserError(f"hybrid-fusion: by {self.by!r} is unknown.{nearest(self.by, WAYS)}")
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise UserError(f"hybrid-fusion: weight = {self.weight} is out of range: expected 0 to 1.")
        if self.damping < 0 or self.depth < 1:
            raise UserError("hybrid-fusion: damping must be 0 or more and depth 1 or more.")
        self.parts = {role: self._part(role) for role in ROLES}

    def _part(self, role: str) -> Any:
        where = _where(role)
        part = read_part(getattr(self, role), where, ("score", "generate", "search"))
        if self.by != "rank" and not {"score", "search"} & set(part.file.verbs):
            raise UserError(f"{where}: {part.name!r} writes lists and has no scores to fuse: set by = 'rank'.")
        return part

    def fit(self, split: Split, ctx: Context) -> None:
        """
        Raises:
            UserError: a part cannot be asked what the split asks.
        """
        wanted = ("search",) if split.requests else ("score", "generate")
        for role, part in self.parts.items():
            part.require(_where(role), wanted)
        self.candidates, self.mask_history = split.candidates, split.mask_history
        self.fitted = {role: fit_part(self.parts[role], role, split, ctx) for role in ROLES}
        if self.weight is not None:
            self.chosen = self.weight
        elif ctx.validate is not None:
            self.chosen = self._choose(ctx)
        else:  # after the fit that chose it; a half where there was none
            self.chosen = ctx.counts.get("weight_percent", 50) / 100
        ctx.counts["weight_percent"] = round(100 * self.chosen)
        ctx.chosen_epochs = max(1, *(ctx.counts.get(f"{role}_epochs", 1) for role in ROLES))

    def _choose(self, ctx: Context) -> float:
        """The weight with the best figure on the validation part. Each is a point of the record's curve."""
        assert ctx.validate is not None
        answers = _Remembered(self)
        figures = []
        for step, weight in enumerate(WEIGHTS, 1):
            answers.begin(weight)
            figures.append(ctx.better * ctx.validate(answers)[ctx.watched])
            told = {ctx.watched: ctx.better * figures[-1]}
            ctx.log("fit", epoch=step, epochs=len(WEIGHTS), weight=weight, **told)
        return WEIGHTS[int(np.argmax(figures))]

    def score(self, users: Users) -> Floats:
        return mixed(*self.of_parts(users), self.chosen)

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        return self.listed(mixed(*self.of_searches(texts), self.chosen), k)

    def listed(self, scores: Floats, k: int) -> tuple[Int32, Floats]:
        """The k best items of scores [b, n_items] that are -inf where no part has found an item."""
        candidates = np.flatnonzero(self.candidates).astype(np.int32)
        return best(scores[:, candidates], candidates, k)

    def of_searches(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """What the parts find, made comparable: two arrays float32 [b, n_items], -inf where neither finds an item."""
        lists = [self.fitted[role].search(texts, self.depth) for role in ROLES]
        first, second = (self._of_list(items, scores, (len(texts), len(self.candidates))) for items, scores in lists)
        neither = np.isneginf(first) & np.isneginf(second)
        return np.where(neither, -np.inf, self._level(first)), np.where(neither, -np.inf, self._level(second))

    def _of_list(self, items: Int32, scores: Floats, shape: tuple[int, ...]) -> Floats:
        """A list's scores [b, k] at their items' places [b, n_items], made comparable; -inf elsewhere."""
        made = np.full(shape, -np.inf, np.float32)
        there = items >= 0
        if self.by == "rank":
            values: Floats = np.broadcast_to(1 / (self.damping + 1 + np.arange(items.shape[1])), items.shape)
        else:
            known = np.where(there, scores, 0).astype(np.float64)
            values = standard(known, there) if self.by == "z-score" else within_one(known, there)
        rows, places = np.nonzero(there)
        made[rows, items[rows, places]] = values[rows, places]
        return made

    def _level(self, made: Floats) -> Floats:
        """-inf becomes what an item gets that a list leaves out."""
        low = np.where(np.isneginf(made), np.inf, made).min(1, keepdims=True)
        low = 0 if self.by == "rank" else np.where(np.isfinite(low), low, 0)
        level: Floats = np.where(np.isneginf(made), low, made).astype(np.float32)
        return level

    def of_parts(self, users: Users) -> tuple[Floats, Floats]:
        """What the parts say, made comparable: two arrays float32 [b, n_items]."""
        asked = np.broadcast_to(self.candidates, (len(users), len(self.candidates))).copy()
        if self.mask_history:
            asked[users.histories.rows, users.histories.items] = False
        first, second = (self._comparable(self.fitted[role], users, asked) for role in ROLES)
        return first, second

    def _comparable(self, part: Any, users: Users, asked: Bools) -> Floats:
        if not callable(getattr(part, "score", None)):
            lists = part.generate(users, self.depth, self.mask_history)
            return self._reciprocal_places(lists.items, asked.shape)
        scores = scores_of(part, users)
        if self.by == "rank":
            return self._reciprocal_ranks(standard(scores, asked), asked)
        made: Floats = (standard(scores, asked) if self.by == "z-score" else within_one(scores, asked)).astype(
            np.float32
        )
        return made

    def _reciprocal_places(self, items: Int32, shape: tuple[int, ...]) -> Floats:
        """1 / (damping + place) of what stands in lists [b, k], 0 of all else."""
        made = np.zeros(shape, np.float32)
        rows, places = np.nonzero(items >= 0)
        made[rows, items[rows, places]] = 1 / (self.damping + 1 + places)
        return made

    def _reciprocal_ranks(self, scores: Floats, asked: Bools) -> Floats:
        """1 / (damping + rank) among the items asked for. Equal scores share the mean of their ranks; what is equal is
        seen with five decimals, for the rounding of a product depends on how many users are asked at once."""
        from scipy.stats import rankdata

        ranks = rankdata(np.where(asked, -np.round(scores, 5), np.inf), axis=1)
        made: Floats = np.where(asked, 1 / (self.damping + ranks), 0).astype(np.float32)
        return made


def _where(role: str) -> str:
    """What begins a message about a part."""
    return f"hybrid-fusion: parameter {role!r}"


class _Remembered:
    """Answers validation with one weight after the other and asks the parts once, as far as memory goes. A validation
    asks the same batches in the same order each time."""

    def __init__(self, fusion: HybridFusion) -> None:
        self.fusion, self.kept_bytes = fusion, 0
        self.batches: list[tuple[Floats, Floats]] = []
        self.begin(0.0)

    def begin(self, weight: float) -> None:
        self.weight, self.at = weight, 0

    def score(self, users: Users) -> Floats:
        return mixed(*self._asked(lambda: self.fusion.of_parts(users)), self.weight)

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        return self.fusion.listed(mixed(*self._asked(lambda: self.fusion.of_searches(texts)), self.weight), k)

    def _asked(self, ask: Callable[[], tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
        at, self.at = self.at, self.at + 1
        if at < len(self.batches):
            return self.batches[at]
        made = ask()
        size = sum(part.nbytes for part in made)
        if self.kept_bytes + size <= KEPT_BYTES and at == len(self.batches):
            self.kept_bytes += size
            self.batches.append(made)
        return made


def mixed(first: Floats, second: Floats, weight: float) -> Floats:
    """(1 - weight) * first + weight * second; -inf, where both have it, stays."""
    if weight in (0, 1):
        return (first, second)[int(weight)]
    return np.float32(1 - weight) * first + np.float32(weight) * second


def standard(scores: Floats, asked: Bools) -> Floats:
    """Scores [b, n] less their row's mean, over its deviation, both among the items asked for; a row without
    differences becomes 0."""
    count = np.maximum(asked.sum(1, keepdims=True), 1)
    mean = np.where(asked, scores, 0).sum(1, keepdims=True) / count
    deviation = np.sqrt(np.where(asked, scores - mean, 0).__pow__(2).sum(1, keepdims=True) / count)
    return _over(scores - mean, deviation, scores)


def within_one(scores: Floats, asked: Bools) -> Floats:
    """Scores [b, n] so that a row's smallest among the items asked for is 0 and its largest 1."""
    low = np.where(asked, scores, np.inf).min(1, keepdims=True)
    high = np.where(asked, scores, -np.inf).max(1, keepdims=True)
    there = np.isfinite(low)
    return _over(scores - np.where(there, low, 0), np.where(there, high - low, 0), scores)


def _over(differences: Floats, spread: Floats, scores: Floats) -> Floats:
    """Differences over their spread; 0 where the spread is rounding and no more."""
    there = spread > 1e-9 * np.maximum(np.abs(scores).max(1, keepdims=True), 1e-30)
    result: Floats = np.where(there, differences / np.where(there, spread, 1), 0)
    return result
