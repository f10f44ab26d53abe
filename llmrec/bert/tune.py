"""Fine-tuning a classifier of pairs: groups of one positive and several negatives, or pairs with a number each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from llmrec.bert.classifier import Classifier
from llmrec.bert.depth import layers_of, trained
from llmrec.bert.pairs import Pairs, Tokens, forward
from llmrec.parallel import Processes, processes
from llmrec.training import train

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Int64

POOL = 16
"""Steps whose groups are sorted by length together before they are cut into steps, so that little is padded."""


class Settings(Protocol):
    """The fields of a method that is trained here."""

    epochs: int
    patience: int  # validations
    batch_size: int  # pairs of one step, over all its parts: the effective batch
    at_once: int  # pairs computed together; the gradients of a step's parts are summed
    learning_rate: float  # of the highest layer that is trained
    head_factor: float  # the new output's learning rate, relative to that
    layer_decay: float  # learning rate of a layer relative to the next higher one
    warm_up: float  # share of all steps over which the learning rate rises
    weight_decay: float
    mixed: bool  # bf16 while training, on a GPU


@dataclass(frozen=True)
class Groups:
    """Training examples in the order in which they are met: ``lefts[g]`` with each of ``rights[g * m : (g + 1) * m]``,
    of which the first is right (``targets`` is None), or with one number each (m = 1). ``start``: what the model's
    output is added to."""

    lefts: Tokens
    rights: Tokens
    m: int
    targets: Floats | None = None  # [g]
    start: Floats | None = None  # [g * m]

    def __len__(self) -> int:
        return len(self.lefts)


def fine_tune(
    method: Any, settings: Settings, classifier: Classifier, pairs: Pairs, ctx: Context,
    examples: Callable[[int], Groups],
) -> None:  # fmt: skip
    """Train the classifier on ``examples(epoch)`` of each epoch; keep the best validated epoch's weights.

    The loss of a group is the cross-entropy of its first pair against the rest (Gao, Dai & Callan 2021, "localized
    contrastive"), that of a number is the squared error. The learning rate rises over the first ``warm_up`` of all
    steps and falls linearly to zero: a function of the epoch and the step, so that a killed run which starts again
    ends with the same weights. Checkpoints are written after each epoch. Several processes that were launched together
    share each step (`llmrec.parallel`).

    Raises:
        MethodError: the loss is not finite.
    """
    model, together = classifier.model, processes()
    optimizer = torch.optim.AdamW(rates_of(model, settings), fused=True)
    for group in optimizer.param_groups:
        group["first"] = group["lr"]
    epochs = max(settings.epochs, ctx.epochs or 0)
    ctx.counts |= {
        "numbers_trained": trained(model), "numbers_fresh": classifier.fresh, "effective_batch": settings.batch_size,
    }  # fmt: skip

    def run_epoch(epoch: int) -> float:
        together.begin(epoch, ctx.seed_for("dropout", epoch), ctx.device)
        groups = examples(epoch)
        steps = list(_steps(groups, max(1, settings.batch_size // groups.m), ctx.rng("order", epoch)))
        total = 0.0
        for i, rows in enumerate(steps):
            factor = schedule((epoch + i / len(steps)) / epochs, settings.warm_up)
            for group in optimizer.param_groups:
                group["lr"] = group["first"] * factor
            total += _step(model, pairs, groups, rows, settings, ctx.device, together) * len(rows)
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return total / max(len(groups), 1)

    own = dataclasses.replace(ctx, folder=together.folder(ctx.folder))
    train(method, model, optimizer, run_epoch, own, epochs=settings.epochs, patience=settings.patience)
    ctx.chosen_epochs = own.chosen_epochs


def _step(
    model: Any, pairs: Pairs, groups: Groups, rows: Int64, settings: Settings, device: str, together: Processes
) -> float:
    """Sum the gradients of one step's groups, a part at a time; their mean loss."""
    m, total = groups.m, 0.0
    size = max(1, settings.at_once // m)
    share = together.share(rows)
    for start in range(0, len(share), size):
        some = share[start : start + size]
        lefts = [groups.lefts[g] for g in some for _ in range(m)]
        rights = [groups.rights[g * m + j] for g in some for j in range(m)]
        logits = forward(model, pairs.batch(lefts, rights, device), settings.mixed)
        if groups.start is not None:
            begun = groups.start.reshape(-1, m)[some].reshape(-1).astype(np.float32)
            logits = logits + torch.from_numpy(begun).to(logits.device)
        if groups.targets is None:
            first = torch.zeros(len(some), dtype=torch.long, device=logits.device)
            loss = F.cross_entropy(logits.view(len(some), m), first, reduction="sum") / len(rows)
        else:
            wanted = torch.from_numpy(groups.targets[some].astype(np.float32)).to(logits.device)
            loss = F.mse_loss(logits, wanted, reduction="sum") / len(rows)
        torch.autograd.backward(loss)
        total += loss.item()
    return together.add_up(model, total)


def _steps(groups: Groups, size: int, rng: np.random.Generator) -> Iterator[Int64]:
    """Groups in random order, in steps of ``size``; those of one step are of like length."""
    m = groups.m
    longest = np.array(
        [len(left) + max(map(len, groups.rights[g * m : (g + 1) * m])) for g, left in enumerate(groups.lefts)], np.int64
    )
    order = rng.permutation(len(groups))
    for start in range(0, len(order), POOL * size):
        pool = order[start : start + POOL * size]
        pool = pool[np.argsort(longest[pool], kind="stable")]
        steps = [pool[i : i + size] for i in range(0, len(pool), size)]
        for i in rng.permutation(len(steps)):
            yield steps[i]


def schedule(done: float, warm_up: float) -> float:
    """The learning rate's factor after a share ``done`` of all steps."""
    rise = min(1.0, (done + 1e-3) / warm_up) if warm_up else 1.0
    return rise * max(0.0, 1.0 - done)


def rates_of(model: Any, settings: Settings) -> list[dict[str, Any]]:
    """The optimiser's groups: each layer's learning rate is ``layer_decay`` times that of the layer above, the
    embeddings' is lowest and the output's highest; vectors (biases, norms) do not decay."""
    layers = layers_of(model)
    height = {id(p): n for n, layer in enumerate(layers, 1) for p in layer.parameters()}
    inner = {id(p) for p in model.base_model.parameters()}
    pooler = getattr(model.base_model, "pooler", None)
    head = {id(p) for p in pooler.parameters()} if pooler is not None else set()
    found: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            if id(parameter) in head or (id(parameter) not in inner and id(parameter) not in height):
                rate = settings.learning_rate * settings.head_factor
            else:
                above = len(layers) - height.get(id(parameter), 0)
                rate = settings.learning_rate * settings.layer_decay**above
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            found.setdefault((rate, decay), []).append(parameter)
    return [{"params": some, "lr": rate, "weight_decay": decay} for (rate, decay), some in found.items()]
