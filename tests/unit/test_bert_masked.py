"""bert-masked: with items as tokens it is BERT4Rec; ids are filled in exactly; kinds of texts are learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.bert.masked import MaskedIds, score_ids  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.gpt.trie import build_trie  # noqa: E402
from llmrec.types import Floats, Histories, Split, Users  # noqa: E402

N_ITEMS, N_COLD = 40, 8
"""In the world of texts the last ``N_COLD`` items are in nobody's history; even items are of one kind, odd of the
other."""


def masked(**params: Any) -> Any:
    return load_method("bert-masked")(**params)


def users(*histories: list[int], n_items: int = N_ITEMS) -> Users:
    indptr = np.cumsum([0, *map(len, histories)])
    items = np.array([i for h in histories for i in h], np.int32)
    return Users(np.arange(len(histories), dtype=np.int32), Histories(indptr, items, n_items))


def test_with_items_as_tokens_it_is_bert4rec(chains: Any) -> None:
    """The same losses to the last bit, also in training with dropout, and the same scores up to rounding."""
    split, losses, scores = chains(12), [], []
    asked = users([1, 2, 3], [], [4] * 9, n_items=12)
    for name, params in (("bert4rec", {}), ("bert-masked", {"tokens": "items"})):
        method = load_method(name)(length=8, width=16, epochs=3, batch_size=16, dropout=0.3, **params)
        events: list[dict[str, Any]] = []
        method.fit(split, Context(seed=0, items=toy.items(12), emit=events.append))
        losses.append([event["loss"] for event in events])
        scores.append(torch.from_numpy(method.score(asked)).log_softmax(1))
    assert losses[0] == losses[1] and len(losses[0]) == 3
    assert torch.allclose(scores[0], scores[1], atol=1e-5)


def small(levels: int) -> tuple[Any, Any, Any]:
    """An untrained model of 20 items whose guesses differ, all of its ids' trie, and the ids."""
    last = 5**levels - 1  # each level's last code is in use
    chosen = [last, *np.random.default_rng(0).permutation(last)[:19]]
    ids = np.array(np.unravel_index(chosen, (5,) * levels), np.int32).T
    torch.manual_seed(0)
    model = MaskedIds(ids, 6, 16, 2, 2, 0.0).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model, build_trie(ids), ids


QUESTIONS = torch.tensor([[-1, -1, 3, 5, 20], [7, 8, 9, 3, 20], [-1, -1, -1, -1, 20]])


def one_by_one(model: Any, ids: Any) -> Any:
    """Every item's log-probability, each token guessed with all before it filled in: one place at a time."""
    history, there = model.read(QUESTIONS)
    out = torch.zeros(len(QUESTIONS), len(ids))
    codes = torch.from_numpy(ids.astype(np.int64))
    for item in range(len(ids)):
        for level in range(ids.shape[1]):
            place = history[:, -1:] + (model.filled(codes[item], level) if level else 0)
            guess = model.guess(model.last(place, history, there))[:, 0]
            out[:, item] += (guess @ model.catalogue(level).T).log_softmax(1)[:, codes[item, level]]
    return out


def test_every_id_is_scored_as_if_it_were_the_only_one() -> None:
    model, trie, ids = small(3)
    with torch.inference_mode():
        wanted = one_by_one(model, ids)
    assert torch.allclose(score_ids(model, trie, QUESTIONS), wanted, atol=1e-5)
    assert torch.allclose(score_ids(model, trie, QUESTIONS, beams=99), wanted, atol=1e-5)
    assert wanted.exp().sum(1).max() < 1  # ids that are no item's have the rest


def test_what_no_beam_begins_is_guessed_at_once() -> None:
    model, trie, ids = small(2)
    with torch.inference_mode():
        exact = one_by_one(model, ids)
        history, there = model.read(QUESTIONS)
        guess = model.guess(model.last(history[:, -1:], history, there))[:, 0]
        first, second = ((guess @ model.catalogue(level).T).log_softmax(1) for level in (0, 1))
    at_once = first[:, ids[:, 0]] + second[:, ids[:, 1]]
    beam = torch.from_numpy(ids[:, 0]) == first.argmax(1, keepdim=True)  # [questions, items]
    found = score_ids(model, trie, QUESTIONS, beams=1)
    assert torch.allclose(found, torch.where(beam, exact, at_once), atol=1e-5)
    assert not torch.allclose(found, exact, atol=1e-3)


