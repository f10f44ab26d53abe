"""Texts through ONNX Runtime: the same vectors as PyTorch's, near ones in 8 bits, computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

from llmrec import encode, toy  # noqa: E402
from llmrec.bert import onnx  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.types import Histories, Users  # noqa: E402
from tests.unit.bert_models import save_bert  # noqa: E402

WORDS = ["red", "blue", "house", "sea", "night", "king", "war", "love"]
TEXTS = ["red house", "night", "", "the king of the sea", "love " * 30, "red house"]  # the fifth is cut


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder like BERT of two layers that reads sixteen tokens."""
    size = {"num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.3}
    return save_bert(tmp_path_factory.mktemp("encoder"), WORDS, window=16, **size)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def at_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMREC_CACHE", str(cache))


def test_float32_is_what_pytorch_says_and_int8_is_near_it(tiny: Path) -> None:
    expected, revision = encode.embed_texts(TEXTS, str(tiny))
    same, told = onnx.embed_texts(TEXTS, str(tiny), "float32")
    near, _ = onnx.embed_texts(TEXTS, str(tiny), "int8")
    assert same.dtype == np.float32 and np.abs(same - expected).max() < 1e-5
    assert told == f"{revision} (ONNX Runtime, float32, 1)"
    assert not near[2].any() and (near[0] == near[5]).all()
    cosines = (near * expected).sum(1)[[0, 1, 3, 4]]
    assert cosines.min() > 0.98 and np.abs(near - expected).max() > 1e-5  # it is another computation


def test_what_was_read_once_is_not_read_again(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = onnx.embed_texts(TEXTS, str(tiny), "int8")
    monkeypatch.setattr(onnx, "read", None)
    again, _ = onnx.embed_texts(TEXTS[::-1], str(tiny), "int8")
    assert (again[::-1] == first).all()


def test_a_method_reads_through_it_and_the_record_says_so(tiny: Path) -> None:
    split, items = toy.checkerboard(), toy.items(50)
    scores: dict[str, Any] = {}
    users = Users(np.arange(2, dtype=np.int32), Histories(np.array([0, 1, 2]), np.array([3, 8], np.int32), 50))
    part = {"method": "bert-biencoder", "params": {"encoder": str(tiny)}}
    for name, params in (("bert-biencoder", part["params"]), ("bert-onnx", {"of": part, "precision": "float32"})):
        ctx = Context(seed=0, items=items)
        method = load_method(name)(**params)
        method.fit(split, ctx)
        scores[name] = method.score(users)
    assert np.abs(scores["bert-onnx"] - scores["bert-biencoder"]).max() < 1e-3  # whitening makes small things loud
    assert ctx.models[str(tiny)].endswith("(ONNX Runtime, float32, 1)") and ctx.counts["of_fit_cpu_ms"] >= 0


def test_wrong_words_and_pickled_weights_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bert-onnx: precision = 'int9'.*Did you mean 'int8'"):
        load_method("bert-onnx")(precision="int9")
    with pytest.raises(UserError, match="bert-onnx: parameter 'of'"):
        load_method("bert-onnx")(of={"method": "bert-rating"})
    for name in ("config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match=r"pickled \(pytorch_model.bin\)"):
        onnx.embed_texts(["red"], str(tmp_path), "int8")
