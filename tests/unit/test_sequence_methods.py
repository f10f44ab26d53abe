"""GRU4Rec, BSARec and HSTU: they learn a deterministic chain, resume bitwise, and nothing later changes an answer."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.types import Users  # noqa: E402

N_ITEMS = 20
SMALL = {
    "gru4rec": {"width": 32, "hidden": 48, "learning_rate": 2e-2, "batch_size": 16},
    "bsarec": {"width": 32, "learning_rate": 1e-2, "batch_size": 64},
    "hstu": {"width": 32, "head_width": 8, "learning_rate": 1e-2, "batch_size": 16},
}
NAMES = tuple(SMALL)
STEP_BY_STEP = ("gru4rec", "hstu")  # those with every position of a window a target


def method(name: str, **params: Any) -> Any:
    return load_method(name)(**{"length": 8, **SMALL[name], **params})


def users(*histories: list[int]) -> Users:
    return Users(np.arange(len(histories), dtype=np.int32), toy.interactions(histories, N_ITEMS).histories)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("gru4rec", {"epochs": 20}),
        ("gru4rec", {"epochs": 20, "hidden": 32, "tied": False, "loss": "bce", "negatives": 5}),
        ("bsarec", {"epochs": 5}),
        ("hstu", {"epochs": 12}),
    ],
)
def test_learns_a_deterministic_chain(name: str, params: dict[str, Any], chains: Any) -> None:
    split = chains(N_ITEMS, 50)
    learner = method(name, dropout=0.0, **params)
    learner.fit(split, Context(seed=0, items=toy.items(N_ITEMS)))
    for asked, wanted in split.batches("test", 100):
        assert (learner.score(asked).argmax(1) == wanted.items).mean() > 0.99


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("gru4rec", {"layers": 2}),
        ("bsarec", {"loss": "gbce", "negatives": 5}),
        ("hstu", {"loss": "sampled-softmax", "negatives": 10}),
    ],
)
def test_resumed_run_gives_the_same_scores(name: str, params: dict[str, Any], chains: Any, cut_off: Any) -> None:
    whole, resumed = cut_off(lambda: method(name, **params, epochs=3), chains(N_ITEMS, 20))
    asked = users([1, 2, 3], [4], [])
    assert np.array_equal(resumed.score(asked), whole.score(asked))


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_depends_on_nobody_else_and_on_the_newest_items_in_order(name: str, chains: Any) -> None:
    learner = method(name, epochs=1)
    learner.fit(chains(N_ITEMS, 20), Context(seed=0, items=toy.items(N_ITEMS)))
    histories = [[], [1], [2, 3], list(range(7)), list(range(8)), list(range(20))]
    together = learner.score(users(*histories))
    alone = np.concatenate([learner.score(users(h)) for h in histories])
    assert together.dtype == np.float32 and together.shape == (6, N_ITEMS)
    assert np.abs(together - alone).max() <= 1e-5 * np.abs(together).max()
    newest = list(range(1, 9))
    a, b, c = learner.score(users([9, 10, *newest], [*[11] * 9, *newest], newest[::-1]))
    assert np.allclose(a, b, rtol=0, atol=1e-6) and not np.allclose(a, c, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_no_position_sees_a_later_item(name: str) -> None:
    """Each position of a window is asked for the item after it: what it says must not change with what follows."""
    torch.manual_seed(0)
    model = method(name, dropout=0.0).network(N_ITEMS).double().eval()
    ids = torch.randint(N_ITEMS, (5, 8))
    told = model(ids)
    for place in range(1, 8):
        other = ids.clone()
        other[:, place:] = torch.randint(N_ITEMS, (5, 8 - place))
        assert torch.allclose(model(other)[:, :place], told[:, :place], rtol=0, atol=1e-12)
        assert not torch.allclose(model(other)[:, place], told[:, place], rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 4, 50])
def test_bsarec_is_shown_for_each_item_what_came_before_it_and_no_more(length: int) -> None:
    """Its filter mixes all places of a window: no target, and nothing after it, may stand in its own window."""
    sequences = [[], [3], [4, 5, 6, 7], [], list(range(8, 20))]
    histories = toy.interactions(sequences, N_ITEMS).histories
    prefixes = sys.modules[load_method("bsarec").__module__].prefixes
    steps = prefixes(histories, length, 3, np.random.default_rng(0))
    shown = [
        ([i for i in row if i >= 0], item)
        for ids, wanted in steps
        for row, item in zip(ids.tolist(), wanted.tolist(), strict=True)
    ]
    expected = [(s[max(0, e - length) : e] or [N_ITEMS], s[e]) for s in sequences for e in range(len(s))]
    assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("gru4rec", {"loss": "crossentropy"}, "loss 'crossentropy' is unknown. Did you mean 'cross-entropy'"),
        ("gru4rec", {"hidden": 0}, "gru4rec: hidden = 0 is out of range: expected 1 or more"),
        ("bsarec", {"alpha": 1.5}, "bsarec: alpha = 1.5 is out of range"),
        ("bsarec", {"width": 10, "heads": 3}, "width 10 is no multiple of heads 3"),
        ("hstu", {"temperature": 0.0}, "hstu: temperature = 0.0 is out of range: expected a number above 0"),
        ("hstu", {"dropout": 1.0}, "hstu: dropout = 1.0 is out of range"),
    ],
)
def test_wrong_parameters_are_named(name: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        method(name, **params)
