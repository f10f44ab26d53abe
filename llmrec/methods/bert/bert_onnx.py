"""A method whose item texts are read by ONNX Runtime in place of PyTorch, in float32 or in 8 bits: what the faster
reading costs in quality.

Nothing else differs from the part's own row: the vectors that a frozen encoder gives of items and requests come from
`llmrec.bert.onnx`. A part that trains its encoder (bert-contrastive below depth "frozen", bert-crossencoder) reads
through PyTorch as it always does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from llmrec.bert.onnx import check_precision, embed_texts
from llmrec.context import Context
from llmrec.errors import UserError
from llmrec.parts import fit_part, read_part

if TYPE_CHECKING:
    from llmrec.types import Floats, Int32, Split, Users


@dataclass
class OnnxContext(Context):
    """A context whose encoders run in ONNX Runtime."""

    precision: str = "int8"

    def _embed(self, texts: Sequence[str], encoder: str) -> Floats:
        vectors, self.models[encoder] = embed_texts(texts, encoder, self.precision)
        return vectors


@dataclass
class BertOnnx:
    """A method that compares texts, its encoder run by ONNX Runtime in float32 or int8."""

    family: ClassVar[str] = "bert"
    seeded: ClassVar[bool] = False  # of itself; a run is seeded where its part is
    early_stops: ClassVar[bool] = True
    needs_text: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("onnxruntime", "onnx")
    quick: ClassVar[dict[str, Any]] = {"precision": "float32"}

    of: dict[str, Any] = field(default_factory=lambda: {"method": "bert-biencoder"})
    precision: str = "int8"  # or "float32"

    def __post_init__(self) -> None:
        check_precision(self.precision, "bert-onnx: precision")
        self.part = read_part(self.of, "bert-onnx: parameter 'of'", ("score", "search"))

    def fit(self, split: Split, ctx: Context) -> None:
        """
        Raises:
            UserError: no such encoder, or one that is refused.
        """
        lent = {one.name: getattr(ctx, one.name) for one in fields(Context)}  # counts and models are shared
        own = OnnxContext(**lent, precision=self.precision)
        self.fitted = fit_part(self.part, "of", split, own)
        ctx.chosen_epochs = ctx.counts.get("of_epochs", 1)

    def score(self, users: Users) -> Floats:
        scores: Floats = self.fitted.score(users)
        return scores

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        """
        Raises:
            UserError: the part does not answer requests.
        """
        if not callable(getattr(self.fitted, "search", None)):
            raise UserError(f"bert-onnx: {self.part.name!r} does not answer requests.")
        found: tuple[Int32, Floats] = self.fitted.search(texts, k)
        return found