def test_the_ids_of_a_whole_grid_share_all_probability() -> None:
    grid = np.array(np.unravel_index(np.arange(20), (4, 5)), np.int32).T
    torch.manual_seed(0)
    model = MaskedIds(grid, 6, 16, 1, 2, 0.0).eval()
    total = score_ids(model, build_trie(grid), QUESTIONS).exp().sum(1)
    assert torch.allclose(total, torch.ones(3), atol=1e-5)


def test_what_is_told_changes_no_other_place() -> None:
    model, _, ids = small(3)
    with torch.inference_mode():
        history, there = model.read(QUESTIONS)
        x = model.with_told(history, torch.tensor([4, 9, 14]), torch.from_numpy(ids[4:7].astype(np.int64)), 2)
        before, after = model.last(history, history, there), model.last(x, history, there)
    assert torch.allclose(before[:, :-1], after[:, :-1], atol=1e-6)
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-3)


class Lent(Context):
    """A context whose encoder gives vectors made by hand."""

    vectors: Floats

    def item_embeddings(self, encoder: str = "", only: Any = None) -> Any:
        return self.vectors


def texts() -> Floats:
    """Two clusters, float32 [N_ITEMS, 8]."""
    rng = np.random.default_rng(0)
    made = rng.normal(size=(2, 8))[np.arange(N_ITEMS) % 2] + 0.3 * rng.normal(size=(N_ITEMS, 8))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def world() -> Split:
    """Even users like even items, odd users odd ones."""
    rng = np.random.default_rng(0)
    own = [np.arange(user % 2, N_ITEMS - N_COLD, 2) for user in range(60)]
    return toy.leave_one_out([rng.permutation(some)[:8].tolist() for some in own], N_ITEMS)


def own_kind_first(vectors: Floats) -> list[float]:
    """Share of users whose best item is of their kind: among warm items, and among cold ones."""
    split, ctx = world(), Lent(seed=0, items=toy.items(N_ITEMS))
    ctx.vectors = vectors
    method = masked(
        signal="text", whiten=0.0, codes=8, layers=1, width=32, hidden=0.3, dropout=0.0, epochs=30, learning_rate=1e-2,
        batch_size=16,
    )  # fmt: skip
    method.fit(split, ctx)
    asked = Users(split.asked["test"], split.known("test").histories.take(split.asked["test"]))
    scores = np.array(method.score(asked))
    scores[asked.histories.rows, asked.histories.items] = -np.inf
    cold = np.arange(N_ITEMS) >= N_ITEMS - N_COLD
    best = [np.where(group, scores, -np.inf).argmax(1) for group in (~cold, cold)]
    return [float((some % 2 == asked.ids % 2).mean()) for some in best]


@pytest.mark.slow
def test_two_kinds_of_texts_are_learnt_and_shuffled_ones_say_nothing_of_new_items() -> None:
    """A mean over shuffles: one alone may send all users of a kind one way."""
    assert min(own_kind_first(texts())) >= 0.95
    shuffled = [texts()[np.random.default_rng(seed).permutation(N_ITEMS)] for seed in (1, 2, 3)]
    assert 0.2 <= np.mean([own_kind_first(some)[1] for some in shuffled]) <= 0.8


@pytest.mark.parametrize("beams", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_alone_or_together_the_same_scores_and_a_cut_off_run_too(chains: Any, cut_off: Any, beams: int) -> None:
    params = {"signal": "collaborative", "codes": 4, "length": 8, "width": 16, "batch_size": 16, "epochs": 4}
    whole, resumed = cut_off(lambda: masked(**params, beams=beams), chains(12))
    histories = [[1, 2, 3], [], [4] * 9, [11, 0]]
    together = whole.score(users(*histories, n_items=12))
    assert np.array_equal(together, resumed.score(users(*histories, n_items=12)))
    alone = np.concatenate([whole.score(users(h, n_items=12)) for h in histories])
    assert np.isfinite(together).all() and np.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"tokens": "item"}, "bert-masked: tokens 'item' is unknown. Did you mean 'items'?"),
        ({"signal": "texts"}, "bert-masked: signal 'texts' is unknown. Did you mean 'text'?"),
        ({"length": 1}, "bert-masked: length = 1 is out of range: expected 2 or more."),
        ({"beams": -1}, "bert-masked: beams = -1 is out of range: expected 0 or more."),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        masked(**params)
    assert str(error.value) == said


def test_a_catalogue_without_texts_is_refused() -> None:
    ctx = Lent(seed=0, items=toy.items(N_ITEMS))
    ctx.vectors = 0 * texts()
    with pytest.raises(UserError, match="bert-masked: no item of this dataset has a text"):
        masked(signal="text").fit(world(), ctx)
