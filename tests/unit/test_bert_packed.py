"""Texts read without padding: the same vectors and scores as padded batches give."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmrec import packed  # noqa: E402
from llmrec.bert import packed as packed_pairs  # noqa: E402
from llmrec.bert.mean import pooled  # noqa: E402
from llmrec.bert.pairs import Pairs, pair_scores  # noqa: E402

SIZE: dict[str, Any] = {
    "vocab_size": 20, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 32, "initializer_range": 0.3,
}  # fmt: skip


def tokens(sizes: list[int], rng: np.random.Generator) -> list[Any]:
    return [rng.integers(5, 20, size).astype(np.int32) for size in sizes]


@pytest.mark.parametrize("first_token", [False, True])
def test_vectors_are_those_of_each_text_alone(first_token: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    bert = BertModel(BertConfig(**SIZE)).eval()
    ids = tokens([7, 3, 3, 12, 1, 7, 20, 3], np.random.default_rng(0))
    monkeypatch.setattr(packed, "AT_ONCE", 24)
    found = packed.text_vectors(bert, ids, first_token)
    with torch.inference_mode():
        for one, vector in zip(ids, found, strict=True):
            states = bert(torch.from_numpy(one.astype(np.int64))[None]).last_hidden_state[0]
            expected = torch.nn.functional.normalize(states[0] if first_token else states.mean(0), dim=0)
            assert np.abs(vector - expected.numpy()).max() < 1e-5
    assert packed.text_vectors(bert, [], first_token).shape == (0, 32)


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("segments", [(0, 1), None])
def test_pairs_have_the_scores_of_padded_batches(pooling: str, segments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    model = pooled(BertForSequenceClassification(BertConfig(**SIZE, num_labels=1)).eval(), pooling)
    rng = np.random.default_rng(0)
    lefts, rights = tokens([9, 0, 4], rng), tokens([2, 5, 1, 5], rng)
    frame = tuple(np.array([token], np.int32) for token in (2, 3, 3))
    tokenizer: Any = SimpleNamespace(pad_token_id=0)
    pairs = Pairs(rights, 24, 6, tokenizer, frame, segments, frame[0])  # type: ignore[arg-type]
    left_of, items = np.repeat(np.arange(3), 4), np.tile(np.arange(4, dtype=np.int32), 3)
    monkeypatch.setattr(packed, "AT_ONCE", 40)
    monkeypatch.setattr(packed_pairs, "SHARED", 10)  # no two histories together
    expected = pair_scores(model, pairs, lefts, left_of, items, "cpu")
    assert expected.std() > 1e-3
    assert np.abs(packed_pairs.pair_scores(model, pairs, lefts, left_of, items) - expected).max() < 1e-5
    assert packed_pairs.pair_scores(model, pairs, lefts, left_of[:0], items[:0]).shape == (0,)


def test_other_kinds_of_models_are_known_as_such() -> None:
    from transformers import RobertaConfig, RobertaModel

    assert packed.packable(RobertaModel(RobertaConfig(**{**SIZE, "num_hidden_layers": 1}))) is None
