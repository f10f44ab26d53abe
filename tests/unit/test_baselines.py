"""The classic baselines against independent computation: closed forms, other packages, plain loops."""

import math

import numpy as np
import pytest
import scipy.linalg
from scipy.stats import kstest
from sklearn.feature_extraction.text import TfidfVectorizer

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.neighbours import Weighting
from llmrec.types import Histories, Users

N_ITEMS = 30
RNG = np.random.default_rng(7)
SEQUENCES = [RNG.permutation(N_ITEMS)[: RNG.integers(5, 15)].tolist() for _ in range(80)]
SPLIT = toy.leave_one_out(SEQUENCES, N_ITEMS)
TRAIN = [items[:-2] for items in SEQUENCES]
X = np.zeros((80, N_ITEMS))
for _user, _items in enumerate(TRAIN):
    X[_user, _items] = 1.0


def fitted(name, seed=0, **params):
    if name == "als":
        pytest.importorskip("implicit")
    method = load_method(name)(**params)
    method.fit(SPLIT, Context(seed=seed, items=toy.items(N_ITEMS)))
    return method


def asking(*histories, ids=None) -> Users:
    indptr = np.cumsum([0, *map(len, histories)])
    items = np.array([item for history in histories for item in history], np.int32)
    names = np.arange(len(histories)) if ids is None else ids
    return Users(np.asarray(names, np.int32), Histories(indptr, items, N_ITEMS))


EVERYBODY = asking(*TRAIN)
NAMES = ["random", "popularity", "markov", "decayed-transitions", "item-knn", "ease", "als", "tfidf"]


@pytest.mark.parametrize("name", NAMES)
def test_users_without_history_and_single_users(name):
    """Finite scores for all, and nobody's scores depend on who else is asked."""
    method = fitted(name)
    together = method.score(asking(TRAIN[0], [], TRAIN[2], ids=[0, 1, 2]))
    assert together.shape == (3, N_ITEMS) and np.isfinite(together).all()
    for user, history in enumerate([TRAIN[0], [], TRAIN[2]]):
        alone = method.score(asking(history, ids=[user]))
        assert alone[0] == pytest.approx(together[user], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["markov", "decayed-transitions", "item-knn", "ease", "als", "tfidf"])
def test_what_came_after_the_fit_counts(name):
    """A user is answered from the history at hand: with one more item the scores are others."""
    method = fitted(name)
    before, after = method.score(asking(TRAIN[3], [*TRAIN[3], SEQUENCES[3][-2]]))
    assert np.abs(before - after).max() > 1e-6


def test_random_is_uniform_and_a_users_own():
    scores = fitted("random").score(asking(*[[]] * 200))
    assert kstest(scores.ravel(), "uniform").pvalue > 0.01
    assert len(np.unique(scores)) == scores.size
    assert np.abs(np.corrcoef(scores[:20])[~np.eye(20, dtype=bool)]).max() < 0.75
    assert (fitted("random", seed=1).score(asking([])) != scores[0]).all()
    assert (fitted("random").score(asking([4], ids=[150])) == scores[150]).all()  # neither place nor history counts


@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_ease_is_the_closed_form(l2):
    inverse = scipy.linalg.inv(X.T @ X + l2 * np.eye(N_ITEMS))
    weights = np.eye(N_ITEMS) - inverse / np.diag(inverse)
    expected = X @ weights
    assert fitted("ease", l2=l2).score(EVERYBODY) == pytest.approx(expected, abs=1e-10)
    assert fitted("ease", l2=l2, precision="float32").score(EVERYBODY) == pytest.approx(expected, abs=1e-4)
    assert fitted("ease", l2=l2).weights.flags.c_contiguous  # a product with sparse rows would copy it otherwise


def test_ease_says_which_l2_is_too_small():
    with pytest.raises(ValueError, match=r"l2 = -1000\.0 is too small"):
        fitted("ease", l2=-1000.0)


