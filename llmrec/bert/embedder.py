"""Item texts as vectors that can be trained: an encoder, pooled as it was made to be, under one linear map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmrec.batches import in_batches
from llmrec.bert.depth import at_depth
from llmrec.bert.domain import read_more
from llmrec.encoders import check_tokenizer, find_encoder, pooling_of, tokenizer_of, window_of
from llmrec.errors import UserError

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Int64

AT_ONCE = 8192
"""Tokens of a batch that is read without gradients."""


class Settings(Protocol):
    """The fields of a method whose texts are read here."""

    encoder: str
    whiten: float  # 0: principal components keep their variances, 1: equal ones
    item_tokens: int  # of an item's text; 0: as many as the encoder reads
    pretrain: int  # epochs of masked-language modelling on the items' texts before all else
    depth: str  # one of DEPTHS
    last: int  # layers that depth "last" trains
    rank: int  # of depth "lora"


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

    def catalogue(self) -> Tensor:
        """The vectors of all items [n_items, d], as they are when it answers."""
        sizes = np.ones(len(self.there), np.int64) if self.reader is None else self.reader.sizes
        return of_all(self, sizes, self.there.device)


@torch.no_grad()
def of_all(read: nn.Module, sizes: Int64, device: torch.device) -> Tensor:
    """What ``read`` makes of all items when it answers, in batches of like sizes (tokens) [n_items, d]."""
    was, parts = read.training, []
    read.eval()
    order = list(in_batches(sizes, AT_ONCE))
    parts = [read(torch.from_numpy(rows).to(device)) for rows in order]
    read.train(was)
    return torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(order))).to(device)]


class Reader(nn.Module):
    """A pretrained encoder and the catalogue's texts as its tokens: items [k] -> unit vectors [k, d]."""

    def __init__(self, settings: Settings, ctx: Context):
        """
        Raises:
            UserError: no such encoder here, pickled weights, code of its own, a tokenizer that does not fit, or fewer
                layers than ``last``. Skip: depth "lora" without the package peft.
        """
        from transformers import AutoModel

        super().__init__()
        found = find_encoder(settings.encoder)
        ctx.models[settings.encoder] = found.revision
        self.tokenizer = tokenizer_of(found)
        model: Any = AutoModel.from_pretrained(
            found.folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
        check_tokenizer(found, self.tokenizer, model)
        limit = min(settings.item_tokens or 1 << 30, window_of(found, self.tokenizer, model))
        whole = self.tokenizer(list(ctx.items.texts))["input_ids"]
        ctx.counts["items_cut"] = sum(len(tokens) > limit for tokens in whole)
        self.tokens = self.tokenizer(list(ctx.items.texts), truncation=True, max_length=limit)["input_ids"]
        self.sizes = np.array([len(tokens) for tokens in self.tokens], np.int64)
        if settings.pretrain:
            model = read_more(found, self.tokenizer, self.tokens, settings.pretrain, ctx)
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # nothing reads it
        self.first_token = pooling_of(found) == "first"
        torch.manual_seed(ctx.seed_for("initialisation"))  # of low-rank additions
        self.model = at_depth(model, settings.depth, settings.last, settings.rank).to(ctx.device).eval()

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


def embedder(method: str, settings: Settings, ctx: Context) -> Embedder:
    """The embedder of the context's items as its training begins, on the run's device.

    Raises:
        UserError: as `Reader`; or no item has a text.
    """
    frozen = ctx.item_embeddings(settings.encoder)
    there = np.asarray(frozen.any(axis=1))
    if not there.any():
        raise UserError(f"{method}: no item of this dataset has a text. Use a method that reads interactions alone.")
    if without := int((~there).sum()):
        ctx.counts["items_without_text"] = without
    reader = Reader(settings, ctx) if settings.pretrain or settings.depth != "frozen" else None
    if reader is not None and settings.pretrain:
        frozen = of_all(reader, reader.sizes, torch.device(ctx.device)).cpu().numpy() * there[:, None]
    return Embedder(frozen, settings.whiten, None if settings.depth == "frozen" else reader).to(ctx.device)


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
