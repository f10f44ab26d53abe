"""The epoch loop that every neural method shares: early stopping on validation, checkpoints, resumption.

A killed run that starts again ends with exactly the figures of an undisturbed one (on CPU): every random stream is
derived from (seed, axis, epoch), so nothing but weights, optimiser state and counters has to be stored.
"""

from __future__ import annotations

import copy
import math
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from llmrec.errors import MethodError

if TYPE_CHECKING:
    from llmrec.context import Context


def train(
    method: Any,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    run_epoch: Callable[[int], float],
    ctx: Context,
    *,
    epochs: int,
    patience: int,
    validate_every: int = 1,
) -> int:
    """Train ``model`` in place, leave it with its best validated weights and return the epoch count that gave them.

    ``run_epoch(epoch)``, counted from 0, makes one pass over the training data and returns its mean loss. Anything
    random in it comes from ``ctx.rng(axis, epoch)`` or from torch, which is seeded anew each epoch (CPU and GPU); a
    learning rate is a function of the epoch, for a scheduler's state would not be stored. ``patience`` counts
    validations without improvement; equal values count as none, so the earliest best epoch stays. Without validation
    (``ctx.validate is None``) exactly ``ctx.epochs`` (or ``epochs``) are run and the last weights stay.

    Raises:
        MethodError: the loss is not finite.
    """
    checkpoint = ctx.folder / "checkpoint.pt" if ctx.folder else None
    if ctx.validate is None and ctx.epochs is not None:
        epochs = ctx.epochs
    done, best, best_epoch, misses, best_weights = _resume(checkpoint, model, optimizer, ctx)
    resumed_at, began = done, time.monotonic()
    while done < epochs and misses < patience:
        torch.manual_seed(ctx.seed_for("dropout", done))
        model.train()
        loss = run_epoch(done)
        model.eval()
        done += 1
        if not math.isfinite(loss):
            raise MethodError(f"training diverged: the loss of epoch {done} is {loss}. Try a lower learning rate.")
        values: dict[str, float | int] = {"epoch": done, "epochs": epochs, "loss": loss}
        if ctx.validate is not None and (done % validate_every == 0 or done == epochs):
            values[ctx.watched] = ctx.validate(method)[ctx.watched]
            if (figure := ctx.better * values[ctx.watched]) > best:
                best, best_epoch, misses = figure, done, 0
                best_weights = copy.deepcopy(model.state_dict())
            else:
                misses += 1
        seconds = (time.monotonic() - began) / (done - resumed_at)
        ctx.log("fit", **values, left_s=round(seconds * (epochs - done), 1))
        if checkpoint is not None:
            state: dict[str, Any] = {"epoch": done, "best": best, "best_epoch": best_epoch, "misses": misses}
            state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            state["best_weights"] = None if best_epoch == done else best_weights  # else they are in the file already
            partial = checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            partial.replace(checkpoint)  # a kill leaves the old file or the new one, never half of one
    if ctx.validate is None:
        best_epoch = done
    elif best_weights is not None:
        model.load_state_dict(best_weights)
    model.eval()
    ctx.chosen_epochs = best_epoch
    return best_epoch


def _resume(
    checkpoint: Path | None, model: torch.nn.Module, optimizer: torch.optim.Optimizer, ctx: Context
) -> tuple[int, float, int, int, dict[str, Any] | None]:
    """Epochs done, best value, its epoch, misses since and best weights (None: not validated yet); a checkpoint's, else
    a new start's. A checkpoint that cannot be read or fits another model is ignored, and the log says so."""
    fresh: tuple[int, float, int, int, dict[str, Any] | None] = (0, -math.inf, 0, 0, None)
    if checkpoint is None or not checkpoint.exists():
        return fresh
    untouched = copy.deepcopy(model.state_dict())
    try:
        saved = torch.load(checkpoint, map_location=ctx.device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        state = (saved["epoch"], saved["best"], saved["best_epoch"], saved["misses"], saved["best_weights"])
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, OSError, pickle.UnpicklingError) as error:
        model.load_state_dict(untouched)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        ctx.log("fit", note=f"{checkpoint.name} is ignored, training starts anew: {reason}")
        return fresh
    if state[2] == state[0]:  # the best weights are the newest
        state = (*state[:4], copy.deepcopy(model.state_dict()))
    ctx.log("fit", resumed_at=state[0])
    return state
