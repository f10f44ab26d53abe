"""Each check catches the mistake that it is for: broken variants of one good method, as a scorer and as a generator."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from llmrec import contract, template
from llmrec.method import tune
from llmrec.subject import Broken, NotApplicable, Subject
from llmrec.types import NO_ITEM, Generated


@dataclass
class Counts:
    """Counts of common users."""

    family: ClassVar[str] = "collaborative"
    seeded: ClassVar[bool] = False
    power: float = tune(1.0, low=0.0, high=2.0)

    def fit(self, split, ctx):
        taken = split.fit.matrix()
        self.together = (taken.T @ taken).toarray().astype(float)

    def score(self, users):
        return users.matrix() @ self.together


@dataclass
class Lists:
    """The same counts, answered as lists."""

    seeded: ClassVar[bool] = False

    def fit(self, split, ctx):
        self.counts = Counts()
        self.counts.fit(split, ctx)

    def generate(self, users, k, exclude):
        scores = self.counts.score(users)
        if exclude:
            scores[users.matrix().toarray() > 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(scores, order, 1)
        items = np.where(np.isfinite(best), order, NO_ITEM).astype(np.int32)
        room = ((0, 0), (0, k - items.shape[1]))
        none = np.zeros(len(users), np.int32)
        items, best = np.pad(items, room, constant_values=NO_ITEM), np.pad(best, room, constant_values=-np.inf)
        return Generated(items, best, none, none, none, none + k)


def test_template_passes_and_is_short():
    names = {}
    exec(template.TEXT.format(cls="Mine"), names)
    assert template.TEXT.count("\n") < 25
    assert broken(names["Mine"]) == set()


def test_good_methods_pass():
    assert broken(Counts) == set()
    assert broken(Lists) == set()


def broken(cls):
    return {o.check for o in contract.examine(Subject(cls.__name__, cls)) if o.status == "broken"}


class NoDocstring(Counts):
    __doc__ = None


@dataclass
class OutsideItsSpace(Counts):
    """The default is no value that tuning would try."""

    power: float = tune(3.0, low=0.0, high=2.0)


class UnknownFamily(Counts):
    """A family of its own."""

    family = "magic"


class NotANumber(Counts):
    """The classic: a norm of zero."""

    def score(self, users):
        norm = np.sqrt(self.together.diagonal())
        with np.errstate(invalid="ignore"):
            return super().score(users) / norm


class TooNarrow(Counts):
    """One column is missing."""

    def score(self, users):
        return super().score(users)[:, :-1]


class RowsShifted(Counts):
    """Everyone gets their neighbour's answer."""

    def score(self, users):
        return np.roll(super().score(users), 1, axis=0)


class GlobalRandomness(Counts):
    """Noise from NumPy's global generator."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        self.together += np.random.rand(*self.together.shape) * 1e-3  # noqa: NPY002


class FreshEntropy(Counts):
    """Noise that no seed governs."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        self.together += np.random.default_rng().random(self.together.shape) * 1e-3


class Peeks(Counts):
    """Counts the test as well."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        self.together[:, split.test.item] += 1e-3


class SaysUnseeded(Counts):
    """Noise from a stream of the context, though it says that there is none."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        self.together += ctx.rng("initialisation").random(self.together.shape) * 1e-3


class SaysSeeded(Counts):
    """No stream is used, though it says that there is one."""

    seeded = True


class CentredOnTheBatch(Counts):
    """Scores are relative to the batch's mean."""

    def score(self, users):
        scores = super().score(users)
        return scores - scores.mean(axis=0)


class ErrsOnNobody(Counts):
    """The last item of a history is taken for granted."""

    def score(self, users):
        return self.together[[history[-1] for history in users.histories]]


class OutOfRange(Lists):
    """Ids that go on where the items end."""

    def generate(self, users, k, exclude):
        said = super().generate(users, k, exclude)
        said.items[said.items != NO_ITEM] += 51
        return said


class Repeats(Lists):
    """The best item twice."""

    def generate(self, users, k, exclude):
        said = super().generate(users, k, exclude)
        said.items[:, 1], said.scores[:, 1] = said.items[:, 0], said.scores[:, 0]
        return said


class RecommendsTheSeen(Lists):
    """Does not listen to `exclude`."""

    def generate(self, users, k, exclude):
        return super().generate(users, k, False)


class AsManyAsItLikes(Lists):
    """Twenty items, however many were asked for."""

    def generate(self, users, k, exclude):
        return super().generate(users, 20, exclude)


CAUGHT = [
    (NoDocstring, "documented"),
    (OutsideItsSpace, "documented"),
    (UnknownFamily, "documented"),
    (NotANumber, "shape_and_range"),
    (TooNarrow, "shape_and_range"),
    (RowsShifted, "learns_the_checkerboard"),
    (RowsShifted, "batch_size"),
    (GlobalRandomness, "no_global_random_state"),
    (FreshEntropy, "same_seed_same_answer"),
    (Peeks, "no_peeking"),
    (SaysUnseeded, "the_word_seeded"),
    (SaysSeeded, "the_word_seeded"),
    (CentredOnTheBatch, "batch_size"),
    (ErrsOnNobody, "user_with_no_item"),
    (OutOfRange, "shape_and_range"),
    (Repeats, "shape_and_range"),
    (RecommendsTheSeen, "seen_items_masked"),
    (AsManyAsItLikes, "shape_and_range"),
]


@pytest.mark.parametrize(("cls", "check"), CAUGHT, ids=lambda value: getattr(value, "__name__", value))
def test_mistake_is_caught(cls, check):
    found = {o.check: o for o in contract.examine(Subject(cls.__name__, cls))}
    assert found[check].status == "broken"
    assert found[check].message


def test_only_the_guilty_check_speaks():
    assert broken(GlobalRandomness) == {"no_global_random_state"}
    assert broken(Peeks) == {"no_peeking"}
    assert broken(SaysSeeded) == {"the_word_seeded"}


def test_non_personal_methods_need_not_learn_the_checkerboard():
    class Popular(Counts):
        """The same for everyone."""

        family = "non-personal"

    with pytest.raises(NotApplicable):
        contract.learns_the_checkerboard(Subject("popular", Popular))
    with pytest.raises(Broken):
        contract.documented(Subject("popular", type("Undocumented", (Popular,), {"__doc__": ""})))
