"""RecBole's own trainer, but that it validates through the harness, keeps its best weights and can be resumed.

RecBole draws from the global generators of Python, NumPy and torch. They are seeded anew before every epoch, so that an
epoch depends on the run's seed and its own number only: a killed run, resumed, ends with the figures of an undisturbed
one.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmrec.context import Context


def seed_all(seed: int) -> None:
    """Seed every random stream that RecBole draws from."""
    from recbole.utils import init_seed

    init_seed(seed % 2**32, reproducibility=True)


def make_trainer(method: Any, config: Any, net: Any, data: Any, ctx: Context, *, final: bool) -> Any:
    """The trainer that RecBole has for the model of ``config``; its ``run()`` trains ``net`` in place.

    ``method`` is what the harness validates. ``final``: False for the stages before a model's last, which RecBole
    trains for a fixed number of epochs, without validation.
    """
    import torch
    from recbole.utils import get_trainer

    base: Any = get_trainer(config["MODEL_TYPE"], config["model"])

    class Trainer(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(config, net)
            self.tot_item_num = data._dataset.item_num  # what RecBole's scoring of all items reads
            self.item_tensor = data._dataset.get_item_feature().to(self.device)
            self.best: tuple[Any, Any] | None = None  # state dict, other parameters
            self.best_epoch = self.epochs
            # One epoch (all of a counting model's) is not worth a file, nor a copy of its weights.
            self.keeps = final and self.epochs > 1
            self.file: Any = ctx.folder / "checkpoint.pt" if ctx.folder and self.keeps else None

        def run(self) -> None:
            if self.file is not None and self.file.exists():
                self._resume()
            self.began, self.first = time.monotonic(), self.start_epoch
            self.fit(data, valid_data=ctx.validate, verbose=False, saved=final)
            if self.best is not None:
                self.model.load_state_dict(self.best[0])
                self.model.load_other_parameter(self.best[1])
            if final:
                ctx.chosen_epochs = self.best_epoch

        def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
            if self.file is not None and epoch_idx > self.first:
                self._write_state(epoch_idx)
            seed = ctx.seed_for("order", epoch_idx)
            seed_all(seed)
            train_data.generator.manual_seed(seed)
            self.epoch = epoch_idx
            loss = super()._train_epoch(train_data, epoch_idx, *args, **kwargs)
            if not (final and ctx.validate):
                self._log(sum(loss) if isinstance(loss, tuple) else loss)
            return loss

        def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> tuple[float, dict[str, float]]:
            metrics = valid_data(method)
            if metrics[ctx.watched] >= self.best_valid_score:  # RecBole's rule: the later of two equals
                self.best_epoch = self.epoch + 1
            self._log(self.train_loss_dict[self.epoch], **{ctx.watched: metrics[ctx.watched]})
            return metrics[ctx.watched], metrics

        def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
            """RecBole writes the best epoch to a file that it reads again; here it stays in memory."""
            if self.keeps and ctx.validate:
                self.best = copy.deepcopy((self.model.state_dict(), self._beside_state()))

        def _beside_state(self) -> dict[str, Any]:
            """What the model needs beside its state dict. DIN, FDSA and others name whole layers here, which stand in
            it already and would drag the dataset along."""
            named = self.model.other_parameter()
            return {name: value for name, value in named.items() if not isinstance(value, torch.nn.Module)}

        def _log(self, loss: float, **metrics: float) -> None:
            epochs = self.epochs if final else self.pretrain_epochs
            left = (time.monotonic() - self.began) / (self.epoch + 1 - self.first) * (epochs - self.epoch - 1)
            values = {"epoch": self.epoch + 1, "epochs": epochs, "loss": loss / len(data), **metrics}
            ctx.log("fit" if final else "pretrain", **values, left_s=round(left, 1))

        def _optimizers(self) -> dict[str, Any]:
            """By name, each once: RecVAE's ``optimizer`` is now its encoder's, now its decoder's."""
            found = {name: value for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}
            others = [value for name, value in found.items() if name != "optimizer"]
            return {name: o for name, o in found.items() if name != "optimizer" or all(o is not x for x in others)}

        def _write_state(self, epoch: int) -> None:
            """All that the epochs from ``epoch`` on depend on, but for their random streams."""
            state = {
                "epoch": epoch,
                "model": self.model.state_dict(),
                "plain": {name: _plain(module) for name, module in self.model.named_modules()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers().items()},
                "best": self.best,
                "stopping": (self.cur_step, float(self.best_valid_score), self.best_epoch),
            }
            partial = self.file.with_suffix(".partial")
            torch.save(state, partial)
            partial.replace(self.file)

        def _resume(self) -> None:
            state = torch.load(self.file, map_location=self.device, weights_only=True)
            self.start_epoch, self.best = state["epoch"], state["best"]
            self.cur_step, self.best_valid_score, self.best_epoch = state["stopping"]
            self.model.load_state_dict(state["model"])
            for name, module in self.model.named_modules():
                vars(module).update(state["plain"][name])
            for name, optimizer_state in state["optimizers"].items():
                getattr(self, name).load_state_dict(optimizer_state)
            ctx.log("fit", resumed_at=self.start_epoch, epochs=self.epochs)

    return Trainer()


def _plain(module: Any) -> dict[str, Any]:
    """Counters and tables that RecBole's models keep beside their state dict."""
    import torch

    def kept(value: Any) -> bool:
        if isinstance(value, torch.Tensor):
            return value.layout == torch.strided and not value.requires_grad
        return type(value) in (int, float)

    return {name: value for name, value in vars(module).items() if kept(value)}
