"""Pairs scored without padding, on a CPU: `llmrec.packed` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmrec import packed
from llmrec.bert.mean import MeanPooler

if TYPE_CHECKING:
    from llmrec.bert.pairs import Pairs, Tokens
    from llmrec.types import Floats, Int32, Int64


def pair_scores(model: Any, pairs: Pairs, lefts: Tokens, left_of: Int64, items: Int32) -> Floats:
    """What `llmrec.bert.pairs.pair_scores` gives, for a classifier that is `packable`: float32 [len(items)].

    Where the output reads the first token alone, so does the last layer: keys and values are those of all tokens,
    queries and what follows of the first one.
    """
    classifier = packed.packable(model, "BertForSequenceClassification")
    assert classifier is not None
    bert, pooler = classifier.bert, classifier.bert.pooler
    before, middle, behind = pairs.frame
    firsts = np.array([len(before) + len(left) + len(middle) for left in lefts], np.int64)[left_of]
    sizes = firsts + np.array([len(pairs.items[item]) + len(behind) for item in items], np.int64)
    kinds = pairs.segments or (0, 0)
    out = np.empty(len(items), np.float32)
    with torch.inference_mode():
        for rows in packed.batches(sizes):
            parts = [(before, lefts[left_of[j]], middle, pairs.items[items[j]], behind) for j in rows]
            ends = np.column_stack([firsts[rows], sizes[rows] - firsts[rows]]).reshape(-1)
            own = sizes[rows].tolist()
            ids = np.concatenate([part for one in parts for part in one])
            states = packed.embedded(bert, ids, own, np.repeat(np.tile(kinds, len(rows)), ends))
            if isinstance(pooler, MeanPooler):
                pooled = packed.means(packed.layers(bert, states, own), own)
            else:
                pooled = pooler(packed.layers(bert, states, own, first_token=True).unsqueeze(1))
            out[rows] = classifier.classifier(classifier.dropout(pooled)).squeeze(-1).float().numpy()
    return out
