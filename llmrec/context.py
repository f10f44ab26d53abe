"""What the harness lends a method while it fits: random streams, device, item texts, log, validation, checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.seeds import axis_rng, axis_seed

if TYPE_CHECKING:
    import numpy as np

    from llmrec.types import Bools, Floats, Items


log = logging.getLogger(__name__)

WORTH_A_WARNING = 0.05
"""Share of tokens that an encoder may not know before it is worth a warning."""


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
    counts: dict[str, int] = field(default_factory=dict)  # what the record should count besides the task's own

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

    def item_embeddings(self, encoder: str = "all-MiniLM-L6-v2", only: Bools | None = None) -> Floats:
        """Unit-length text embeddings of the items by a pretrained encoder, float32 [n_items, d], cached on disk.

        Args:
            only: bool [n_items]: the items whose texts are read; the others' rows are zero.
        """
        import numpy as np

        texts = self.items.texts
        chosen = np.arange(len(texts)) if only is None else np.flatnonzero(only)
        read = [texts[item] for item in chosen]
        self._count_unknown("items", read, encoder)
        vectors = self._embed(read, encoder)
        out = np.zeros((len(texts), vectors.shape[1]), vectors.dtype)
        out[chosen] = vectors
        return out

    def request_embeddings(self, texts: Sequence[str], encoder: str = "all-MiniLM-L6-v2") -> Floats:
        """Unit-length embeddings of requests in words, float32 [len(texts), d], cached on disk."""
        self._count_unknown("requests", texts, encoder)
        return self._embed(texts, encoder)

    def _embed(self, texts: Sequence[str], encoder: str) -> Floats:
        from llmrec.encode import cut_texts, embed_texts

        vectors, self.models[encoder] = embed_texts(texts, encoder, device=self.device)
        if cut := cut_texts(texts, encoder):
            self.counts["texts_cut"] = self.counts.get("texts_cut", 0) + cut
        return vectors

    def _count_unknown(self, what: str, texts: Sequence[str], encoder: str) -> None:
        """Warn where the encoder's tokenizer does not know the script; keep the counts for the record."""
        from llmrec.encode import unknown_tokens

        tokens, unknown = unknown_tokens(texts, encoder)
        if unknown <= WORTH_A_WARNING * tokens:
            return
        before = self.counts.get(f"tokens_{what}", 0)
        self.counts[f"tokens_{what}"] = before + tokens
        self.counts[f"unknown_tokens_{what}"] = self.counts.get(f"unknown_tokens_{what}", 0) + unknown
        if not before:  # requests come in batches: once is enough
            said = f"{encoder} does not know {unknown / tokens:.0%} of the tokens of the {what}' texts"
            log.warning("%s: it reads little of this language", said)
            self.log("warning", note=said)
