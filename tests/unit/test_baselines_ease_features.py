"""ease-features against the closed form with the features as further users, and against EASE."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.feature_extraction.text import TfidfVectorizer

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.types import Histories, Users

N_USERS, N_ITEMS = 60, 26
RNG = np.random.default_rng(14)
SEQUENCES = [RNG.permutation(N_ITEMS - 2)[: RNG.integers(5, 15)].tolist() for _ in range(N_USERS)]
SPLIT = toy.leave_one_out(SEQUENCES, N_ITEMS)
X = SPLIT.train.matrix().toarray().astype(np.float64)  # the last two items were taken by nobody
ITEMS = toy.items(N_ITEMS)
ALL = Users(np.arange(N_USERS, dtype=np.int32), SPLIT.train.histories)


def fitted(name="ease-features", items=ITEMS, **params):
    method = load_method(name)(**params)
    method.fit(SPLIT, Context(seed=0, items=items))
    return method


@pytest.mark.parametrize("features", ["words", "categories", "both"])
@pytest.mark.parametrize(("weight", "l2"), [(0.5, 2.0), (30.0, 20.0)])
def test_features_are_further_users(features, weight, l2):
    words = TfidfVectorizer(sublinear_tf=True).fit_transform(ITEMS.texts).toarray()
    kinds = np.array([[own == ["animal"], own == ["tool"]] for own in ITEMS.categories], float)
    blocks = {"words": [words], "categories": [kinds], "both": [words, kinds]}[features]
    stacked = np.vstack([X, *(np.sqrt(weight) * block.T for block in blocks)])
    inverse = scipy.linalg.inv(stacked.T @ stacked + l2 * np.eye(N_ITEMS))
    expected = X @ (np.eye(N_ITEMS) - inverse / np.diag(inverse))
    params = {"features": features, "weight": weight, "l2": l2}
    assert fitted(**params).score(ALL) == pytest.approx(expected, abs=1e-10)
    assert fitted(**params, precision="float32").score(ALL) == pytest.approx(expected, abs=1e-4)


def test_without_weight_it_is_ease():
    assert fitted(weight=0.0, l2=7.0).score(ALL) == pytest.approx(fitted("ease", l2=7.0).score(ALL), abs=1e-12)


def test_an_item_that_nobody_took_is_reached_through_its_features():
    asked = Users(np.array([999], np.int32), Histories(np.array([0, 2]), np.array([2, 4], np.int32), N_ITEMS))
    animal, tool = fitted(features="categories").score(asked)[0, [N_ITEMS - 2, N_ITEMS - 1]]
    assert animal > 1e-3 and animal > tool  # both of the user's items are animals
    assert not fitted("ease").score(asked)[0, -2:].any()


def test_blocks_do_not_matter(monkeypatch):
    method = fitted()
    monkeypatch.setitem(type(method).fit.__globals__, "BLOCK", 7)
    method.fit(SPLIT, Context(seed=0, items=ITEMS))
    assert method.weights == pytest.approx(fitted().weights, abs=1e-14)


def test_no_such_features():
    with pytest.raises(ValueError, match="expected one of words, categories, both"):
        fitted(features="pictures")
    bare = type(ITEMS)(ITEMS.frame.with_columns(text=ITEMS.frame["text"].str.replace(".*", "")))
    with pytest.raises(ValueError, match="needs words in the items' texts, and this dataset has none"):
        fitted(items=bare)


def test_too_small_l2():
    with pytest.raises(ValueError, match=r"l2 = -1000\.0 is too small"):
        fitted(l2=-1000.0)


def test_too_little_memory_is_said_before_starting(monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 2048})())
    with pytest.raises(MemoryError, match=r"the Gram matrix of 26 items in float64 needs 0\.0 GiB"):
        fitted()
