"""attention-ranker: it learns a chain, resumes bitwise, and neither later items nor padding change a state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.errors import UserError  # noqa: E402

SMALL = {"length": 8, "width": 32, "epochs": 12, "batch_size": 16, "learning_rate": 1e-2, "dropout": 0.0}


def ranker(**params: Any) -> Any:
    return load_method("attention-ranker")(**params)


@pytest.mark.parametrize("loss", ["cross-entropy", pytest.param("sampled-softmax", marks=pytest.mark.slow)])
def test_learns_a_deterministic_chain(loss: str, chains: Any) -> None:
    split = chains(20)
    method = ranker(**SMALL, loss=loss, negatives=5)
    method.fit(split, Context(seed=0, items=toy.items(20)))
    for asked, wanted in split.batches("test", 100):
        assert (method.score(asked).argmax(1) == wanted.items).mean() > 0.99


def test_a_place_sees_neither_later_items_nor_padding(chains: Any) -> None:
    method = ranker(**{**SMALL, "epochs": 1})
    method.fit(chains(20), Context(seed=0, items=toy.items(20)))
    ids = torch.tensor([[20, 3, 4, 5], [20, 3, 9, 1]])
    with torch.inference_mode():
        states, short = method.model(ids), method.model(ids[:, :2])
    assert torch.allclose(states[0, :2], states[1, :2], atol=1e-6) and torch.allclose(states[:, :2], short, atol=1e-6)
    assert not torch.allclose(states[0, 2], states[1, 2], atol=1e-3)


def test_resumed_run_gives_the_same_scores(chains: Any, cut_off: Any) -> None:
    split = chains(20)
    whole, resumed = cut_off(lambda: ranker(length=8, width=16, epochs=4, batch_size=16), split)
    for asked, _ in split.batches("test", 100):
        assert np.array_equal(resumed.score(asked), whole.score(asked))


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(UserError, match="attention-ranker: width 10 is no multiple of heads 4"):
        ranker(width=10, heads=4)
    with pytest.raises(UserError, match="attention-ranker: loss 'softmax' is unknown"):
        ranker(loss="softmax")
