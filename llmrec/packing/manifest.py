"""What an archive says of itself, and whether the code here is the code that it was packed with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmrec.discover import MethodFile, find_methods, method_file
from llmrec.errors import UserError
from llmrec.packing.archive import MANIFEST
from llmrec.records import TaskName
from llmrec.staleness import card_fingerprint, code_fingerprint, evaluation_fingerprint

FORMAT = 2
"""Counts up whenever an older llmrec could not read what is written."""

SHOWN = 3
"""Differences that a message names; of more it says how many."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PackedRun(_Part):
    """One run of the suite."""

    run_id: str
    label: str
    dataset: str
    method: str
    params: dict[str, Any] = Field(default_factory=dict)  # they may name methods that are parts of it
    seed: int
    code: str  # fingerprint of all source that shapes its answers
    seconds: float | None = None  # wall-clock time of an earlier record; None: never run where it was packed


class PackedEncoder(_Part):
    """An encoder whose embeddings of the texts are in the archive. Its weights are not."""

    revision: str
    tokenizer: str = ""  # the member that holds it; "": it does not come as one file


class Manifest(_Part):
    """The content of manifest.json."""

    format: int = FORMAT
    suite: str
    title: str
    task: TaskName
    llmrec: str
    commit: str
    dirty: bool  # what was packed was not exactly that commit
    versions: dict[str, str]  # of Python and the libraries where it was packed
    evaluation: str  # fingerprint of the source that turns answers into metrics
    cards: dict[str, str]  # dataset -> fingerprint of its card
    data: dict[str, str]  # dataset -> fingerprint of its tables
    encoders: dict[str, PackedEncoder]
    with_code: bool
    runs: list[PackedRun] = Field(min_length=1)
    members: dict[str, str]  # path -> SHA-256

    def text(self) -> str:
        """As it is written: equal manifests have equal texts."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def parse(text: bytes, archive: Path) -> Manifest:
    """Read a manifest.

    Raises:
        UserError: it is damaged, or of a format that this llmrec does not read.
    """
    try:
        raw = json.loads(text)
        version = raw.get("format")
    except (ValueError, AttributeError):
        raise UserError(f"{archive}: its {MANIFEST} is damaged. Pack or copy it again.") from None
    if version != FORMAT:
        raise UserError(
            f"{archive}: format {version!r}, made by llmrec {raw.get('llmrec', '?')}; this llmrec reads format "
            f"{FORMAT}. Use the same llmrec on both machines, or pack with --code."
        )
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{archive}: its {MANIFEST}: key {key!r}: {first['msg']}. Pack or copy it again.") from None


def check_code(manifest: Manifest, archive: Path, runs: Iterable[PackedRun], extra: Path | None) -> None:
    """Whether the code here gives what the archive's would, for some of its runs.

    Raises:
        UserError: it would not; shows the fingerprints of both and what to do.
    """
    told = _differences(manifest, list(runs), find_methods(extra))
    if not told:
        return
    shown = "; ".join(told[:SHOWN]) + (f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else "")
    same = f"llmrec {manifest.llmrec}, commit {manifest.commit[:12]}{' with changes' if manifest.dirty else ''}"
    if manifest.with_code:
        remedy = f"It brings its own code: start it with `python {archive}`."
    else:
        remedy = (
            "Install that code here, or pack the suite again with this code, or with --code (then: python ARCHIVE)."
        )
    raise UserError(f"{archive}: the code here is not that of the archive ({same}): {shown}. {remedy}")


def _differences(manifest: Manifest, runs: list[PackedRun], methods: Mapping[str, MethodFile]) -> list[str]:
    """What differs, in words: "ease on beauty is 12ab there and 34cd here"."""
    pairs: dict[str, tuple[str, str]] = {
        f"the evaluation of {manifest.task}": (manifest.evaluation, evaluation_fingerprint(manifest.task))
    }
    for dataset in dict.fromkeys(run.dataset for run in runs):
        pairs[f"the card {dataset}"] = (manifest.cards.get(dataset, ""), _here(card_fingerprint, dataset))
    for run in runs:
        pairs[f"{run.method} on {run.dataset}"] = (run.code, _here(_code, run, manifest.task, methods))
    return [f"{what} is {there} there and {here} here" for what, (there, here) in pairs.items() if there != here]


def _code(run: PackedRun, task: TaskName, methods: Mapping[str, MethodFile]) -> str:
    return code_fingerprint(method_file(run.method, dict(methods), run.params), run.dataset, task)


def _here(fingerprint: Any, *arguments: Any) -> str:
    """A fingerprint, or that there is nothing to take one of."""
    try:
        return str(fingerprint(*arguments))
    except (UserError, OSError):
        return "missing"
