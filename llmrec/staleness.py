"""Whether a record is still what the code as it stands would give.

Stale is decided by what can change a figure: the dataset's card and reader, a private dataset's files, the table of
words that requests are said in, the split, the method's file and the llmrec modules that it imports, and the
evaluation. (Protocol, parameters and seed are the run's id; numeric libraries are its machine class.) The command line,
the report, documentation, the lock and the commit are recorded and decide nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from llmrec.beside import local_files, word_table
from llmrec.cardfiles import DESCRIPTIVE, raw_card, readers
from llmrec.discover import MethodFile
from llmrec.records import Record, Status, TaskName
from llmrec.seeds import content_hash
from llmrec.sources import closure, meaning_hash, module_file

State = Literal["missing", "fresh", "stale", "stale evaluation", "failed", "undone"]
"""fresh: ok and up to date · stale: ok, but the code has changed · stale evaluation: `llmrec reeval` mends it ·
failed: failed, oom or timeout · undone: interrupted, or skipped for want of a package · missing: no record."""


def code_fingerprint(file: MethodFile, dataset: str, task: TaskName = "topn") -> str:
    """Hash of all source that shapes the answers of a method on a dataset.

    A method that stops early depends on how validation is measured too.
    """
    named = sorted(readers(raw_card(dataset)) | {"table"})
    modules = ["llmrec.data", *(f"llmrec.data.readers.{name}" for name in named), "llmrec.split", "llmrec.fitting"]
    if task == "topn" and not file.early_stops:
        modules.append("llmrec.evaluate.answers")
    else:
        modules.append(_judge(task))
    sources = meaning_hash(closure([*file.paths, *map(module_file, modules)]))
    words = [word_table(dataset)] if task == "request" else []
    return content_hash([sources, card_fingerprint(dataset), *words])


def evaluation_fingerprint(task: TaskName = "topn") -> str:
    """Hash of the source that turns a task's answers into metrics."""
    return meaning_hash(closure([module_file(_judge(task))]))


def _judge(task: TaskName) -> str:
    return "llmrec.evaluate" if task == "topn" else f"llmrec.tasks.{task}"


def card_fingerprint(dataset: str) -> str:
    """Hash of a dataset's card without its descriptive keys, and of the files in its own folder that it reads."""
    told = {k: str(v) for k, v in raw_card(dataset).items() if k not in DESCRIPTIVE}
    local = local_files(dataset)
    return content_hash([told, local] if local else told)


def state(record: Record | None, file: MethodFile) -> State:
    """What a record is worth today."""
    if record is None:
        return "missing"
    if record.status in (Status.SKIPPED, Status.INTERRUPTED):
        return "undone"
    if record.status != Status.OK:
        return "failed"
    if record.fingerprints.get("code") != code_fingerprint(file, record.spec.dataset, record.spec.task):
        return "stale"
    if record.fingerprints.get("evaluation") != evaluation_fingerprint(record.spec.task):
        return "stale evaluation"
    return "fresh"


def checkpoint_folder(root: Path, run_id: str, machine_class: str, code: str) -> Path:
    """Where a run keeps its checkpoints. The code's fingerprint is part of the name: other code never resumes them."""
    return root / "checkpoints" / run_id / f"{machine_class}-{code}"
