"""Before the clock starts: imports and first calls whose cost belongs to the machine, not to a method."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable

from llmrec.errors import UserError

IMPORTED_FIRST = ("numpy", "scipy", "sklearn", "torch", "transformers", "implicit", "recbole", "surprise")
"""Packages whose modules are imported before the clock starts where the method's source names them."""


def worth_importing(names: Iterable[str]) -> list[str]:
    """Of the modules that a method's source names, those to import before the clock starts."""
    return sorted(name for name in names if name.split(".")[0] in IMPORTED_FIRST)


def import_first(modules: Iterable[str]) -> None:
    """Import modules; a name that is something inside a module, or a package that is not there, is passed over."""
    names = list(modules)
    if any(name.startswith("recbole") for name in names):
        with contextlib.suppress(ImportError, UserError):  # the adapter says so itself
            _import_recbole()
    for name in names:
        if not name.startswith("recbole"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def _import_recbole() -> None:
    """RecBole can be imported only while the libraries around it are mended."""
    from llmrec.recbole_mend import mended

    with mended():
        for name in ("model.general_recommender", "model.sequential_recommender", "trainer", "data.utils"):
            importlib.import_module(f"recbole.{name}")


def wake_torch(device: str, threads: int) -> None:
    """Set torch to deterministic, with the run's number of threads, and call it once forwards and backwards."""
    try:
        import torch
    except ImportError:
        return  # the method says so itself
    torch.set_num_threads(threads)
    # warn_only: some operations have no deterministic form on a GPU; `llmrec verify` then says what the run is worth.
    torch.use_deterministic_algorithms(True, warn_only=True)
    weights = torch.ones(64, 64, device=device, requires_grad=True)
    torch.autograd.backward((weights @ weights).sum())
