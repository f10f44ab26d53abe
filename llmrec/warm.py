"""Before the clock starts: imports and first calls whose cost belongs to the machine, not to a method."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable

IMPORTED_FIRST = ("numpy", "scipy", "sklearn", "torch", "transformers", "implicit")
"""Packages whose modules are imported before the clock starts where the method's source names them. RecBole is not: its
adapter mends the libraries around it before it is imported."""


def worth_importing(names: Iterable[str]) -> list[str]:
    """Of the modules that a method's source names, those to import before the clock starts."""
    return sorted(name for name in names if name.split(".")[0] in IMPORTED_FIRST)


def import_first(modules: Iterable[str]) -> None:
    """Import modules; a name that is something inside a module, or a package that is not there, is passed over."""
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


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
