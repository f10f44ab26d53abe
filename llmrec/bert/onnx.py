"""Texts read through ONNX Runtime on a CPU: the same encoder as `llmrec.encode` loads, in float32 or in 8 bits.

The encoder is exported once, its pooling and the scaling to unit length with it; ONNX Runtime fuses its layers. "int8"
keeps the weights of the products in 8 bits, one scale a column, and brings activations to 8 bits batch by batch, so
that a text's vector moves a little with what is read beside it. Models and vectors lie in the cache under what they
were made from.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec import encode
from llmrec.batches import in_batches
from llmrec.bert.classifier import quietly
from llmrec.content import cache_folder
from llmrec.encoders import DEFAULT, check_tokenizer, find_encoder, pooling_of, tokenizer_of, window_of
from llmrec.errors import UserError, nearest
from llmrec.reading import Reading, write
from llmrec.seeds import content_hash

if TYPE_CHECKING:
    from llmrec.encoders import Encoder
    from llmrec.types import Floats

PRECISIONS = ("float32", "int8")

VERSION = 1
"""Counts up whenever the same weights and texts would give other vectors."""

AT_ONCE = 1024
"""Tokens of a batch, padding included: few enough for a CPU's cache."""

log = logging.getLogger(__name__)


def check_precision(precision: str, where: str = "precision") -> None:
    """
    Raises:
        UserError: there is no such precision.
    """
    if precision not in PRECISIONS:
        hint = nearest(str(precision), PRECISIONS)
        raise UserError(f"{where} = {precision!r}, expected one of {', '.join(PRECISIONS)}.{hint}")


def embed_texts(texts: Sequence[str], encoder: str = DEFAULT, precision: str = "int8") -> tuple[Floats, str]:
    """Embed texts as `llmrec.encode.embed_texts` does: (float32 [n, d], rows of unit length; the encoder's revision
    with the precision). An empty text gives a zero row.

    Raises:
        UserError: no such precision, no such encoder here, pickled weights, code of its own, or a tokenizer that does
            not fit.
    """
    from filelock import FileLock

    check_precision(precision)
    found = find_encoder(encoder)
    named = dataclasses.replace(found, revision=f"{found.revision} (ONNX Runtime, {precision}, {VERSION})")
    unique, path = encode.cache_path(texts, named)
    if not path.exists():
        encode.writable(path.parent)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                write(path, read(unique, found, precision), named)
    return encode.stored(path, texts, unique), named.revision


def read(texts: Sequence[str], found: Encoder, precision: str) -> Reading:
    """Unit vectors of non-empty texts: sorted by tokens, in batches of `AT_ONCE` of them."""
    tokenizer = tokenizer_of(found)
    path, limit = exported(found, tokenizer, precision)
    session = session_of(path)
    began = time.monotonic()
    ids = tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"] if texts else []
    cut = sum(len(one) > limit for one in tokenizer(list(texts), verbose=False)["input_ids"]) if texts else 0
    sizes = np.array([len(one) for one in ids], np.int64)
    vectors = np.zeros((len(ids), session.get_outputs()[0].shape[1]), np.float32)
    for rows in in_batches(sizes, AT_ONCE):
        there = np.arange(sizes[rows].max()) < sizes[rows][:, None]  # [b, t]
        padded = np.full(there.shape, tokenizer.pad_token_id, np.int64)
        padded[there] = np.concatenate([ids[row] for row in rows])
        vectors[rows] = session.run(None, {"input_ids": padded, "attention_mask": there.astype(np.int64)})[0]
    log.info("%d texts embedded in %s by ONNX Runtime in %.1f s", len(ids), precision, time.monotonic() - began)
    return Reading(vectors, cut, limit, pooling_of(found))


def session_of(path: Path) -> Any:
    """A session on as many threads of the CPU as torch has."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def exported(found: Encoder, tokenizer: Any, precision: str) -> tuple[Path, int]:
    """The ONNX file of an encoder, made where the cache has it not, and how many tokens it reads."""
    import onnxruntime
    import torch
    from filelock import FileLock
    from transformers import AutoModel

    key = content_hash([found.revision, VERSION, torch.__version__, onnxruntime.__version__])
    folder = cache_folder() / "onnx" / key
    encode.writable(folder)
    plain, small = folder / "float32.onnx", folder / "int8.onnx"
    with FileLock(folder / "lock"), quietly():
        # "eager": plain products and a softmax, in which ONNX Runtime knows an attention when it sees one
        model: Any = AutoModel.from_pretrained(
            found.folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32,
            attn_implementation="eager",
        )  # fmt: skip
        check_tokenizer(found, tokenizer, model)
        limit = window_of(found, tokenizer, model)
        if not plain.exists():
            _export(model.eval(), pooling_of(found) == "first", plain)
        if precision == "int8" and not small.exists():
            _quantise(plain, small)
    return (small if precision == "int8" else plain), limit


def _export(model: Any, first_token: bool, path: Path) -> None:
    """Write the encoder with its pooling: (input_ids, attention_mask), int64 [b, t] each -> unit vectors [b, d]."""
    import torch
    from onnxruntime.transformers.optimizer import optimize_model

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # [b, t, d]
            there = attention_mask.unsqueeze(-1).to(states.dtype)
            pooled = states[:, 0] if first_token else (states * there).sum(1) / there.sum(1)
            return torch.nn.functional.normalize(pooled, dim=-1)

    raw = path.with_suffix(f".{os.getpid()}.raw")
    ids = torch.zeros(2, 8, dtype=torch.int64)
    axes = {0: "texts", 1: "tokens"}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about shapes that stay as they are
        torch.onnx.export(
            Pooled(), (ids, torch.ones_like(ids)), str(raw), dynamo=False, opset_version=17,
            input_names=["input_ids", "attention_mask"], output_names=["vectors"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "vectors": {0: "texts"}},
        )  # fmt: skip
    config = model.config
    fused = optimize_model(
        str(raw), "bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size, only_onnxruntime=False
    )
    partial = path.with_suffix(f".{os.getpid()}.partial")
    fused.save_model_to_file(str(partial))
    raw.unlink()
    partial.replace(path)


def _quantise(plain: Path, path: Path) -> None:
    """Write the model with the weights of its products in 8 bits, one scale a column."""
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    partial = path.with_suffix(f".{os.getpid()}.partial")
    told = {"DefaultTensorType": TensorProto.FLOAT}  # of what fused layers put out, which shape inference cannot tell
    quantize_dynamic(str(plain), str(partial), per_channel=True, weight_type=QuantType.QInt8, extra_options=told)
    partial.replace(path)
