"""Methods as parts of another method: a parameter ``{method = "ease", params = { l2 = 200 }}`` names one.

A part is made and fitted in the process of the method that holds it, on the same split, from the same seed. Its
learning curve is told in words, for a record's curve is that of the whole. What it costs counts in the whole's cost
and, in milliseconds of CPU time, by itself: ``first_fit_cpu_ms`` among the record's counts.
"""

from __future__ import annotations

import dataclasses
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.discover import MethodFile, arguments, find_methods, import_method, method_file
from llmrec.errors import MethodError, Skip, UserError, nearest

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Split, Users


@dataclass(frozen=True)
class Part:
    """A part as a parameter names it."""

    name: str  # of its method
    file: MethodFile
    params: dict[str, Any]

    def make(self) -> Any:
        """The part, not yet fitted.

        Raises:
            UserError: a parameter out of its range. MethodError: its file raises when it is imported.
        """
        return import_method(self.file)(**arguments(self.name, self.params))

    def require(self, where: str, verbs: tuple[str, ...]) -> None:
        """
        Raises:
            UserError: it has none of these verbs.
        """
        if not set(self.file.verbs) & set(verbs):
            raise UserError(
                f"{where}: {self.name!r} answers another task: {' or '.join(verbs)} is wanted, and it has "
                f"{', '.join(self.file.verbs) or 'nothing'}."
            )


def read_part(spec: Any, where: str, verbs: tuple[str, ...], also: tuple[str, ...] = ()) -> Part:
    """The part that a parameter names.

    Args:
        where: what begins a message: ``"hybrid-fusion: parameter 'first'"``.
        verbs: those of which the part needs one.
        also: keys that the parameter may have beside ``method`` and ``params``.

    Raises:
        UserError: it is no such table, or names an unknown method or parameter, or a method that cannot be asked so.
    """
    if not isinstance(spec, dict) or not isinstance(spec.get("method"), str):
        raise UserError(f"{where}: expected {{ method = 'a name', params = {{ ... }} }}, found {spec!r}.")
    known = {"method", "params", *also}
    if odd := sorted(set(spec) - known):
        raise UserError(f"{where}: unknown key {odd[0]!r}.{nearest(odd[0], known)}")
    name, params = spec["method"], spec.get("params", {})
    try:
        file = method_file(name, find_methods())
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    part = Part(name, file, params)
    part.require(where, verbs)
    if odd := sorted(set(params) - set(file.params)):
        raise UserError(f"{where} ({name!r}): unknown parameter {odd[0]!r}.{nearest(odd[0], file.params)}")
    return part


def fit_part(part: Part, role: str, split: Split, ctx: Context) -> Any:
    """The part, fitted. ``role`` ("first") names its checkpoints, its events and its counts.

    A part that stops early does so by the validation of the whole. Where nothing is left to validate on, it trains for
    the epochs that it chose in the fit before (the counts ``first_epochs``), which the contexts of both fits share.
    What a part counts itself stands under its role.

    Raises:
        MethodError: the part broke the contract. Skip: it knows users only from training, and unseen ones are asked.
    """
    method = part.make()
    if split.given and not getattr(method, "folds_in", True):
        raise Skip(f"{part.name} knows users only from training (folds_in = False), and this protocol asks unseen ones")
    own = {key.removeprefix(f"{role}_"): n for key, n in ctx.counts.items() if key.startswith(f"{role}_")}
    stage = dataclasses.replace(ctx, emit=_noted(ctx, role, part.name), chosen_epochs=None, counts=own)
    if ctx.folder:
        stage.folder = ctx.folder / role
        stage.folder.mkdir(parents=True, exist_ok=True)
    if ctx.validate is None:
        stage.epochs = own.get("epochs", ctx.epochs)
    before = _cpu_seconds()
    method.fit(split, stage)
    own["fit_cpu_ms"] = round(1000 * (_cpu_seconds() - before))
    if ctx.validate is not None and part.file.early_stops:
        if stage.chosen_epochs is None:
            raise MethodError(f"{part.name}: early_stops = True, but fit() did not set ctx.chosen_epochs.")
        own["epochs"] = stage.chosen_epochs
    ctx.counts.update({f"{role}_{key}": n for key, n in own.items()})
    return method


def scores_of(method: Any, users: Users) -> Floats:
    """A part's scores as an array of its own, float64 [b, n_items]; a sparse matrix is filled up with zeros."""
    scores = method.score(users)
    return np.array(scores.toarray() if hasattr(scores, "toarray") else scores, dtype=np.float64)


def _noted(ctx: Context, role: str, name: str) -> Any:
    """Takes a part's events as words: its epochs are none of the whole's."""

    def emit(event: dict[str, Any]) -> None:
        told = {k: v for k, v in event.items() if k not in ("stage", "part", "note")}
        words = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items())
        stage = event.get("stage", "fit")
        note = {"note": event["note"]} if "note" in event else {}
        ctx.emit({"stage": stage if stage == "warning" else f"{stage} {role} ({name})  {words}", **note})

    return emit


def _cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)
