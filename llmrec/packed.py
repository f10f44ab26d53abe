"""Texts read without padding, on a CPU: their tokens lie one behind the other, and only attention looks at texts one by
one.

All that works token by token (the products, norms and activations) takes the tokens of a batch as one matrix [n, d].
Attention takes texts of equal length together, without a mask. What comes out is what padded batches give, up to
rounding; no text depends on what it was read beside. benchmarks/speed/BERT.md has what it gains, and what else was
tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from llmrec.types import Floats, Int32, Int64

AT_ONCE = 1024
"""Tokens of a batch: few enough for a CPU's cache."""


def packable(model: Any, name: str = "BertModel") -> Any | None:
    """The part of a model whose layers are known here (transformers' ``BertModel``, or a classifier around one); None
    where there is none: such a model takes padded batches."""
    return next((module for module in model.modules() if type(module).__name__ == name), None)


def text_vectors(bert: Any, ids: Sequence[Int32], first_token: bool = False) -> Floats:
    """Unit vectors of texts given as tokens, special ones included: float32 [n, d], pooled by the mean of the tokens or
    by the first one."""
    sizes = np.array([len(one) for one in ids], np.int64)
    out = np.zeros((len(ids), bert.config.hidden_size), np.float32)
    with torch.inference_mode():
        for rows in batches(sizes):
            own = sizes[rows].tolist()
            states = layers(bert, embedded(bert, np.concatenate([ids[row] for row in rows]), own), own)
            pooled = states[starts(own)] if first_token else means(states, own)
            out[rows] = F.normalize(pooled, dim=-1).numpy()
    return out


def batches(sizes: Int64) -> Iterator[Int64]:
    """Rows of texts in order of size, in batches of about `AT_ONCE` tokens (one text at least)."""
    order = np.argsort(sizes, kind="stable")
    filled = np.cumsum(sizes[order]) // AT_ONCE
    yield from np.split(order, np.flatnonzero(np.diff(filled)) + 1) if len(order) else []


def embedded(
    bert: Any, ids: Int64 | Int32, sizes: list[int], kinds: Int64 | None = None, first: Int64 | None = None
) -> Tensor:
    """Tokens [n], of texts of ``sizes`` tokens each, as the first layer takes them: [n, d]. ``first`` [len(sizes)]: the
    places that the texts begin at, if not at 0."""
    told = np.zeros(len(ids), np.int64) if kinds is None else kinds
    places = np.concatenate([np.arange(size) for size in sizes])
    if first is not None:
        places += np.repeat(first, sizes)
    arrays = (torch.from_numpy(one.astype(np.int64))[None] for one in (ids, told, places))
    states: Tensor = bert.embeddings(**dict(zip(("input_ids", "token_type_ids", "position_ids"), arrays, strict=True)))
    return states[0]


def asked(attention: Any, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of tokens, [n, d] each."""
    return attention.query(states), attention.key(states), attention.value(states)


def layers(
    bert: Any,
    states: Tensor,
    sizes: list[int],
    first_token: bool = False,
    first_asked: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """The last layer's states [n, d], or those of the texts' first tokens alone [len(sizes), d]. ``first_asked``: what
    the first layer asks, where it is known already."""
    *most, last = bert.encoder.layer
    for layer in most:
        made = first_asked or asked(layer.attention.self, states)
        states, first_asked = _behind(layer, _attended(layer.attention.self, made, sizes), states), None
    if not first_token:
        made = first_asked or asked(last.attention.self, states)
        return _behind(last, _attended(last.attention.self, made, sizes), states)
    return _behind(last, _read_by_first(last.attention.self, states, sizes), states[starts(sizes)])


def _attended(attention: Any, made: tuple[Tensor, Tensor, Tensor], sizes: list[int]) -> Tensor:
    """What each token reads of its own text [n, d]."""
    query, key, value = made
    out = torch.empty(query.shape)
    for rows, texts in _runs(sizes):
        q, k, v = (_heads(one[rows], texts, attention.attention_head_size) for one in (query, key, value))
        read = F.scaled_dot_product_attention(q, k, v, scale=attention.scaling)  # [texts, h, t, s]
        out[rows] = read.transpose(1, 2).reshape(-1, out.shape[1])
    return out


def _read_by_first(attention: Any, states: Tensor, sizes: list[int]) -> Tensor:
    """What each text's first token reads of it [len(sizes), d]."""
    if type(attention.key) is torch.nn.Linear and type(attention.value) is torch.nn.Linear:
        return _read_states_by_first(attention, states, sizes)
    query, key, value = attention.query(states[starts(sizes)]), attention.key(states), attention.value(states)
    out, text = torch.empty_like(query), 0
    for rows, texts in _runs(sizes):
        own = slice(text, text := text + texts)
        q, k, v = (_heads(one, texts, attention.attention_head_size) for one in (query[own], key[rows], value[rows]))
        read = F.scaled_dot_product_attention(q, k, v, scale=attention.scaling)  # [texts, h, 1, s]
        out[own] = read.transpose(1, 2).reshape(-1, out.shape[1])
    return out


def _read_states_by_first(attention: Any, states: Tensor, sizes: list[int]) -> Tensor:
    """The same without a key or a value of any token: q . (K x) = (K' q) . x, and a mean of values is the value of the
    mean. The keys' bias adds the same to all of a text's tokens, which the softmax takes out again."""
    heads, wide = attention.num_attention_heads, states.shape[1]
    query = attention.query(states[starts(sizes)]).view(len(sizes), heads, -1)  # [n, h, s]
    key, value = (made.weight.view(heads, -1, wide) for made in (attention.key, attention.value))  # [h, s, d]
    through = torch.einsum("nhs,hsd->nhd", query * attention.scaling, key)
    read, text = torch.empty_like(through), 0
    for rows, texts in _runs(sizes):
        own, tokens = slice(text, text := text + texts), states[rows].view(texts, -1, wide)  # [texts, t, d]
        read[own] = torch.softmax(through[own] @ tokens.transpose(1, 2), dim=-1) @ tokens
    out: Tensor = torch.einsum("nhd,hsd->nhs", read, value).reshape(len(sizes), -1) + attention.value.bias
    return out


def _behind(layer: Any, attended: Tensor, states: Tensor) -> Tensor:
    """The rest of a layer, token by token."""
    answer: Tensor = layer.feed_forward_chunk(layer.attention.output(attended, states))
    return answer


def _heads(states: Tensor, texts: int, size: int) -> Tensor:
    """[texts * t, d] -> [texts, h, t, s]."""
    return states.view(texts, -1, states.shape[1] // size, size).transpose(1, 2)


def _runs(sizes: list[int]) -> Iterator[tuple[slice, int]]:
    """Texts of equal length that lie beside each other: the rows of their tokens, and how many texts they are."""
    start = 0
    for size, same in groupby(sizes):
        texts = sum(1 for _ in same)
        yield slice(start, start := start + texts * size), texts


def starts(sizes: list[int]) -> Tensor:
    """Rows of the texts' first tokens."""
    return torch.tensor([0, *sizes[:-1]]).cumsum(0)


def means(states: Tensor, sizes: list[int]) -> Tensor:
    """The mean of each text's tokens [len(sizes), d]."""
    return torch.segment_reduce(states, "mean", lengths=torch.tensor(sizes))
