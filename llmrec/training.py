"""The epoch loop that every neural method shares: early stopping on validation, checkpoints, resumption.

A killed run that starts again ends with exactly the figures of an undisturbed one (on CPU): every random stream is
derived from (seed, axis, epoch), so nothing but weights, optimiser state and counters has to be stored.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from llmrec.context import Context

WATCHED = "ndcg@10"
"""The validation metric that stops training, the primary metric of the suite."""


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
    """Train ``model`` in place and leave it with its best validated weights; return the number of epochs that gave them.

    ``run_epoch(epoch)`` makes one pass over the training data and returns its mean loss. ``patience`` counts validations
    without improvement. Without validation (``ctx.validate is None``) exactly ``ctx.epochs`` (or ``epochs``) are run.
    """
    checkpoint = ctx.folder / "checkpoint.pt" if ctx.folder else None
    if ctx.validate is None:
        epochs = ctx.epochs or epochs
    start, best, best_epoch, misses, best_weights = 0, -1.0, 0, 0, copy.deepcopy(model.state_dict())
    if checkpoint is not None and checkpoint.exists():
        saved = torch.load(checkpoint, map_location=ctx.device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        start, best, best_epoch, misses = saved["epoch"], saved["best"], saved["best_epoch"], saved["misses"]
        best_weights = saved["best_weights"]
        ctx.log("fit", resumed_at=start, epochs=epochs)
    began = time.monotonic()
    for epoch in range(start, epochs):
        if misses >= patience:
            break
        torch.manual_seed(ctx.seed_for("dropout", epoch))
        model.train()
        loss = run_epoch(epoch)
        model.eval()
        values: dict[str, float | int] = {"epoch": epoch + 1, "epochs": epochs, "loss": loss}
        last = epoch + 1 == epochs
        if ctx.validate is not None and ((epoch + 1) % validate_every == 0 or last):
            metrics = ctx.validate(method)
            values[WATCHED] = metrics[WATCHED]
            if metrics[WATCHED] > best:
                best, best_epoch, misses = metrics[WATCHED], epoch + 1, 0
                best_weights = copy.deepcopy(model.state_dict())
            else:
                misses += 1
        elapsed = time.monotonic() - began
        ctx.log("fit", **values, left_s=round(elapsed / (epoch + 1 - start) * (epochs - epoch - 1), 1))
        if checkpoint is not None:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "epoch": epoch + 1,
                "best": best,
                "best_epoch": best_epoch,
                "misses": misses,
                "best_weights": best_weights,
            }
            partial = checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            os.replace(partial, checkpoint)
    if ctx.validate is None:
        best_epoch = epochs
    else:
        model.load_state_dict(best_weights)
    model.eval()
    ctx.chosen_epochs = best_epoch
    return best_epoch
