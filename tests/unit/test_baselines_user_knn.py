"""user-knn against plain loops, and against irspack where it is installed."""

import math

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.types import Histories, Users

N_USERS, N_ITEMS = 60, 25
RNG = np.random.default_rng(11)
SEQUENCES = [RNG.permutation(N_ITEMS)[: RNG.integers(5, 15)].tolist() for _ in range(N_USERS)]
SPLIT = toy.leave_one_out(SEQUENCES, N_ITEMS)
TRAIN = [items[:-2] for items in SEQUENCES]
X = np.zeros((N_USERS, N_ITEMS))
for _user, _items in enumerate(TRAIN):
    X[_user, _items] = 1.0


def fitted(**params):
    method = load_method("user-knn")(**params)
    method.fit(SPLIT, Context(seed=0, items=toy.items(N_ITEMS)))
    return method


def asking(*histories, ids=None) -> Users:
    indptr = np.cumsum([0, *map(len, histories)])
    names = np.arange(len(histories)) if ids is None else ids
    items = np.array([item for history in histories for item in history], np.int32)
    return Users(np.asarray(names, np.int32), Histories(indptr, items, N_ITEMS))


def similarity(u: set[int], v: set[int], weighting: str, shrink: float) -> float:
    """One pair's, item by item."""
    users_of = X.sum(axis=0)
    idf = {i: 1.0 if weighting == "binary" else math.log(1 + N_USERS / users_of[i]) for i in range(N_ITEMS)}
    shared = u & v
    if not shared:
        return 0.0
    if weighting == "bm25":
        mean = sum(map(len, TRAIN)) / N_USERS
        scales = [2.2 / (1 + 1.2 * (0.25 + 0.75 * len(items) / mean)) for items in (u, v)]
    else:
        scales = [1 / math.sqrt(sum(idf[i] ** 2 for i in items)) for items in (u, v)]
    found = sum(idf[i] ** 2 for i in shared) * math.prod(scales)
    return found * len(shared) / (len(shared) + shrink)


@pytest.mark.parametrize("weighting", ["binary", "tf-idf", "bm25"])
@pytest.mark.parametrize(("neighbours", "shrink"), [(0, 0.0), (7, 0.0), (7, 5.0)])
def test_scores_are_sums_over_the_nearest(weighting, neighbours, shrink):
    method = fitted(weighting=weighting, neighbours=neighbours, shrink=shrink)
    near = method._similarity(asking(*TRAIN)).toarray()
    expected = np.array(
        [
            [0.0 if u == v else similarity(set(a), set(b), weighting, shrink) for v, b in enumerate(TRAIN)]
            for u, a in enumerate(TRAIN)
        ]
    )
    assert near == pytest.approx(expected, abs=1e-12)
    for row in near:
        if neighbours:
            row[np.argsort(-row, kind="stable")[neighbours:]] = 0.0
    assert method.score(asking(*TRAIN)) == pytest.approx(near @ X, abs=1e-10)


@pytest.mark.parametrize("weighting", ["binary", "tf-idf", "bm25"])
def test_strangers_are_answered_from_their_histories(weighting):
    """A user of another number, unseen in training, with a known user's history finds that user first."""
    method = fitted(weighting=weighting)
    stranger = asking(TRAIN[4], ids=[N_USERS + 3])
    near = method._similarity(stranger).toarray()[0]
    assert near[4] == pytest.approx(similarity(set(TRAIN[4]), set(TRAIN[4]), weighting, 0.0))
    assert (method._similarity(asking(TRAIN[4], ids=[4])).toarray()[0, 4]) == 0.0
    assert not method.score(asking([])).any()


def test_unknown_weighting():
    with pytest.raises(ValueError, match="expected one of binary, tf-idf, bm25"):
        fitted(weighting="bm26")


@pytest.mark.parametrize("k", [5, N_USERS])
def test_irspack_agrees(k):
    irspack = pytest.importorskip("irspack")
    peer = irspack.CosineUserKNNRecommender(SPLIT.train.matrix().astype(float), top_k=k, shrinkage=0.0, n_threads=1)
    theirs = peer.learn().get_score(np.arange(N_USERS))
    # Theirs counts a user among their own neighbours, then drops them.
    ours = fitted(weighting="binary", neighbours=k - 1).score(asking(*TRAIN))
    # Their cosines are in single precision; of equally near users at the border either may stay.
    assert np.isclose(ours, theirs, atol=1e-5).all(axis=1).mean() > 0.95
