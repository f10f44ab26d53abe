"""Item texts as features of learnt methods: a frozen encoder's embeddings, centred and (in part) whitened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llmrec.sequence import checks

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats

FLOOR = 1e-5
"""Directions whose deviation is below this share of the loudest one's are rounding, and left out."""


def text_features(method: str, ctx: Context, encoder: str, whiten: float) -> Floats:
    """The items' texts as vectors, float32 [n_items, d], rows of unit length.

    The encoder's vectors share a mean, which says what all items are, and a few loud directions. The mean is taken
    out, and the principal components' variances are raised to the power 1 - ``whiten``: 0 leaves them, 1 makes them
    equal (Su et al., arXiv 2103.15316; UniSRec learns to: arXiv 2206.05941, equation 2). An item without text stands
    at the mean: its row is zero; the record counts such items.

    Raises:
        UserError: whiten is out of range, there is no such encoder, or no item has a text.
    """
    from llmrec.errors import UserError

    checks.share(method, whiten=whiten)
    vectors = ctx.item_embeddings(encoder)
    there = vectors.any(axis=1)
    if not there.any():
        raise UserError(f"{method}: no item of this dataset has a text. Use a method that reads interactions alone.")
    if without := int((~there).sum()):
        ctx.counts["items_without_text"] = without
    rest = vectors[there].astype(np.float64)
    left, deviations, _ = np.linalg.svd(rest - rest.mean(axis=0), full_matrices=False)
    kept = deviations > FLOOR * max(deviations[0], 1e-30)
    rest = left[:, kept] * deviations[kept] ** (1 - whiten)  # in principal axes; the method learns its own from there
    out = np.zeros((len(vectors), rest.shape[1]), np.float32)
    out[there] = rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-30)
    return out
