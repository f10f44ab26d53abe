"""BERT4Rec: what it hides, that padding and older items say nothing, that it learns a chain and resumes bitwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.optim.optimizer import register_optimizer_step_post_hook  # noqa: E402

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.evaluate import validate  # noqa: E402
from llmrec.types import Split, Users  # noqa: E402

N_ITEMS = 12


def bert4rec(**params: Any) -> Any:
    return load_method("bert4rec")(**params)


def users(*histories: list[int]) -> Users:
    rows = toy.interactions(histories, N_ITEMS).histories
    return Users(np.arange(len(histories), dtype=np.int32), rows)


@pytest.fixture
def split(chains: Any) -> Split:
    return chains(N_ITEMS)


def trained(split: Split, **params: Any) -> Any:
    method = bert4rec(**{"length": 8, "width": 16, "epochs": 1, "batch_size": 16, **params})
    method.fit(split, Context(seed=0, items=toy.items(N_ITEMS)))
    return method


def test_learns_a_deterministic_chain(split: Split) -> None:
    """Also with histories longer than the window."""
    method = trained(split, width=32, epochs=120, learning_rate=3e-3, dropout=0.0)
    for asked, wanted in split.batches("test", 100):
        assert (method.score(asked).argmax(1) == wanted.items).mean() > 0.99


def test_what_is_hidden() -> None:
    windows = np.full((4000, 6), -1)
    for row, size in zip(windows, np.tile([1, 3, 5, 6], 1000), strict=True):
        row[:size] = 7
    hidden = bert4rec(hidden=0.3, last_only=0.0).choose_hidden(windows, np.random.default_rng(0)).numpy()
    assert not hidden[windows == -1].any() and hidden.any(1).all()
    full = hidden[windows[:, -1] == 7]
    assert full[:, :-1].mean() == pytest.approx(0.3, abs=0.02)
    assert full[:, -1].mean() == pytest.approx(0.3 + 0.7**6, abs=0.04)  # where nothing else is hidden, the last is
    alone = bert4rec(hidden=0.3, last_only=1.0).choose_hidden(windows, np.random.default_rng(0)).numpy()
    assert (alone.sum(1) == 1).all() and (alone.argmax(1) == (windows >= 0).sum(1) - 1).all()


def test_hidden_items_are_guessed_without_being_seen(split: Split) -> None:
    """Each step's input holds the mask at the places that count, and the loss counts those only."""
    method, seen = trained(split), []
    inside = method.model.forward
    method.model.forward = lambda ids: seen.append(ids) or inside(ids)
    ctx = Context(seed=0, items=toy.items(N_ITEMS))
    counts = [n for _, n in method.steps(split.fit.histories, ctx, 0)]
    assert counts == [int((ids == N_ITEMS).sum()) for ids in seen]
    assert sum(int((ids >= 0).sum()) for ids in seen) == len(split.fit)


def test_windows_that_are_cut_ask_for_their_last_item_alone(split: Split) -> None:
    method, seen = trained(split, crop=1.0), []
    inside = method.model.forward
    method.model.forward = lambda ids: seen.append(ids) or inside(ids)
    counts = [n for _, n in method.steps(split.fit.histories, Context(seed=0, items=toy.items(N_ITEMS)), 0)]
    assert counts == [len(ids) for ids in seen]
    for ids in seen:
        assert ((ids == N_ITEMS).int().argmax(1) == (ids >= 0).sum(1) - 1).all()
    assert sum(int((ids >= 0).sum()) for ids in seen) < len(split.fit)


def test_padding_says_nothing_on_either_side(split: Split) -> None:
    model = trained(split).model.eval()
    left, right = torch.tensor([[-1, -1, 3, 4, 5]]), torch.tensor([[3, 4, 5, -1]])
    with torch.inference_mode():
        bare = model(torch.tensor([[3, 4, 5]]))
        assert torch.allclose(model(left)[:, 2:], bare, atol=1e-6)
        assert torch.allclose(model(right)[:, :3], bare, atol=1e-6)


def test_both_sides_matter_and_older_items_than_the_window_do_not(split: Split) -> None:
    method = trained(split)
    a, b, c = method.score(users([9, 1, 2, 3, 4, 5, 6, 7], [8, 8, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1]))
    assert np.array_equal(a, b) and not np.allclose(a, c)
    with torch.inference_mode():
        before, after = method.model(torch.tensor([[N_ITEMS, 3], [N_ITEMS, 4]]))[:, 0]
    assert not torch.allclose(before, after)  # what follows a hidden item is read


def test_resumed_run_gives_the_same_scores(split: Split, cut_off: Any) -> None:
    params = {"length": 8, "width": 16, "dropout": 0.3, "batch_size": 16, "epochs": 4}
    whole, resumed = cut_off(lambda: bert4rec(**params), split)
    asked = users([1, 2, 3], [4], [])
    assert np.array_equal(resumed.score(asked), whole.score(asked))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"length": 1}, "bert4rec: length = 1 is out of range: expected 2 or more."),
        ({"hidden": 1.2}, "bert4rec: hidden = 1.2 is out of range: expected 0 or more and at most 1."),
        ({"loss": "softmax"}, "bert4rec: loss 'softmax' is unknown. Did you mean 'sampled-softmax'?"),
        ({"width": 30, "heads": 4}, "bert4rec: width 30 is no multiple of heads 4."),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        bert4rec(**params)
    assert str(error.value) == said


@pytest.mark.slow
def test_it_is_at_least_as_good_as_recboles() -> None:
    """Walks around a ring that go on in five of six steps and jump in one: the same split, size and share of hidden
    items. Ours comes near to the best that can be known, from fewer rows of training than RecBole's has, which makes a
    row of each prefix and from them learns little yet (.09 against .73 when measured)."""
    pytest.importorskip("recbole")
    n_items, rng = 20, np.random.default_rng(0)
    walks = []
    for _ in range(120):
        walk = [int(rng.integers(n_items))]
        for _ in range(14):
            walk.append((walk[-1] + 1) % n_items if rng.random() < 5 / 6 else int(rng.integers(n_items)))
        walks.append(walk)
    split = toy.leave_one_out(walks, n_items, mask_history=False)
    config = {"MAX_ITEM_LIST_LENGTH": 16, "hidden_size": 32, "inner_size": 128, "mask_ratio": 0.3}
    shared = {"learning_rate": 3e-3, "patience": 200}
    size = {"length": 16, "width": 32, "hidden": 0.3, "dropout": 0.1, "batch_size": 32}
    ours = bert4rec(**shared, **size, epochs=300, validate_every=20)
    theirs = load_method("recbole:BERT4Rec")(model="BERT4Rec", **shared, epochs=40, batch_size=128, config=config)
    right, rows = [], []
    for method in (ours, theirs):
        context = Context(seed=0, items=toy.items(n_items), validate=lambda method: validate(method, split))
        steps: list[object] = []
        hook = register_optimizer_step_post_hook(lambda *_, steps=steps: steps.append(None))
        method.fit(split, context)
        hook.remove()
        rows.append(len(steps) * method.batch_size)  # at most: the last batch of an epoch may be smaller
        right.append(np.mean([(method.score(a).argmax(1) == w.items).mean() for a, w in split.batches("test", 500)]))
    went_on = np.mean([(walk[-2] + 1) % n_items == walk[-1] for walk in walks])
    assert right[0] > went_on - 0.1 and right[0] >= right[1]
    assert 0 < rows[0] < rows[1]
