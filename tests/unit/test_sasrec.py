"""SASRec: it learns a deterministic chain under every loss, resumes bitwise, and reads its window and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.types import Histories, Users  # noqa: E402

N_ITEMS = 20


def sasrec(**params: Any) -> Any:
    return load_method("sasrec")(**params)


def users(*histories: list[int], n_items: int = N_ITEMS) -> Users:
    indptr = np.cumsum([0, *map(len, histories)])
    items = np.array([i for h in histories for i in h], np.int32)
    return Users(np.arange(len(histories), dtype=np.int32), Histories(indptr, items, n_items))


@pytest.mark.parametrize(
    ("loss", "negatives"), [("cross-entropy", None), ("bce", 5), ("gbce", 2), ("sampled-softmax", 5)]
)
def test_learns_a_deterministic_chain(loss: str, negatives: int | None, chains: Any) -> None:
    """Also with histories longer than the window, so that windows, shifts and positions must all be right."""
    split = chains(N_ITEMS)
    size = {"length": 8, "width": 32, "epochs": 40, "batch_size": 32}
    method = sasrec(**size, learning_rate=5e-3, dropout=0.0, loss=loss, negatives=negatives)
    method.fit(split, Context(seed=0, items=toy.items(N_ITEMS)))
    for asked, wanted in split.batches("test", 100):
        assert (method.score(asked).argmax(1) == wanted.items).mean() > 0.99


def test_resumed_run_gives_the_same_scores(chains: Any, cut_off: Any) -> None:
    params = {"length": 8, "width": 16, "dropout": 0.3, "batch_size": 16, "epochs": 4}
    whole, resumed = cut_off(lambda: sasrec(**params), chains(N_ITEMS))
    asked = users([1, 2, 3], [4], [])
    assert np.array_equal(resumed.score(asked), whole.score(asked))


def test_scores_do_not_depend_on_who_else_is_in_the_batch(chains: Any) -> None:
    method = sasrec(epochs=1, length=8)
    method.fit(chains(N_ITEMS), Context(seed=0, items=toy.items(N_ITEMS)))
    histories = [[], [1], [2, 3], list(range(7)), list(range(8)), list(range(20))]
    together = method.score(users(*histories))
    alone = np.concatenate([method.score(users(h)) for h in histories])
    assert together.dtype == np.float32 and together.shape == (6, N_ITEMS)
    assert np.abs(together - alone).max() <= 1e-5 * np.abs(together).max()


def test_older_items_than_the_window_change_nothing_and_order_matters(chains: Any) -> None:
    method = sasrec(epochs=1, length=4)
    method.fit(chains(N_ITEMS), Context(seed=0, items=toy.items(N_ITEMS)))
    a, b, c = method.score(users([9, 1, 2, 3, 4], [8, 8, 1, 2, 3, 4], [4, 3, 2, 1]))
    assert np.array_equal(a, b) and not np.allclose(a, c)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"loss": "crossentropy"}, "sasrec: loss 'crossentropy' is unknown. Did you mean 'cross-entropy'"),
        ({"width": 10, "heads": 3}, "sasrec: width 10 is no multiple of heads 3."),
        ({"negatives": 0}, "sasrec: negatives = 0 is out of range: expected 1 or more."),
        ({"calibration": 1.5}, "sasrec: calibration = 1.5 is out of range: expected 0 or more and at most 1."),
        ({"dropout": 1.0}, "sasrec: dropout = 1.0 is out of range: expected 0 or more and below 1."),
        ({"learning_rate": 0.0}, "sasrec: learning_rate = 0.0 is out of range: expected a number above 0."),
        ({"layers": 0}, "sasrec: layers = 0 is out of range: expected 1 or more."),
        ({"weight_decay": float("nan")}, "sasrec: weight_decay = nan is out of range: expected 0 or more."),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        sasrec(**params)
    assert str(error.value).startswith(said)


def test_is_the_authors_network_built_from_torch_s_own_parts(chains: Any) -> None:
    """As in the paper's public code (kang205/SASRec, pmixer/SASRec.pytorch), with torch's multi-head attention."""
    method = sasrec(length=6, width=8, heads=2, layers=2, dropout=0.0, epochs=1)
    method.fit(chains(N_ITEMS), Context(seed=0, items=toy.items(N_ITEMS)))
    model, ids = method.model.eval(), torch.tensor([[3, 1, 0, 2], [2, 2, 1, 3]])
    later = torch.ones(4, 4, dtype=torch.bool).triu(1)
    x = model.items.weight[ids] * 8**0.5 + model.positions.weight[:4]
    for block in model.blocks:
        theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        theirs.in_proj_weight.data = torch.cat([block.query.weight, block.key_value.weight]).detach()
        theirs.in_proj_bias.data = torch.cat([block.query.bias, block.key_value.bias]).detach()
        theirs.out_proj.load_state_dict(block.mix.state_dict())
        seen, _ = theirs(block.norm_1(x), x, x, attn_mask=later)
        x = block.norm_2(x + seen)
        x = x + block.down(block.up(x).relu())
    assert torch.allclose(model(ids), model.norm(x), atol=1e-5)
