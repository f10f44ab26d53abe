"""Methods that learn from texts and interactions, in a small world whose answer is known: two kinds of items, told
apart by their texts, and users who like one kind. Items that nobody took, texts that say nothing, items without one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.types import Floats, Histories, Split, Users  # noqa: E402

N_USERS, N_ITEMS, N_COLD, WIDTH = 60, 40, 8, 16
"""The last ``N_COLD`` of the items are in nobody's history; even items are of one kind, odd ones of the other."""


TRAINED = [
    pytest.param("bert-sasrec", {"ids": False}, id="bert-sasrec"),
    pytest.param("bert-sasrec", {"adaptor": "mlp"}, id="bert-sasrec-ids-mlp", marks=pytest.mark.slow),
    pytest.param("bert-cf", {}, id="bert-cf"),
]
METHODS = [*TRAINED, pytest.param("bert-cf", {"kind": "ease-text"}, id="bert-cf-ease-text")]


class Lent(Context):
    """A context whose encoder gives vectors made by hand."""

    vectors: Floats

    def item_embeddings(self, encoder: str = "", only: Any = None) -> Any:
        return self.vectors


def vectors(seed: int = 0) -> Floats:
    """Two clusters of texts on the unit sphere, float32 [N_ITEMS, WIDTH]."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(2, WIDTH))
    made = centres[np.arange(N_ITEMS) % 2] + 0.5 * rng.normal(size=(N_ITEMS, WIDTH))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def shuffled(texts: Floats, seed: int) -> Floats:
    """The same texts, each given to another item: they say nothing any more."""
    return texts[np.random.default_rng(seed).permutation(len(texts))]


def world() -> Split:
    """Even users like even items, odd users odd ones; each has taken eight warm ones, validates on one and is tested on
    a warm one too."""
    rng = np.random.default_rng(0)
    sequences = []
    for user in range(N_USERS):
        own = np.arange(user % 2, N_ITEMS - N_COLD, 2)
        sequences.append(rng.permutation(own)[:8].tolist())
    return toy.leave_one_out(sequences, N_ITEMS)


def fitted(name: str, texts: Floats | None = None, ctx: Lent | None = None, **params: Any) -> Any:
    """A method fitted in this world; without validation, for the epochs that it is given."""
    cls = load_method(name)
    ctx = ctx or Lent(seed=0, items=toy.items(N_ITEMS))
    ctx.vectors = vectors() if texts is None else texts
    method = cls(**{**getattr(cls, "quick", {}), **params})
    method.fit(world(), ctx)
    return method


def users(*histories: list[int]) -> Users:
    indptr = np.cumsum([0, *map(len, histories)])
    items = np.array([i for h in histories for i in h], np.int32)
    return Users(np.arange(len(histories), dtype=np.int32), Histories(indptr, items, N_ITEMS))


def own_kind_first(method: Any, cold: bool) -> float:
    """Share of the users whose best warm (or cold) item is of their own kind; their history is left out."""
    split = world()
    asked = Users(split.asked["test"], split.known("test").histories.take(split.asked["test"]))
    scores = np.array(method.score(asked), np.float64)
    scores[asked.histories.rows, asked.histories.items] = -np.inf
    group = np.arange(N_ITEMS) >= N_ITEMS - N_COLD
    scores[:, group != cold] = -np.inf
    return float((scores.argmax(1) % 2 == asked.ids % 2).mean())


@pytest.mark.parametrize(("name", "params"), METHODS)
def test_learns_the_kinds_and_reaches_items_that_nobody_took(name: str, params: dict[str, Any]) -> None:
    method = fitted(name, **params)
    assert own_kind_first(method, cold=False) >= 0.95
    assert own_kind_first(method, cold=True) >= 0.95


@pytest.mark.parametrize(("name", "params"), METHODS)
def test_texts_that_say_nothing_reach_no_item_that_nobody_took(name: str, params: dict[str, Any]) -> None:
    """Warm items are still learnt from who took them; of cold ones a shuffled text says nothing: the level of ids."""
    found = [own_kind_first(fitted(name, shuffled(vectors(), seed), **params), cold=True) for seed in range(2)]
    assert 0.2 <= np.mean(found) <= 0.8


def test_ids_alone_cannot_tell_cold_items_apart() -> None:
    method = fitted("sasrec", learning_rate=5e-3)
    assert own_kind_first(method, cold=False) >= 0.95
    assert own_kind_first(method, cold=True) <= 0.8


@pytest.mark.parametrize(("name", "params"), METHODS)
def test_alone_or_together_the_same_scores(name: str, params: dict[str, Any]) -> None:
    method = fitted(name, **params)
    histories = [[0, 2, 4], [], [1], [3, 1, 5, 7, 9, 11, 13], [39]]
    together = method.score(users(*histories))
    alone = np.concatenate([method.score(users(h)) for h in histories])
    assert np.isfinite(together).all()
    assert np.abs(together - alone).max() <= 1e-5 * np.abs(together).max()


@pytest.mark.parametrize(("name", "params"), METHODS)
def test_items_without_text_are_counted_and_a_catalogue_without_any_is_refused(
    name: str, params: dict[str, Any]
) -> None:
    texts = vectors()
    texts[[3, 5]] = 0
    ctx = Lent(seed=0, items=toy.items(N_ITEMS))
    assert np.isfinite(fitted(name, texts, ctx, epochs=1, **params).score(users([3], [0, 5]))).all()
    assert ctx.counts["items_without_text"] == 2
    with pytest.raises(UserError, match=f"{name}: no item of this dataset has a text"):
        fitted(name, 0 * texts, epochs=1, **params)


class Killed(Exception):
    pass


class Mortal(Lent):
    """Ends training in its third epoch."""

    def rng(self, axis: str, step: int = 0) -> np.random.Generator:
        if step == 2:
            raise Killed
        return super().rng(axis, step)


@pytest.mark.parametrize(("name", "params"), TRAINED)
def test_resumed_run_gives_the_same_scores(name: str, params: dict[str, Any], tmp_path: Path) -> None:
    params = {**params, "epochs": 4}
    whole = fitted(name, **params)
    with pytest.raises(Killed):
        fitted(name, None, Mortal(seed=0, items=toy.items(N_ITEMS), folder=tmp_path), **params)
    events: list[dict[str, Any]] = []
    resumed = fitted(name, None, Lent(seed=0, items=toy.items(N_ITEMS), folder=tmp_path, emit=events.append), **params)
    assert {"stage": "fit", "resumed_at": 2} in events
    asked = users([1, 3, 5], [0], [])
    assert np.array_equal(resumed.score(asked), whole.score(asked))


def test_alpharec_by_hand() -> None:
    """Two users, three items, one layer of smoothing: the vectors that its equations give."""
    texts = np.zeros((N_ITEMS, 2), np.float32)
    texts[[0, 1, 2]] = [[1, 0], [0, 1], [0.6, 0.8]]
    method = fitted("bert-cf", epochs=1)
    network = sys.modules[type(method).__module__].SmoothedTexts
    took = toy.interactions([[0, 1], [1]], N_ITEMS).histories
    model = network(texts, took, 2, "linear", 1)
    model.map.weight.data, model.map.bias.data = torch.eye(2), torch.zeros(2)
    asked, items = model.of_histories(users([0, 1], [2]).histories)
    smoothed = texts[0] / 2**0.5 + texts[1] / 4**0.5  # the user's degree is 2, the items' are 1 and 2
    assert np.allclose(asked[0], (np.array([0.5, 0.5]) + smoothed) / 2, atol=1e-6)
    assert np.allclose(asked[1], texts[2], atol=1e-6)  # an item that nobody took counts as one that one user took
    mean_of_first, only_one = np.array([0.5, 0.5]), np.array([0.0, 1.0])
    assert np.allclose(items[0], (texts[0] + mean_of_first / 2**0.5) / 2, atol=1e-6)
    assert np.allclose(items[1], (texts[1] + mean_of_first / 4**0.5 + only_one / 2**0.5) / 2, atol=1e-6)
    assert np.allclose(items[2], texts[2] / 2, atol=1e-6)


def test_ease_text_without_weight_is_ease() -> None:
    asked = users([0, 2], [1], [])
    assert np.allclose(fitted("bert-cf", kind="ease-text", weight=0.0).score(asked), fitted("ease").score(asked))


@pytest.mark.parametrize(
    "loss", ["sampled-softmax", *(pytest.param(a, marks=pytest.mark.slow) for a in ("bce", "gbce"))]
)
def test_every_loss_reaches_cold_items(loss: str) -> None:
    assert own_kind_first(fitted("bert-sasrec", loss=loss, negatives=8), cold=True) >= 0.95


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("bert-sasrec", {"adaptor": "linaer"}, "bert-sasrec: adaptor 'linaer' is unknown. Did you mean 'linear'?"),
        ("bert-sasrec", {"whiten": 2.0}, "bert-sasrec: whiten = 2.0 is out of range"),
        ("bert-cf", {"kind": "alpha-rec"}, "bert-cf: kind 'alpha-rec' is unknown. Did you mean 'alpharec'?"),
        ("bert-cf", {"temperature": 0.0}, "bert-cf: temperature = 0.0 is out of range"),
        ("bert-sasrec", {"loss": "bpr"}, "bert-sasrec: loss 'bpr' is unknown."),
    ],
)
def test_wrong_parameters_are_named(name: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        fitted(name, **params)
    assert str(error.value).startswith(said)
