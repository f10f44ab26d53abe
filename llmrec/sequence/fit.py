"""How a sequence method is trained and asked: AdamW, a learning rate that falls linearly to zero, early stopping."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from llmrec.context import Context
from llmrec.sequence.losses import Loss
from llmrec.sequence.windows import question, shifted_windows
from llmrec.training import train
from llmrec.types import Floats, Histories, Split, Users

Step = tuple[Tensor, int]
"""The mean loss of a step's targets, to be followed backwards, and their number."""


class Settings(Protocol):
    """The fields of a method that is trained here."""

    length: int  # ids in a window
    batch_size: int  # windows
    learning_rate: float  # of the first epoch
    weight_decay: float
    epochs: int
    patience: int  # validations


class NextItemModel(Protocol):
    """ids int64 [b, t] -> what each position expects next, [b, t, d]; ``catalogue`` [n_items, d]."""

    catalogue: Any

    def __call__(self, ids: Tensor) -> Tensor: ...


def seeded(make: Callable[[], Any], ctx: Context) -> Any:
    """The untrained model that ``make()`` gives, drawn from the stream "initialisation", on the run's device."""
    torch.manual_seed(ctx.seed_for("initialisation"))
    return make().to(ctx.device)


def adamw(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )


def fit_next_item(method: Any, model: nn.Module, split: Split, ctx: Context, loss: Loss) -> None:
    """Train ``model``, which is ``method``'s, on every position of the windows of ``split.fit``; keep its best epoch.

    Raises:
        MethodError: the loss is not finite.
    """
    fit_steps(method, model, ctx, lambda epoch: next_item_steps(method, model, split.fit.histories, ctx, loss, epoch))


def fit_steps(
    method: Any, model: nn.Module, ctx: Context, steps: Callable[[int], Iterator[Step]], validate_every: int = 1
) -> None:
    """Train ``model`` on the steps of each epoch: `llmrec.training.train` with ``method``'s `Settings`.

    Raises:
        MethodError: the loss is not finite.
    """
    optimizer = adamw(model, method)

    def run_epoch(epoch: int) -> float:
        return one_epoch(method, optimizer, ctx, epoch, steps(epoch))

    train(
        method, model, optimizer, run_epoch, ctx,
        epochs=method.epochs, patience=method.patience, validate_every=validate_every,
    )  # fmt: skip


def one_epoch(
    settings: Settings, optimizer: torch.optim.Optimizer, ctx: Context, epoch: int, steps: Iterator[Step]
) -> float:
    """Descend along each step's loss as it comes; returns the mean loss of a target."""
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * (1 - epoch / max(settings.epochs, ctx.epochs or 0))
    total, count = torch.zeros((), device=ctx.device), 0
    for loss, n in steps:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, count = total + loss.detach() * n, count + n
    return total.item() / max(count, 1)


def next_item_steps(
    settings: Settings, model: Any, histories: Histories, ctx: Context, loss: Loss, epoch: int
) -> Iterator[Step]:
    """The steps of one epoch: each item of each history is a target once, after all that its window holds before it."""
    negatives = ctx.rng("negatives", epoch) if loss.draws else None
    order = ctx.rng("order", epoch)
    for inputs, targets in shifted_windows(histories, settings.length, settings.batch_size, order, ctx.device):
        there = targets.flatten().ge(0).nonzero().squeeze(1)  # [n], those that are no padding
        states = model(inputs).flatten(0, 1)[there]  # [n, d]
        yield loss(states, model.catalogue, targets.flatten()[there], negatives), len(there)


@torch.inference_mode()
def next_item_scores(model: Any, users: Users, length: int) -> Floats:
    """Scores of all items, [b, n_items]: the state after each user's newest ``length`` items, against the catalogue."""
    ids, newest = question(users.histories, length, str(model.catalogue.device))
    states = model(ids)[torch.arange(len(users), device=ids.device), newest]  # [b, d]
    scores: Floats = (states @ model.catalogue.T).cpu().numpy()
    return scores
