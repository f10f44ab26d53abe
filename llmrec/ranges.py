"""Numbers that a parameter cannot have, refused before anything is run.

A search space is narrower than what is allowed, but it says of what kind a number is: where no searched value is below
0, none is allowed; where none of a whole number's is below 1, it counts something. Names that mean the same in every
method say the rest. What only the method knows (a width that its heads divide), it checks itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llmrec.discover import Parameter
from llmrec.errors import UserError

COUNTS = ("epochs", "patience", "batch_size", "validate_every")
"""Fields that no method can use at 0, searched or not."""

EXPECTED: dict[str, tuple[str, Callable[[float], bool]]] = {
    "learning_rate": ("a number above 0", lambda value: value > 0),
    "dropout": ("0 or more and below 1", lambda value: 0 <= value < 1),
    "share": ("a number above 0 and at most 1", lambda value: 0 < value <= 1),
    "decay": ("0 to 1", lambda value: 0 <= value <= 1),
    "b": ("0 to 1", lambda value: 0 <= value <= 1),
    "relaxed": ("0 or more and below 1", lambda value: 0 <= value < 1),
}
"""Fields by name -> what is expected, and whether a value is that."""


def check_range(key: str, value: Any, parameter: Parameter, where: str) -> None:
    """Whether a method's field can have this value; what is no number is let be.

    Raises:
        UserError: it cannot; ``where`` begins the message.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if not math.isfinite(value):
        expected, fits = "a finite number", False
    elif key in EXPECTED:
        expected, test = EXPECTED[key]
        fits = test(value)
    else:
        least = _least(key, parameter)
        expected, fits = f"{least} or more", least is None or value >= least
    if not fits:
        raise UserError(f"{where}: parameter {key!r}: {value} is out of range: expected {expected}.")


def _least(key: str, parameter: Parameter) -> int | None:
    """The smallest number allowed, or None where the field does not say."""
    if key in COUNTS:
        return 1
    tune = parameter.tune or {}
    searched = [tune.get("low"), *(tune.get("choices") or ())]
    numbers = [x for x in searched if isinstance(x, int | float) and not isinstance(x, bool)]
    if not numbers or min(numbers) < 0:
        return None
    return 1 if parameter.annotation.startswith("int") and min(numbers) >= 1 else 0
