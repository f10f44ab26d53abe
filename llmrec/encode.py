"""Text embeddings by a pretrained encoder (`llmrec.encoders`, `llmrec.reading`), cached on disk by what went into them.

Reading the cache does not import torch, and a process that has not imported torch computes missing embeddings in a
child, so that a run that needs no torch stays without it.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llmrec import reading
from llmrec.content import cache_folder
from llmrec.encoders import DEFAULT, Encoder, find_encoder
from llmrec.errors import UserError
from llmrec.seeds import content_hash

if TYPE_CHECKING:
    from llmrec.types import Floats

COUNTED = 20_000  # texts whose tokens are counted, at least; of more, every n-th

log = logging.getLogger(__name__)


def embed_texts(texts: Sequence[str], encoder: str = DEFAULT, device: str = "cpu") -> tuple[Floats, str]:
    """Embed texts: (float32 [n, d], rows of unit length; the encoder's revision). An empty text gives a zero row.

    Raises:
        UserError: no such encoder here, or its files are not what they should be.
    """
    found = find_encoder(encoder)
    unique, path = cache_path(texts, found)
    if not path.exists():
        from filelock import FileLock

        writable(path.parent)
        with FileLock(path.with_suffix(".lock")):  # runs that start together embed once
            if not path.exists():
                _compute(unique, found, device, path)
    vectors = stored(path, texts, unique)
    for note in _notes(path, texts, found):
        log.warning("%s", note)
    return vectors, found.revision


def cached_embeddings(texts: Sequence[str], encoder: str = DEFAULT) -> Floats | None:
    """What `embed_texts` would return, if it is in the cache; never computes."""
    unique, path = cache_path(texts, find_encoder(encoder))
    return stored(path, texts, unique) if path.exists() else None


def cut_texts(texts: Sequence[str], encoder: str = DEFAULT) -> int:
    """How many of the distinct texts were longer than the encoder's window and kept their beginning, once they are in
    the cache; 0 before."""
    _, path = cache_path(texts, find_encoder(encoder))
    return int(_told(path)["cut"]) if path.exists() else 0


def embeddings_file(texts: Sequence[str], encoder: str = DEFAULT) -> Path:
    """Where the cache keeps (or would keep) the embeddings of these texts."""
    return cache_path(texts, find_encoder(encoder))[1]


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


def cache_path(texts: Sequence[str], encoder: Encoder) -> tuple[list[str], Path]:
    """The distinct non-empty texts, sorted (so that the order of items does not matter), and their cache file."""
    unique = sorted({text.strip() for text in texts} - {""})
    key = content_hash([encoder.revision, reading.VERSION, unique])
    return unique, cache_folder() / "embeddings" / f"{key}.safetensors"


def stored(path: Path, texts: Sequence[str], unique: list[str]) -> Floats:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        vectors = load_file(path)["embeddings"]  # [unique, d]
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}). Delete it; it is made again when needed.") from None
    padded = np.vstack([vectors, np.zeros((1, vectors.shape[1]), np.float32)])  # the last row: empty texts
    rows = {text: row for row, text in enumerate(unique)}
    return padded[[rows.get(text.strip(), len(unique)) for text in texts]]


def _told(path: Path) -> dict[str, str]:
    """What stands beside the vectors of a cache file: how the texts were read (`llmrec.reading.write`)."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return {"cut": "0", "window": "", "pooling": "mean", **(file.metadata() or {})}


def _notes(path: Path, texts: Sequence[str], encoder: Encoder) -> Iterator[str]:
    """What a user should know of how texts were read."""
    told = _told(path)
    if blank := sum(not text.strip() for text in texts):
        yield f"{blank} of {len(texts)} texts are empty: their embeddings are zero"
    if int(told["cut"]):
        yield f"{told['cut']} texts are longer than {encoder.name} reads ({told['window']} tokens): cut at the end"
    if told["pooling"] == "":
        yield f"the files of {encoder.name} do not say how it is pooled: the mean of its tokens is taken"


def _compute(unique: list[str], encoder: Encoder, device: str, path: Path) -> None:
    """Embed into the cache file, here if torch is loaded already, else in a child process."""
    if "torch" in sys.modules:
        reading.write(path, reading.read(unique, encoder, device), encoder)
        return
    request = {"texts": unique, "name": encoder.name, "folder": str(encoder.folder), "revision": encoder.revision}
    child = subprocess.run(
        [sys.executable, "-P", "-m", "llmrec.reading"],
        input=json.dumps({**request, "device": device, "path": str(path)}),
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
        if child.returncode == reading.NO_MEMORY:
            raise MemoryError(last)
        raise UserError(last if last.startswith("encoder ") else f"encoder {encoder.name!r}: embedding failed: {last}")


def writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot make the embedding cache ({error}). Set LLMREC_CACHE to a folder that can be written."
        ) from None
