"""The parameters that methods with attention over histories share, checked by one call."""

from __future__ import annotations

from typing import Protocol

from llmrec.sequence import checks, fit


class Settings(fit.Settings, Protocol):
    """The fields of a method that is trained by `llmrec.sequence.fit` and attends."""

    width: int
    heads: int
    dropout: float


def check_attention(method: str, settings: Settings, shortest: int = 1) -> None:
    """``shortest``: the least ``length`` that makes sense.

    Raises:
        UserError: a parameter is out of range, or the width is no multiple of the heads.
    """
    checks.at_least(method, shortest, length=settings.length)
    checks.at_least(method, 1, width=settings.width, heads=settings.heads)
    checks.at_least(method, 1, batch_size=settings.batch_size, epochs=settings.epochs, patience=settings.patience)
    checks.at_least(method, 0, weight_decay=settings.weight_decay)
    checks.above_zero(method, learning_rate=settings.learning_rate)
    checks.share(method, below_one=True, dropout=settings.dropout)
    checks.multiple(method, width=settings.width, heads=settings.heads)
