"""llmrec: when does a language model recommend better than collaborative filtering, and at what cost?

import llmrec
spec = llmrec.RunSpec(dataset="ml-100k", method="ease", params={"l2": 500.0})
record = llmrec.run(spec)                     # one run in a child process; read back if it is there already
table = llmrec.load_results("quickstart")     # a tidy polars.DataFrame
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmrec.method import tune
    from llmrec.records import Protocol, Record, RunSpec
    from llmrec.results import load_results
    from llmrec.runner import run

__all__ = ["Protocol", "Record", "RunSpec", "load_results", "run", "tune"]

_HOME = {
    "Protocol": "records", "Record": "records", "RunSpec": "records", "load_results": "results", "run": "runner",
    "tune": "method",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what is asked for and nothing else: `import llmrec` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'llmrec' has no attribute {name!r}")
    return getattr(importlib.import_module(f"llmrec.{_HOME[name]}"), name)
