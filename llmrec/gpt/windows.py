"""Training sequences: users' histories cut into windows, and windows of one length put into one batch."""

from __future__ import annotations

import numpy as np

from llmrec.types import Histories, Int64


def window_batches(
    histories: Histories, *, size: int, events: int, rng: np.random.Generator
) -> list[tuple[Int64, Int64]]:
    """Batches of (first event, number of events) [rows], where every event of the histories is in exactly one window.

    A window has at most ``size`` events of one history, and a history that does not fit into one is cut at a random
    offset, anew at each call. A batch has about ``events`` events; windows are batched by length, so that next to
    nothing is padded, and batches come in random order.
    """
    shift = np.where(histories.lengths > size, rng.integers(0, size, len(histories)), 0)  # length of the first piece
    pieces = -(-(histories.lengths - shift) // size) + (shift > 0)
    rows = np.repeat(np.arange(len(histories)), pieces)
    piece = np.arange(len(rows)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    piece -= shift[rows] > 0  # -1: the piece before the shift
    first = np.maximum(shift[rows] + piece * size, 0)
    last = np.minimum(shift[rows] + (piece + 1) * size, histories.lengths[rows])
    starts, lengths = histories.indptr[rows] + first, last - first
    order = rng.permutation(len(starts))
    order = order[np.argsort(lengths[order], kind="stable")]
    starts, lengths = starts[order], lengths[order]
    batch = np.cumsum(lengths) // events
    edges = np.append(np.flatnonzero(np.diff(batch, prepend=-1)), len(batch))
    return [
        (starts[edges[i] : edges[i + 1]], lengths[edges[i] : edges[i + 1]]) for i in rng.permutation(len(edges) - 1)
    ]
