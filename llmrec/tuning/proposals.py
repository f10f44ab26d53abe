"""Which parameters a trial has: a function of the study's seed, the trial's number and the trials before it.

Trial 0 has the defaults. The next are drawn at random, so that they need not wait for one another; from trial STARTUP
on, Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011) looks at all trials before. Each trial has
a sampler of its own, seeded by the trial's number: a study that was killed proposes what an undisturbed one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from llmrec.discover import Parameter
from llmrec.errors import UserError
from llmrec.seeds import axis_seed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

STARTUP = 10
"""Trials before the estimator has enough to go by; Optuna's own number."""

DIGITS = 4
"""Significant digits of a proposed float: what a paper can print is what was run."""


def distributions(space: dict[str, Parameter], where: str) -> dict[str, BaseDistribution]:
    """Optuna's words for a method's fields.

    Raises:
        UserError: a space that cannot be read without importing the file, or whose default lies outside.
    """
    found = {}
    for name, parameter in space.items():
        try:
            found[name] = _distribution(parameter)
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: field {name!r}: its search space cannot be used: {error}.") from None
        if not parameter.known or not _holds(found[name], parameter.default):
            raise UserError(f"{where}: field {name!r}: its default {parameter.source} is outside its search space.")
    return found


def propose(
    space: dict[str, BaseDistribution], earlier: Sequence[FrozenTrial], number: int, seed: int, better: int
) -> dict[str, Any]:
    """The parameters of trial ``number`` >= 1. ``earlier``: all trials before it, all ended, in their order."""
    import optuna

    own = axis_seed(seed, "proposal", number) % 2**32
    random = number < STARTUP
    sampler: optuna.samplers.BaseSampler = (
        optuna.samplers.RandomSampler(seed=own) if random else optuna.samplers.TPESampler(seed=own, n_startup_trials=1)
    )
    scratch = optuna.create_study(sampler=sampler, direction=direction(better))
    if not random:
        scratch.add_trials(earlier)
    drawn = scratch.ask(space).params
    return {name: _rounded(value, space[name]) for name, value in drawn.items()}


def direction(better: int) -> Literal["minimize", "maximize"]:
    """Optuna's word for a task's sense."""
    return "maximize" if better > 0 else "minimize"


def _distribution(parameter: Parameter) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    tune = parameter.tune or {}
    if tune.get("choices") is not None:
        for choice in tune["choices"]:
            if not isinstance(choice, str | int | float | bool | None):
                raise TypeError(f"choice {choice!r} is no plain value")
        return CategoricalDistribution(tune["choices"])
    if "low" not in tune or "high" not in tune:
        raise ValueError("its bounds or choices must be written out in tune(...), or as constants of the file itself")
    low, high, log = tune["low"], tune["high"], bool(tune.get("log", False))
    if parameter.annotation.startswith("int"):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _holds(distribution: BaseDistribution, value: Any) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (ValueError, TypeError):
        return False


def _rounded(value: Any, distribution: BaseDistribution) -> Any:
    from optuna.distributions import FloatDistribution

    if not isinstance(distribution, FloatDistribution):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), distribution.low), distribution.high)
