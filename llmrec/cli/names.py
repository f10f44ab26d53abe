"""How the command line names a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmrec.records import Record


def run_name(record: Record) -> str:
    """Its id, dataset, fold, method and seed in one line."""
    spec = record.spec
    fold = f" fold {spec.protocol.fold}" if spec.protocol.fold else ""
    return f"{record.run_id}  {spec.dataset}{fold}  {spec.method}  seed {spec.seed}"