PEERS = {"binary": "CosineRecommender", "tf-idf": "TFIDFRecommender", "bm25": "BM25Recommender"}


@pytest.mark.parametrize("weighting", PEERS)
def test_item_knn_is_implicits(weighting):
    """All neighbours kept, the same similarities; with few, theirs counts the item itself among them."""
    peers = pytest.importorskip("implicit.nearest_neighbours")
    peer = getattr(peers, PEERS[weighting])(K=N_ITEMS, num_threads=1)
    peer.fit(SPLIT.train.matrix().astype(np.float64).tocsr(), show_progress=False)
    similarity = peer.similarity.toarray()
    np.fill_diagonal(similarity, 0.0)
    assert similarity.any()
    assert fitted("item-knn", weighting=weighting).score(EVERYBODY) == pytest.approx(X @ similarity, abs=1e-9)


@pytest.mark.parametrize("weighting", PEERS)
def test_weights_are_implicits_for_users_too(weighting):
    """The module that item-knn and user-knn share, with users for documents; the smooth idf keeps every term."""
    peers = pytest.importorskip("implicit.nearest_neighbours")
    seen = SPLIT.train.matrix().astype(np.float64)
    of = {
        "binary": peers.normalize,
        "tf-idf": lambda x: peers.normalize(peers.tfidf_weight(x)),
        "bm25": lambda x: peers.bm25_weight(x, 1.2, 0.75),
    }
    own = Weighting.learn(weighting, seen, smooth=False).of(seen)
    assert own.toarray() == pytest.approx(of[weighting](seen.tocoo()).toarray(), abs=1e-12)
    smooth = Weighting.learn(weighting, seen, smooth=True)
    assert (smooth.idf > 0).all() and smooth.idf == pytest.approx(
        np.ones(N_ITEMS) if weighting == "binary" else np.log(1 + len(TRAIN) / X.sum(axis=0))
    )


def test_neighbourhoods_in_blocks_of_few_items(monkeypatch):
    """Blocks, and whether the similarities are held as a full or a sparse matrix, change no bit of an answer."""
    whole = fitted("item-knn", weighting="tf-idf", shrink=3.0).score(EVERYBODY)
    for dense_from in (0.0, 1.1):
        method = load_method("item-knn")(weighting="tf-idf", shrink=3.0)
        monkeypatch.setitem(method.fit.__globals__, "BLOCK", 7)
        monkeypatch.setitem(method.fit.__globals__, "DENSE_FROM", dense_from)
        method.fit(SPLIT, Context(seed=0, items=toy.items(N_ITEMS)))
        assert isinstance(method.similarity, np.ndarray) == (dense_from == 0.0)
        assert (method.score(EVERYBODY) == whole).all()


def test_unknown_weighting():
    with pytest.raises(ValueError, match="expected one of binary, tf-idf, bm25"):
        fitted("item-knn", weighting="bm26")


@pytest.mark.parametrize(("neighbours", "shrink"), [(0, 10.0), (4, 0.0), (4, 10.0)])
def test_item_knn_with_shrinkage_and_few_neighbours(neighbours, shrink):
    users = X.sum(axis=0)
    similarity = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        for i in range(N_ITEMS):
            both = float(X[:, j] @ X[:, i])
            if i != j and both:
                similarity[j, i] = both / math.sqrt(users[j] * users[i]) * both / (both + shrink)
        if neighbours:
            kept = np.argsort(-similarity[j], kind="stable")[:neighbours]
            similarity[j, np.setdiff1d(np.arange(N_ITEMS), kept)] = 0.0
    method = fitted("item-knn", neighbours=neighbours, shrink=shrink)
    found = method.similarity if isinstance(method.similarity, np.ndarray) else method.similarity.toarray()
    assert (np.count_nonzero(found, axis=1) <= (neighbours or N_ITEMS)).all()
    # Equal similarities at the border may be kept either way: compare the sizes, then the places that are beyond doubt.
    assert np.sort(found, axis=1) == pytest.approx(np.sort(similarity, axis=1), abs=1e-12)
    assert np.isclose(found, similarity).mean() > 0.95


