"""Before the clock starts: imports and first calls whose cost belongs to the machine, not to a method."""

from __future__ import annotations

import contextlib
import importlib

from llmrec.discover import MethodFile
from llmrec.provenance import needs_torch
from llmrec.sources import packages

IMPORTED_FIRST = ("numpy", "scipy", "sklearn", "torch", "transformers", "implicit")
"""Packages whose modules are imported before the clock starts where the method's source names them. RecBole is not: its
adapter mends the libraries around it before it is imported."""


def warm_up(file: MethodFile, device: str, threads: int) -> None:
    """Import what the method's source names and, if that is torch, set it to deterministic and wake it up."""
    for name in sorted(packages(file.path)):
        if name.split(".")[0] in IMPORTED_FIRST:
            with contextlib.suppress(ImportError):  # a name inside a module, or a package that is not there
                importlib.import_module(name)
    if needs_torch(file):
        _wake_torch(device, threads)


def _wake_torch(device: str, threads: int) -> None:
    try:
        import torch
    except ImportError:
        return  # the method says so itself
    torch.set_num_threads(threads)
    # warn_only: some operations have no deterministic form on a GPU; `llmrec verify` then says what the run is worth.
    torch.use_deterministic_algorithms(True, warn_only=True)
    weights = torch.ones(64, 64, device=device, requires_grad=True)
    torch.autograd.backward((weights @ weights).sum())
