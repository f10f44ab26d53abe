"""Texts made into vectors by a pretrained encoder: unit length, pooled by the mean of the tokens or by the first one.

On a CPU an encoder like BERT reads without padding (`llmrec.packed`); other kinds, and all on a GPU, read padded
batches of texts of like length. A text that is longer than the encoder's window keeps its beginning, and is counted.

As a program it computes what a parent without torch wants (JSON on standard input) into the cache file that it names.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.batches import in_batches
from llmrec.encoders import Encoder, check_package, check_tokenizer, first_line, pooling_of, tokenizer_of, window_of
from llmrec.errors import UserError

if TYPE_CHECKING:
    from llmrec.types import Floats, Int32

VERSION = 2
"""Counts up whenever the same weights and texts would give other vectors. 2: without padding on a CPU, which moved no
number by more than 2e-7."""

AT_ONCE = 16_384
"""Tokens of a padded batch, padding included."""

NO_MEMORY = 3
"""The program's exit code where the memory does not suffice."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """Vectors float32 [n, d], and what became of the texts."""

    vectors: Floats
    cut: int  # texts longer than the window
    window: int  # tokens
    pooling: str  # what the encoder's files say of it; "": nothing, and the mean was taken


def read(texts: list[str], encoder: Encoder, device: str) -> Reading:
    """Unit vectors of non-empty texts.

    Raises:
        UserError: files that do not belong together, or a kind of model that transformers does not know as an encoder.
        ChecksumError: weights of the package that are not those known.
        MemoryError: the GPU has too little memory for a batch.
    """
    import torch
    from transformers import AutoModel

    check_package(encoder)
    began = time.monotonic()
    tokenizer = tokenizer_of(encoder)
    try:
        model: Any = AutoModel.from_pretrained(
            encoder.folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"encoder {encoder.name!r}: {encoder.folder} cannot be loaded as an encoder ({first_line(error)})."
        ) from None
    check_tokenizer(encoder, tokenizer, model)
    pooling = pooling_of(encoder)
    window = window_of(encoder, tokenizer, model)
    tokens = tokenizer(texts, verbose=False)["input_ids"] if texts else []
    cut = sum(len(one) > window for one in tokens)
    if cut:
        tokens = tokenizer(texts, truncation=True, max_length=window)["input_ids"]
    ids = [np.array(one, np.int32) for one in tokens]
    vectors = _vectors(model.to(device).eval(), ids, tokenizer.pad_token_id, pooling == "first", device)
    log.info("%d texts embedded by %s in %.1f s", len(texts), encoder.name, time.monotonic() - began)
    return Reading(vectors, cut, window, pooling)


def write(path: Path, reading: Reading, encoder: Encoder) -> None:
    """Put a reading into the cache, whole or not at all."""
    from safetensors.numpy import save_file

    told = {"encoder": encoder.name, "revision": encoder.revision}
    told |= {"cut": str(reading.cut), "window": str(reading.window), "pooling": reading.pooling}
    partial = path.with_suffix(f".{os.getpid()}.partial")
    save_file({"embeddings": reading.vectors}, partial, metadata=told)
    partial.replace(path)


def _vectors(model: Any, ids: list[Int32], pad: int, first_token: bool, device: str) -> Floats:
    from llmrec.packed import packable, text_vectors

    if device == "cpu" and (bert := packable(model)) is not None:
        return text_vectors(bert, ids, first_token)
    return _padded(model, ids, pad, first_token, device)


def _padded(model: Any, ids: list[Int32], pad: int, first_token: bool, device: str) -> Floats:
    import torch

    sizes = np.array([len(one) for one in ids], np.int64)
    vectors = np.zeros((len(ids), model.config.hidden_size), np.float32)
    with torch.inference_mode():
        for rows in in_batches(sizes, AT_ONCE):
            there = np.arange(sizes[rows].max()) < sizes[rows][:, None]  # [b, t]
            padded = np.full(there.shape, pad, np.int64)
            padded[there] = np.concatenate([ids[row] for row in rows])
            mask = torch.from_numpy(there).to(device)
            try:
                states = model(input_ids=torch.from_numpy(padded).to(device), attention_mask=mask.long())
            except torch.OutOfMemoryError as error:
                raise MemoryError(
                    f"a batch of {len(rows)} texts of {there.shape[1]} tokens does not fit the GPU "
                    f"({first_line(error)}). Run it with --device cpu, or with a smaller encoder."
                ) from None
            states = states.last_hidden_state  # [b, t, d]
            weights = mask.unsqueeze(-1).to(states.dtype)  # [b, t, 1]
            pooled = states[:, 0] if first_token else (states * weights).sum(1) / weights.sum(1)  # [b, d]
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
    return vectors


def _main() -> int:
    """The exit code is 2 for an error of the user's, whose text is the last line of standard error."""
    request = json.load(sys.stdin)
    encoder = Encoder(request["name"], Path(request["folder"]), request["revision"])
    try:
        reading = read(request["texts"], encoder, request["device"])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except MemoryError as error:
        print(error, file=sys.stderr)
        return NO_MEMORY
    write(Path(request["path"]), reading, encoder)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