def test_decayed_transitions_drop_small_terms():
    """alpha = .01: the third last item has weight 1e-4 and counts, the fourth last does not."""
    method = fitted("decayed-transitions", alpha=0.01, nu=0.0)
    weights = method._weights(asking([5, 6, 7, 8]).histories).toarray()[0]
    assert weights[[8, 7, 6, 5]] == pytest.approx([1.0, 1e-2, 1e-4, 0.0])
    twice = method._weights(asking([5, 6, 5]).histories).toarray()[0]
    assert twice[5] == pytest.approx(1.0 + 1e-4)  # a repeated item's terms add up


def test_als_folds_a_user_in_by_the_normal_equations():
    method = fitted("als", factors=8, regularization=2.0, alpha=5.0)
    items = method.item_factors
    for user in (0, 11):
        confidence = np.where(X[user] > 0, 5.0, 1.0)
        left = (items.T * confidence) @ items + 2.0 * np.eye(8)
        own = np.linalg.solve(left, (items.T * confidence) @ X[user])
        assert method.score(asking(TRAIN[user]))[0] == pytest.approx(items @ own, abs=1e-4)


def test_als_depends_on_the_seed_and_not_on_threads(monkeypatch):
    answers = {}
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        answers[threads] = fitted("als", factors=8).score(EVERYBODY)
    assert (answers["1"] == answers["2"]).all()
    assert np.abs(fitted("als", seed=1, factors=8).score(EVERYBODY) - answers["1"]).max() > 1e-6


@pytest.mark.parametrize("decay", [0.6, 1.0])
def test_tfidf_is_the_weighted_mean_cosine(decay):
    texts = toy.items(N_ITEMS).texts
    vectors = TfidfVectorizer(sublinear_tf=True).fit_transform(texts).toarray()
    cosine = vectors @ vectors.T
    history = TRAIN[5]
    weights = np.array([decay**k for k in range(len(history))][::-1])
    expected = weights @ cosine[history] / weights.sum()
    assert fitted("tfidf", decay=decay).score(asking(history))[0] == pytest.approx(expected, abs=1e-12)
    likest = np.argsort(-fitted("tfidf").score(asking([2, 4, 6]))[0])[: N_ITEMS // 2]
    assert (likest % 2 == 0).all()  # the animals, whose texts share words


def test_tfidf_without_texts_says_so():
    items = toy.items(N_ITEMS)
    blank = type(items)(items.frame.with_columns(text=items.frame["text"].str.replace(".*", "")))
    with pytest.raises(ValueError, match="tfidf needs item texts"):
        load_method("tfidf")().fit(SPLIT, Context(seed=0, items=blank))


@pytest.mark.parametrize("name", ["popularity", "markov", "decayed-transitions", "item-knn", "ease", "tfidf"])
def test_no_seed_no_difference(name):
    assert load_method(name).seeded is False
    first, other = (fitted(name, seed=seed).score(EVERYBODY) for seed in (0, 1))
    assert (first == other).all()


@pytest.mark.parametrize("name", NAMES)
def test_train_and_validation_are_fitted_where_the_protocol_says_so(name):
    """With `fit_data = "train+valid"` a method sees exactly what it would see in a training set that holds both."""
    refit = toy.leave_one_out(SEQUENCES, N_ITEMS, fit_data="train+valid")
    same = toy.leave_one_out([[*items[:-1], 0, 0] for items in SEQUENCES], N_ITEMS)
    if name == "als":
        pytest.importorskip("implicit")
    context = Context(seed=0, items=toy.items(N_ITEMS))
    methods = [load_method(name)() for _ in range(2)]
    for method, split in zip(methods, (refit, same), strict=True):
        method.fit(split, context)
    scores = [method.score(EVERYBODY) for method in methods]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6, abs=1e-7)
