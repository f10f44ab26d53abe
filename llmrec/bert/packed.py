"""Pairs scored without padding, on a CPU: `llmrec.packed` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from llmrec import packed
from llmrec.bert.mean import MeanPooler

if TYPE_CHECKING:
    from llmrec.bert.pairs import Pairs, Tokens
    from llmrec.types import Floats, Int32, Int64


SHARED = 16_384
"""Tokens of histories whose part in the first layer is kept at a time: 100 MB where vectors are 384 wide."""


def pair_scores(model: Any, pairs: Pairs, lefts: Tokens, left_of: Int64, items: Int32) -> Floats:
    """What `llmrec.bert.pairs.pair_scores` gives, for a classifier that is `packable`: float32 [len(items)].

    Where the output reads the first token alone, so does the last layer. What a history brings to the first layer
    (vectors, queries, keys and values) is the same beside every candidate, and is made once.
    """
    classifier = packed.packable(model, "BertForSequenceClassification")
    assert classifier is not None
    kinds = pairs.segments or (0, 0)
    before, middle, behind = pairs.frame
    heads = [np.concatenate([before, left, middle]) for left in lefts]
    tails = {item: np.concatenate([pairs.items[item], behind]) for item in np.unique(items).tolist()}
    out = np.empty(len(items), np.float32)
    with torch.inference_mode():
        for asked in _by_history(heads, left_of):
            shared = _Shared(classifier.bert, heads, np.unique(left_of[asked]), kinds[0])
            sizes = shared.sizes[left_of[asked]] + np.array(
                [len(tails[item]) for item in items[asked].tolist()], np.int64
            )
            for rows in packed.batches(sizes):
                some = asked[rows]
                states, made, own = shared.with_tails(
                    left_of[some], [tails[item] for item in items[some].tolist()], kinds[1]
                )
                out[some] = _output(classifier, states, own, made)
    return out


def _by_history(heads: Tokens, left_of: Int64) -> Iterator[Int64]:
    """Pairs in parts whose histories have some `SHARED` tokens (one history at least)."""
    order = np.argsort(left_of, kind="stable")
    used, first = np.unique(left_of[order], return_index=True)
    part = np.cumsum([len(heads[left]) for left in used]) // SHARED
    yield from np.split(order, first[1:][np.diff(part) > 0]) if len(order) else []


class _Shared:
    """The histories of some pairs as the first layer takes them."""

    def __init__(self, bert: Any, heads: Tokens, used: Int64, kind: int):
        self.bert = bert
        self.sizes = np.zeros(len(heads), np.int64)
        self.sizes[used] = [len(heads[left]) for left in used]
        self.starts = np.cumsum(self.sizes) - self.sizes
        ids = np.concatenate([heads[left] for left in used])
        self.made = self._made(packed.embedded(bert, ids, self.sizes[used].tolist(), np.full(len(ids), kind)))

    def _made(self, states: Tensor) -> list[Tensor]:
        return [states, *packed.asked(self.bert.encoder.layer[0].attention.self, states)]

    def with_tails(
        self, left_of: Int64, tails: Tokens, kind: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], list[int]]:
        """Histories with a candidate behind each: states, (queries, keys, values), and how many tokens each pair is."""
        ends, firsts = np.array([len(tail) for tail in tails], np.int64), self.sizes[left_of]
        ids = np.concatenate(tails)
        right = self._made(packed.embedded(self.bert, ids, ends.tolist(), np.full(len(ids), kind), first=firsts))
        sizes = firsts + ends
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # a token's place in its pair
        behind = within >= np.repeat(firsts, sizes)
        rows = torch.from_numpy(np.where(behind, 0, np.repeat(self.starts[left_of], sizes) + within))
        at = torch.from_numpy(np.flatnonzero(behind))
        both = zip(self.made, right, strict=True)
        states, query, key, value = (left.index_select(0, rows).index_copy_(0, at, own) for left, own in both)
        return states, (query, key, value), sizes.tolist()


def _output(classifier: Any, states: Tensor, sizes: list[int], made: tuple[Tensor, Tensor, Tensor]) -> Floats:
    bert, pooler = classifier.bert, classifier.bert.pooler
    if isinstance(pooler, MeanPooler):
        pooled = packed.means(packed.layers(bert, states, sizes, first_asked=made), sizes)
    else:
        pooled = pooler(packed.layers(bert, states, sizes, first_token=True, first_asked=made).unsqueeze(1))
    scores: Floats = classifier.classifier(classifier.dropout(pooled)).squeeze(-1).float().numpy()
    return scores
