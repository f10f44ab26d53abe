"""Data-parallel training: every process computes a share of each step, and their gradients are summed.

A script started by ``accelerate launch`` (or anything else that sets WORLD_SIZE, RANK and MASTER_ADDR) trains so: each
process does the same run, meets the same steps in the same order and computes its share of their groups. The model is
not wrapped; one sum a step over the processes keeps their weights equal, to gloo's or NCCL's rounding, so the loss
curve is that of one process with the same ``batch_size``. Dropout is drawn by each process for itself.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from llmrec.errors import MethodError, Skip

if TYPE_CHECKING:
    from llmrec.types import Int64


@dataclass(frozen=True)
class Processes:
    """The processes that train together, and which of them this is."""

    rank: int = 0
    count: int = 1

    def share(self, rows: Int64) -> Int64:
        """This process's rows of a step; none where there are fewer rows than processes."""
        return rows[self.rank :: self.count]

    def add_up(self, model: torch.nn.Module, loss: float) -> float:
        """Sum every gradient over the processes, in place, and the loss, which is returned."""
        if self.count == 1:
            return loss
        trained = [p for p in model.parameters() if p.requires_grad]
        parts = [(torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in trained]
        total = _sum(torch.cat([*parts, parts[0].new_tensor([loss])]))
        for parameter, part in zip(trained, total[:-1].split([p.numel() for p in trained]), strict=True):
            parameter.grad = part.view_as(parameter).to(parameter.dtype).clone()
        return float(total[-1])

    def begin(self, epoch: int, dropout: int, device: str) -> None:
        """Let each process draw its own dropout from ``dropout`` on, the seed of the epoch.

        Raises:
            MethodError: the processes were resumed at different epochs.
        """
        if self.count == 1:
            return
        torch.manual_seed(dropout + self.rank)
        if float(_sum(torch.tensor([float(epoch)], device=device))) != epoch * self.count:
            raise MethodError(
                f"process {self.rank} begins epoch {epoch + 1} and others do not: a kill came between their "
                "checkpoints. Delete the run's checkpoints and start anew."
            )

    def folder(self, whole: Path | None) -> Path | None:
        """Where this process keeps its checkpoints: the first in the run's own folder, the others below it."""
        if whole is None or self.rank == 0:
            return whole
        own = whole / f"process-{self.rank}"
        own.mkdir(parents=True, exist_ok=True)
        return own


def processes() -> Processes:
    """The processes of this launch; one where there was none. From here on the device "cuda" is this process's own.

    Raises:
        Skip: several were launched and the package accelerate is missing.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or not {"RANK", "MASTER_ADDR"} <= set(os.environ):
        return Processes()
    try:
        from accelerate import PartialState  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise Skip("training in several processes needs the package accelerate: pip install accelerate") from None
    state = PartialState(cpu=not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes)


def _sum(numbers: torch.Tensor) -> torch.Tensor:
    from accelerate.utils import reduce  # type: ignore[import-untyped]

    total: Any = reduce(numbers, "sum")
    summed: torch.Tensor = total
    return summed
