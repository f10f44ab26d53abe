"""What the harness lends a method while it fits: random streams, device, item texts, log, validation, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.seeds import axis_rng, axis_seed

if TYPE_CHECKING:
    import numpy as np

    from llmrec.types import Floats, Items


def _silent(event: dict[str, Any]) -> None:
    pass


@dataclass
class Context:
    """One run's surroundings. ``items`` carries the split's item ids.

    ``validate`` answers the validation users with the method as it stands and returns its metrics
    ({"ndcg@10": ..., "recall@10": ...}), of which ``watched`` decides. It is None when nothing is left to validate on
    (``fit_data = "train+valid"``), and then ``epochs`` says for how many epochs to train: the number chosen before.
    """

    seed: int
    items: Items
    device: str = "cpu"
    folder: Path | None = None  # checkpoints; None: do not write any
    validate: Callable[[Any], dict[str, float]] | None = None
    epochs: int | None = None
    watched: str = "ndcg@10"  # the task's primary metric
    better: int = 1  # 1: higher is better, -1: lower is
    emit: Callable[[dict[str, Any]], None] = _silent
    used_axes: dict[str, int] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)  # pretrained model name -> revision or content hash
    chosen_epochs: int | None = None  # set by training with early stopping

    def seed_for(self, axis: str, step: int = 0) -> int:
        """The seed of one random stream ('initialisation', 'order', 'dropout', 'negatives', 'sampling', ...)."""
        value = axis_seed(self.seed, axis, step)
        self.used_axes.setdefault(axis, axis_seed(self.seed, axis))
        return value

    def rng(self, axis: str, step: int = 0) -> np.random.Generator:
        """A NumPy generator for one stream; ``step`` (e.g. the epoch) gives a stream that a resumed run finds again."""
        self.seed_for(axis)
        return axis_rng(self.seed, axis, step)

    def log(self, stage: str, **values: float | int | str) -> None:
        """Report progress, ``ctx.log("fit", epoch=3, epochs=50, loss=1.2)``, to live line and learning curve."""
        self.emit({"stage": stage, **values})

    def item_embeddings(self, encoder: str = "all-MiniLM-L6-v2") -> Floats:
        """Unit-length text embeddings of the items by a pretrained encoder, float32 [n_items, d], cached on disk."""
        from llmrec.encode import embed_texts

        vectors, revision = embed_texts(self.items.texts, encoder, device=self.device)
        self.models[encoder] = revision
        return vectors
