"""The steps of an epoch: each in parts that fit into memory, in bfloat16, by several processes, and on from a kill.

None of these changes what is learnt, beyond rounding. A step's gradient is that of the mean loss of all its targets,
however many parts it is computed in and however many processes share them (`llmrec.parallel`). Where an epoch takes
long, a checkpoint is written within it, too: a killed run goes on with the next step and ends, on a CPU, with the
weights of an undisturbed one.
"""

from __future__ import annotations

import dataclasses
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmrec.parallel import processes

if TYPE_CHECKING:
    from pathlib import Path

    from llmrec.context import Context
    from llmrec.types import Int64

SAVE_EVERY = 300.0  # seconds between two checkpoints of one epoch

Step = Sequence["Int64"]
"""The parts of a step, each computed at once: arrays whose first axis are the rows that processes share."""


def of_this_process(ctx: Context) -> Context:
    """What one of several processes is lent: a folder of its own. To be called before anything goes to a device: from
    here on "cuda" is this process's own."""
    return dataclasses.replace(ctx, folder=processes().folder(ctx.folder))


@dataclass(frozen=True)
class Descent:
    """How a model goes down a loss.

    Args:
        rate: sets the optimiser's learning rates, given the epochs done, a fraction included.
        loss: the mean loss of the targets of some rows.
        targets: how many targets some rows have.
        mixed: matrix products in bfloat16 while training (autocast); weights, sums and the optimiser stay in float32.
    """

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    ctx: Context
    rate: Callable[[float], None]
    loss: Callable[[Int64], Tensor]
    targets: Callable[[Int64], int]
    mixed: bool = False

    def epoch(self, epoch: int, steps: Sequence[Step]) -> float:
        """Take an epoch's steps; the mean loss of a target.

        Raises:
            MethodError: processes that train together begin different epochs.
        """
        together = processes()
        together.begin(epoch, self.ctx.seed_for("dropout", epoch), self.ctx.device)
        path = self.ctx.folder / "steps.pt" if self.ctx.folder and together.count == 1 else None
        begin, total, count = self._resume(path, epoch)
        wanted = [p for p in self.model.parameters() if p.requires_grad]
        saved = time.monotonic()
        for i in range(begin, len(steps)):
            self.rate(epoch + i / len(steps))
            whole = sum(self.targets(rows) for rows in steps[i])
            own = 0.0
            for rows in steps[i]:
                own += self._part(together.share(rows), whole)
            total += together.add_up(self.model, own)
            count += whole
            torch.nn.utils.clip_grad_norm_(wanted, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            if path and time.monotonic() - saved > SAVE_EVERY:
                self._save(path, {"epoch": epoch, "steps": i + 1, "total": total, "count": count})
                saved = time.monotonic()
        if path:
            path.unlink(missing_ok=True)
        return total / max(count, 1)

    def _part(self, rows: Int64, whole: int) -> float:
        """Add the gradient of some rows of a step of ``whole`` targets; their summed loss."""
        if not len(rows):
            return 0.0
        n = self.targets(rows)
        with torch.autocast(torch.device(self.ctx.device).type, torch.bfloat16, enabled=self.mixed):
            loss = self.loss(rows)
        torch.autograd.backward(loss * (n / max(whole, 1)))
        return loss.item() * n

    def _save(self, path: Path, place: dict[str, Any]) -> None:
        state = {**place, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        state["random"] = torch.get_rng_state()  # of dropout
        if torch.cuda.is_available():
            state["random of cuda"] = torch.cuda.get_rng_state()
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def _resume(self, path: Path | None, epoch: int) -> tuple[int, float, int]:
        """Steps done of this epoch, their summed loss and targets; none where nothing was kept of this epoch."""
        if path is None or not path.exists():
            return 0, 0.0, 0
        try:
            saved = torch.load(path, map_location=self.ctx.device, weights_only=True)
            if saved["epoch"] != epoch:
                return 0, 0.0, 0
            begun = {name: weight.clone() for name, weight in self.model.state_dict().items()}
            try:
                self.model.load_state_dict(saved["model"])
                self.optimizer.load_state_dict(saved["optimizer"])
            except (RuntimeError, ValueError, KeyError):
                self.model.load_state_dict(begun)
                raise
            torch.set_rng_state(saved["random"].cpu())
            if "random of cuda" in saved and torch.cuda.is_available():
                torch.cuda.set_rng_state(saved["random of cuda"].cpu())
            place = int(saved["steps"]), float(saved["total"]), int(saved["count"])
        except (RuntimeError, ValueError, KeyError, TypeError, EOFError, OSError, pickle.UnpicklingError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self.ctx.log("fit", note=f"{path.name} is ignored, the epoch starts anew: {reason}")
            return 0, 0.0, 0
        self.ctx.log("fit", note=f"on from step {place[0] + 1} of epoch {epoch + 1}")
        return place
