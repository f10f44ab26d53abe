"""Each check of methods that predict ratings catches the mistake that it is for."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from llmrec import contract_rating
from llmrec.contract import examine
from llmrec.contract_rating import CHECKS, RatingSubject
from llmrec.method import tune


@dataclass
class Damped:
    """The mean and the user's damped distance from it."""

    seeded: ClassVar[bool] = False
    damping: float = tune(5.0, low=0.0, high=50.0)

    def fit(self, split, ctx):
        value = split.fit.frame["value"].to_numpy().astype(np.float64)
        self.mean = value.mean()
        count = np.bincount(split.fit.user, minlength=split.n_users)
        self.bias = np.bincount(split.fit.user, value - self.mean, split.n_users) / (count + self.damping)

    def predict(self, users, items):
        return self.mean + self.bias[users]


def broken(cls):
    return {o.check for o in examine(RatingSubject(cls.__name__, cls), CHECKS) if o.status == "broken"}


def test_a_good_method_passes():
    assert broken(Damped) == set()


class WrongShape(Damped):
    """One column too many."""

    def predict(self, users, items):
        return super().predict(users, items)[:, None]


class NoneForStrangers(Damped):
    """NaN for users and items that nobody knows."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        self.bias[np.bincount(split.fit.user, minlength=split.n_users) == 0] = np.nan
        self.known = np.bincount(split.fit.item, minlength=split.n_items) > 0

    def predict(self, users, items):
        return np.where(self.known[items], super().predict(users, items), np.nan)


class FailsForStrangers(Damped):
    """An error for an item that nobody knows."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        self.known = set(split.fit.item.tolist())

    def predict(self, users, items):
        if set(items.tolist()) - self.known:
            raise KeyError("unknown item")
        return super().predict(users, items)


class Scores(Damped):
    """Numbers from 0 to 1, as if it were asked for a ranking."""

    def predict(self, users, items):
        return super().predict(users, items) / 10


class LearnsNothing(Damped):
    """Says it is personal and gives the mean."""

    def predict(self, users, items):
        return np.full(len(users), self.mean)


class Peeks(Damped):
    """Fits on the test ratings."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        self.mean = split.test.frame["value"].mean()


class GlobalRandomness(Damped):
    """Draws from NumPy's global generator."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        self.bias = self.bias + 1e-3 * np.random.rand()  # noqa: NPY002


class SaysSeeded(Damped):
    """Uses no random stream, but says that seeds matter."""

    seeded: ClassVar[bool] = True


class HidesItsSeed(Damped):
    """Uses a random stream, but says that it does not."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        self.bias = self.bias + 1e-3 * ctx.rng("initialisation").random()


class LooksAtTheBatch(Damped):
    """Centres the predictions of each batch."""

    def predict(self, users, items):
        found = super().predict(users, items)
        return found - found.mean() + self.mean if len(found) else found


class NeedsValidation(Damped):
    """Cannot fit where nothing is left to validate on."""

    def fit(self, split, ctx):
        super().fit(split, ctx)
        if ctx.validate is None:
            self.mean = np.nan
        else:
            assert ctx.validate(self)["rmse"] > 0


class Undocumented(Damped):
    __doc__ = None


class CannotPredict:
    """No verb for ratings."""

    def fit(self, split, ctx): ...


CAUGHT = {
    WrongShape: "shape_and_range",
    NoneForStrangers: "user_without_ratings",
    FailsForStrangers: "item_without_ratings",
    Scores: "units_of_the_ratings",
    LearnsNothing: "better_than_the_mean",
    Peeks: "no_peeking",
    GlobalRandomness: "no_global_random_state",
    SaysSeeded: "the_word_seeded",
    HidesItsSeed: "the_word_seeded",
    LooksAtTheBatch: "batch_size",
    NeedsValidation: "fits_on_everything",
    Undocumented: "documented",
    CannotPredict: "documented",
}


@pytest.mark.parametrize("cls", CAUGHT, ids=lambda cls: cls.__name__)
def test_each_check_catches_its_mistake(cls):
    assert CAUGHT[cls] in broken(cls)


def test_every_check_has_its_mistake():
    assert {check.__name__ for check in CHECKS} - set(CAUGHT.values()) == {"same_seed_same_answer"}  # see test_checks


def test_the_board_holds_what_its_docstring_says():
    board = contract_rating.board()
    assert [len(part) for part in (board.train, board.valid, board.test)] == [588, 126, 130]
    assert contract_rating.USERS - 1 not in board.train_and_valid.user
    assert contract_rating.ITEMS - 1 not in board.train_and_valid.item
