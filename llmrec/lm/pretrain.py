"""The first stage of a model of ours: it reads the items' texts before it reads histories."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.lm.finetune import Pace, perplexity, stepper
from llmrec.training import train
from llmrec.types import Histories

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmrec.context import Context

HELD_OUT = 20
"""One text in so many is held out, to say how well the others have taught to read."""


def learn_texts(model: Any, opening: Sequence[int], texts: Histories, pace: Pace, ctx: Context) -> float:
    """Train a model on texts (rows of tokens) and return the perplexity of those held out, which chooses the epoch.

    A killed run goes on where it was, with equal results on a CPU.
    """
    order = ctx.rng("held out").permutation(len(texts))
    apart, rest = np.sort(order[: len(texts) // HELD_OUT]), np.sort(order[len(texts) // HELD_OUT :])
    apart = apart if len(apart) else rest  # too few to hold any out
    held_out, read = texts.take(apart), texts.take(rest)
    optimizer, run_epoch = stepper(model, opening, lambda _: read, pace, ctx, "order of texts")
    folder = ctx.folder / "texts" if ctx.folder else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)

    def validate(_: Any) -> dict[str, float]:
        return {"perplexity": perplexity(model, opening, held_out)}

    def emit(event: dict[str, Any]) -> None:
        ctx.emit({**event, "stage": "pretrain"})

    own = dataclasses.replace(
        ctx, folder=folder, emit=emit, validate=validate, watched="perplexity", better=-1, epochs=None
    )
    train(None, model, optimizer, run_epoch, own, epochs=pace.epochs, patience=pace.epochs)
    return perplexity(model, opening, held_out)
