"""How a method is fitted under a protocol. Part of what decides whether a record is stale."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from llmrec.context import Context
from llmrec.errors import MethodError, Skip, UserError
from llmrec.types import Split


def fit(
    make: Callable[[], Any],
    split: Split,
    ctx: Context,
    validate: Callable[[Any, Split], dict[str, float]],
    *,
    early_stops: bool,
) -> Any:
    """A fitted method, made by ``make()``.

    Under ``fit_data = "train"`` the method may validate while it fits. Under ``"train+valid"`` there is nothing left to
    validate on: a method that stops early is first fitted on train alone to choose its number of epochs, and then a
    fresh one is trained on both parts for that many.

    Raises:
        MethodError: a method that says it stops early did not set ``ctx.chosen_epochs``.
        UserError: the protocol validates, but nobody has a target to validate on.
        Skip: the split asks for users unseen in training, of whom the method can know nothing.
    """
    if split.given and not getattr(make(), "folds_in", True):
        raise Skip("knows users only from training (folds_in = False), and this protocol asks unseen ones")
    validates = split.fit_data == "train" or early_stops
    if validates and not (len(split.asked["valid"]) or split.impressions or split.requests):
        raise UserError(
            "no user has a target to validate on under this protocol, so that no epoch and no baseline can be chosen. "
            "Use other cuts, or fit_data = 'train+valid' with methods that do not stop early."
        )
    if split.fit_data == "train":
        return _fitted(make(), split, _stage(ctx, "fit", validate=lambda method: validate(method, split)), ctx)
    if not early_stops:
        return _fitted(make(), split, _stage(ctx, "fit"), ctx)
    train_only = dataclasses.replace(split, fit_data="train")
    choosing = _stage(ctx, "choose", validate=lambda method: validate(method, train_only))
    _fitted(make(), train_only, choosing, ctx)
    if choosing.chosen_epochs is None:
        raise MethodError("early_stops = True, but fit() did not set ctx.chosen_epochs.")
    return _fitted(make(), split, _stage(ctx, "refit", epochs=max(1, choosing.chosen_epochs)), ctx)


def _stage(ctx: Context, name: str, **changes: Any) -> Context:
    """The context of one fit: its own checkpoints, its events marked with the stage's name; the rest is shared."""
    folder = ctx.folder / name if ctx.folder else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)

    def emit(event: dict[str, Any]) -> None:
        ctx.emit({**event, "part": name})

    return dataclasses.replace(ctx, folder=folder, emit=emit, **changes)


def _fitted(method: Any, split: Split, stage: Context, ctx: Context) -> Any:
    method.fit(split, stage)
    ctx.chosen_epochs = stage.epochs or stage.chosen_epochs
    return method
