"""Where a trial is pruned: at an epoch at which its best validation figure is worse than the median of earlier trials.

This is the median stopping rule (Golovin et al., KDD 2017; Optuna's MedianPruner). It goes by epochs, never by time,
and by trials that had all ended before this one began: neither a slow machine nor runs beside it change what is pruned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

FEWEST = 5
"""Whole trials that a median is taken over at least."""


def floors(curves: Sequence[Mapping[int, float]], better: int) -> dict[int, float]:
    """Epoch -> the median of the best figures until then.

    Args:
        curves: of every whole trial so far: epoch -> validation figure.
        better: 1 where higher figures are better, -1 where lower ones are.

    The first third of the longest training is let be: a small learning rate starts slowly.
    """
    known = [curve for curve in curves if curve]
    last = max((max(curve) for curve in known), default=0)
    found = {}
    for epoch in sorted({epoch for curve in known for epoch in curve if 3 * epoch >= last}):
        reached = [_best(curve, epoch, better) for curve in known if epoch in curve]
        if len(reached) >= FEWEST:
            found[epoch] = median(reached)
    return found


def _best(curve: Mapping[int, float], until: int, better: int) -> float:
    return better * max(better * figure for epoch, figure in curve.items() if epoch <= until)
