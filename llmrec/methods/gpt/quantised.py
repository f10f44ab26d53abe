"""Another method after its training in fewer bits: what compression costs in quality, and what it gains in speed.

The part, a method that scores items, is fitted as it is; then the linear layers of its networks are quantised
(`llmrec.lm.quantised` says how) and it answers. A row of this method beside one of the part's, under the same seed,
differs in nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from llmrec.errors import UserError
from llmrec.lm.quantised import check_scheme, quantise_layers
from llmrec.parts import fit_part, read_part

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users


@dataclass
class Quantised:
    """A method whose networks answer with weights of 8 or 4 bits, after a training as it always is."""

    family: ClassVar[str] = "gpt"
    early_stops: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {
        "of": {"method": "gpt-item-id", "params": {"epochs": 20, "width": 32, "learning_rate": 5e-3}}
    }

    of: dict[str, Any] = field(default_factory=lambda: {"method": "gpt-item-id"})
    scheme: str = "int8"  # or "int8-weights", "int4-weights"

    def __post_init__(self) -> None:
        check_scheme(self.scheme, "quantised: scheme")
        self.part = read_part(self.of, "quantised: parameter 'of'", ("score",))

    def fit(self, split: Split, ctx: Context) -> None:
        """
        Raises:
            UserError: the part has no network with linear layers.
        """
        self.fitted = fit_part(self.part, "of", split, ctx)
        ctx.chosen_epochs = ctx.counts.get("of_epochs", 1)
        self.networks = nn.ModuleList(value for value in vars(self.fitted).values() if isinstance(value, nn.Module))
        layers = sum(quantise_layers(network, self.scheme) for network in self.networks)
        if not layers:
            raise UserError(f"quantised: {self.part.name!r} has no network with linear layers to quantise.")
        ctx.counts["quantised_layers"] = layers

    def score(self, users: Users) -> Floats:
        scores: Floats = self.fitted.score(users)
        return scores
