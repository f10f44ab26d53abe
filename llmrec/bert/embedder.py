"""Item texts as vectors that can be trained: an encoder, pooled as it was made to be, under one linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmrec.bert.classifier import check_tokenizer, locate, tokenizer_of
from llmrec.bert.depth import at_depth
from llmrec.bert.pairs import in_batches
from llmrec.encode import _first_token_pooling, _max_length
from llmrec.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmrec.context import Context
    from llmrec.types import Floats

AT_ONCE = 8192
"""Tokens of a batch that is read without gradients."""


class Embedder(nn.Module):
    """The items of a catalogue as unit vectors, of whose making a part is trained.

    At first they are the frozen encoder's vectors, centred and in part whitened (Su et al., arXiv 2103.15316): what
    bert-biencoder compares. Items without text are zero and stay so.
    """

    def __init__(self, frozen: Floats, whiten: float, reader: Reader | None):
        """``frozen`` [n_items, d]: the encoder's vectors as they are. ``reader``: makes them anew while it is trained;
        None: they stay, and the map alone is trained."""
        super().__init__()
        there = np.asarray(frozen.any(axis=1))
        mean, matrix = whitening(frozen[there], whiten)
        self.map = nn.Linear(*matrix.shape)
        self.map.weight.data = torch.from_numpy(matrix.T.astype(np.float32)).contiguous()
        self.map.bias.data = torch.from_numpy(-(mean @ matrix).astype(np.float32))
        self.reader = reader
        self.there: Tensor
        self.frozen: Tensor
        self.register_buffer("there", torch.from_numpy(there[:, None].astype(np.float32)), persistent=False)
        self.register_buffer("frozen", torch.from_numpy(frozen.astype(np.float32)), persistent=False)

    def forward(self, items: Tensor) -> Tensor:
        """Vectors of some items [k] -> [k, d]."""
        pooled = self.frozen[items] if self.reader is None else self.reader(items)
        return F.normalize(self.map(pooled), dim=1) * self.there[items]

    @torch.no_grad()
    def catalogue(self) -> Tensor:
        """The vectors of all items [n_items, d], as they are when it answers."""
        was, n = self.training, len(self.there)
        self.eval()
        out = torch.empty(n, self.map.out_features, device=self.there.device)
        sizes = np.ones(n, np.int64) if self.reader is None else self.reader.sizes
        for rows in in_batches(sizes, AT_ONCE):
            some = torch.from_numpy(rows).to(out.device)
            out[some] = self(some)
        self.train(was)
        return out


class Reader(nn.Module):
    """A pretrained encoder and the catalogue's texts as its tokens: items [k] -> unit vectors [k, d]."""

    def __init__(self, name: str, texts: Sequence[str], item_tokens: int, depth: str, last: int, rank: int):
        """
        Raises:
            UserError: no such encoder here, pickled weights, code of its own, a tokenizer that does not fit, or fewer
                layers than ``last``. Skip: depth "lora" without the package peft.
        """
        from transformers import AutoModel

        super().__init__()
        found = locate(name)
        self.tokenizer = tokenizer_of(found)
        model: Any = AutoModel.from_pretrained(
            found.folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
        check_tokenizer(found, self.tokenizer, model)
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # nothing reads it
        self.first_token = _first_token_pooling(found)
        limit = min(item_tokens or 1 << 30, _max_length(found, self.tokenizer, model))
        self.tokens = self.tokenizer(list(texts), truncation=True, max_length=limit)["input_ids"]
        self.sizes = np.array([len(tokens) for tokens in self.tokens], np.int64)
        self.cut = int(sum(len(self.tokenizer(text)["input_ids"]) > limit for text in texts)) if item_tokens else 0
        self.model = at_depth(model, depth, last, rank)

    def forward(self, items: Tensor) -> Tensor:
        ids = [self.tokens[item] for item in items.tolist()]
        batch = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(items.device)
        try:
            states = self.model(**batch).last_hidden_state  # [k, t, d]
        except torch.OutOfMemoryError as error:
            raise torch.OutOfMemoryError(
                f"a batch of {len(ids)} texts of {max(map(len, ids))} tokens does not fit "
                f"({str(error).splitlines()[0]}). Set batch_size or item_tokens lower."
            ) from None
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)  # [k, t, 1]
        pooled = states[:, 0] if self.first_token else (states * mask).sum(1) / mask.sum(1)
        return F.normalize(pooled, dim=1)


def embedder(
    method: str, ctx: Context, encoder: str, whiten: float, item_tokens: int, depth: str, last: int, rank: int
) -> Embedder:
    """The embedder of the context's items as its training begins, on the run's device.

    Raises:
        UserError: as `Reader`; or no item has a text.
    """
    frozen = ctx.item_embeddings(encoder)
    if not frozen.any():
        raise UserError(f"{method}: no item of this dataset has a text. Use a method that reads interactions alone.")
    if without := int((~frozen.any(axis=1)).sum()):
        ctx.counts["items_without_text"] = without
    reader = None
    if depth != "frozen":
        torch.manual_seed(ctx.seed_for("initialisation"))  # of low-rank additions
        reader = Reader(encoder, ctx.items.texts, item_tokens, depth, last, rank)
        ctx.counts["items_cut"] = reader.cut
    return Embedder(frozen, whiten, reader).to(ctx.device)


def whitening(vectors: Floats, whiten: float) -> tuple[Floats, Floats]:
    """The mean [d] of vectors [n, d] and the map [d, d] that scales their principal components by
    variance^(-whiten / 2), float64: (v - mean) @ map."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    rest = vectors - mean
    variances, axes = np.linalg.eigh(rest.T @ rest / len(rest))
    floor = max(variances.max() * 1e-6, 1e-30)  # fewer items than dimensions leave directions of no variance: noise
    if not whiten:
        return mean, np.eye(len(mean))
    return mean, cast("Floats", axes * np.maximum(variances, floor) ** (-whiten / 2))
