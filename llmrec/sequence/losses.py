"""The losses of next-item methods, a declared axis: what is learnt from states [n, d], a catalogue [n_items, d] and the
items wanted [n].

    cross-entropy     softmax over the whole catalogue. Nothing is drawn.
    bce               binary cross-entropy of the target against ``negatives`` items drawn for it, uniformly over the
                      others, with replacement; summed over target and negatives. With one negative it is the loss of
                      SASRec's paper (Kang and McAuley, ICDM 2018).
    gbce              the same with the probability of the target raised to a power beta that undoes what drawing few
                      negatives does to it: gBCE of gSASRec (Petrov and Macdonald, RecSys 2023, arXiv 2308.07192); the
                      mean over target and negatives, as there. ``calibration`` is the paper's t: 0 gives bce, 1
                      probabilities that are calibrated.
    sampled-softmax   softmax over the target and ``negatives`` items drawn uniformly, without replacement, once a step
                      for all its targets (who leave themselves out), with the logQ correction: an estimate of the full
                      cross-entropy, and equal to it when all items are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from llmrec.sequence import checks

LOSSES = ("cross-entropy", "bce", "gbce", "sampled-softmax")

USUAL_NEGATIVES = {"cross-entropy": 0, "bce": 1, "gbce": 256, "sampled-softmax": 1024}
"""Negatives where none are given: one in SASRec's paper, 256 in gSASRec's."""

IN_CHUNKS = {
    "cpu": torch.nn.LinearCrossEntropyOptions(batch_chunk_size=256),  # 256 targets' logits stay in the cache
    "cuda": torch.nn.LinearCrossEntropyOptions(),  # torch's own choice of chunks
}
"""How many targets' logits stand in memory at once under full cross-entropy, by kind of device."""

ROWS_AT_ONCE = {"cpu": 2**15, "cuda": 2**22}
"""How many rows of the catalogue are gathered at once to be compared with states, by kind of device."""


@dataclass(frozen=True)
class Loss:
    """One loss with its negatives; called, it gives the mean over the targets."""

    name: str
    negatives: int
    calibration: float

    @property
    def draws(self) -> bool:
        """Whether it wants a generator: the stream "negatives" of the epoch."""
        return self.name != "cross-entropy"

    def __call__(
        self, states: Tensor, catalogue: Tensor, wanted: Tensor, rng: np.random.Generator | None = None
    ) -> Tensor:
        """Mean loss, a scalar. states [n, d], catalogue [n_items, d], wanted int64 [n]."""
        if rng is None:
            return F.linear_cross_entropy(states, catalogue, wanted, options=IN_CHUNKS.get(states.device.type))
        if self.name == "sampled-softmax":
            return _sampled_softmax(states, catalogue, wanted, self.negatives, rng)
        logits = _against_others(states, catalogue, wanted, self.negatives, rng)
        if self.name == "gbce":
            beta = gbce_power(self.negatives, len(catalogue), self.calibration)
            return (beta * F.softplus(-logits[:, 0]) + F.softplus(logits[:, 1:]).sum(1)).mean() / (self.negatives + 1)
        truth = torch.zeros_like(logits)
        truth[:, 0] = 1
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(1).mean()


def declared_loss(method: str, name: str, negatives: int | None, calibration: float) -> Loss:
    """The loss that a method's parameters ``loss``, ``negatives`` and ``calibration`` declare.

    ``negatives`` None: as many as are usual (`USUAL_NEGATIVES`).

    Raises:
        UserError: an unknown loss, or a parameter out of range.
    """
    checks.one_of(method, "loss", name, LOSSES)
    checks.at_least(method, 1, negatives=negatives)
    checks.share(method, calibration=calibration)
    return Loss(name, USUAL_NEGATIVES[name] if negatives is None else negatives, calibration)


def gbce_power(negatives: int, n_items: int, calibration: float) -> float:
    """The power beta of the target's probability: a (t (1 - 1/a) + 1/a), where a is the share of the other items that
    is drawn (at most 1) and t the calibration: gSASRec's."""
    drawn = min(1.0, negatives / max(n_items - 1, 1))
    return drawn * (calibration * (1 - 1 / drawn) + 1 / drawn)


def _against_others(
    states: Tensor, catalogue: Tensor, wanted: Tensor, negatives: int, rng: np.random.Generator
) -> Tensor:
    """Logits of each target (column 0) and of the items drawn for it, [n, 1 + negatives]."""
    n_items = len(catalogue)
    drawn = rng.integers(1, n_items, (len(wanted), negatives))
    others = (wanted[:, None] + torch.from_numpy(drawn).to(wanted.device)) % n_items  # [n, negatives]
    logits: Tensor = _Dots.apply(states, catalogue, torch.cat([wanted[:, None], others], 1))  # type: ignore[no-untyped-call]
    return logits


class _Dots(torch.autograd.Function):
    """Dot products of each state with some rows of the catalogue: [n, d], [n_items, d], ids [n, k] -> [n, k].

    What einsum over ``catalogue[ids]`` gives, in a few rows at a time: that array would hold n x k x d numbers, twice,
    and leave the processor's cache (half the time with 257 ids a row).
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, catalogue: Tensor, ids: Tensor) -> Tensor:
        ctx.save_for_backward(states, catalogue, ids)
        out = states.new_empty(ids.shape)
        for some in _chunks(ids):
            torch.bmm(_rows(catalogue, ids[some]), states[some, :, None], out=out[some, :, None])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (states, catalogue, ids), (gradient,) = ctx.saved_tensors, gradients
        of_states, of_catalogue = torch.empty_like(states), torch.zeros_like(catalogue)
        for some in _chunks(ids):
            torch.bmm(gradient[some, None], _rows(catalogue, ids[some]), out=of_states[some, None])
            outer = gradient[some, :, None] * states[some, None]  # [chunk, k, d]
            of_catalogue.index_add_(0, ids[some].flatten(), outer.flatten(0, 1))
        return of_states, of_catalogue, None


def _rows(catalogue: Tensor, ids: Tensor) -> Tensor:
    """catalogue[ids], in half the time."""
    return catalogue.index_select(0, ids.flatten()).view(*ids.shape, -1)


def _chunks(ids: Tensor) -> Iterator[slice]:
    """Slices of the rows of ids [n, k], each of about `ROWS_AT_ONCE` ids."""
    size = max(1, ROWS_AT_ONCE.get(ids.device.type, 2**20) // ids.shape[1])
    return (slice(start, start + size) for start in range(0, len(ids), size))


def _sampled_softmax(
    states: Tensor, catalogue: Tensor, wanted: Tensor, negatives: int, rng: np.random.Generator
) -> Tensor:
    """Mean of log(exp(s+) + n_items / k sum over the drawn exp(s-)) - s+, where k items are drawn for all targets.

    Each item is drawn with probability k / n_items: divided by it (the logQ correction), the sum over the drawn is an
    unbiased estimate of the sum over all. The target itself always stands in the sum, once: the drawn are without it.
    """
    n_items = len(catalogue)
    k = min(negatives, n_items)
    drawn = torch.from_numpy(rng.choice(n_items, k, replace=False)).to(wanted.device)  # [k]
    right = (states * catalogue[wanted]).sum(1, keepdim=True)  # [n, 1]
    wrong = states @ catalogue[drawn].T - math.log(k / n_items)  # [n, k]
    wrong = wrong.masked_fill(drawn == wanted[:, None], -math.inf)
    return (torch.cat([right, wrong], 1).logsumexp(1) - right.squeeze(1)).mean()
