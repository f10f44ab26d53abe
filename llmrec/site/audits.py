"""Audits of data at hand, kept in the cache: looking for near-duplicates takes seconds, and pages are made often."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from llmrec import audit
from llmrec.audit import Finding
from llmrec.audit.catalogue import catalogue_findings
from llmrec.audit.events import event_findings
from llmrec.audit.split import split_findings
from llmrec.content import cache_folder
from llmrec.data import Dataset
from llmrec.records import Protocol, TaskName
from llmrec.seeds import canonical_json
from llmrec.split import make_split


def of_data(dataset: Dataset) -> list[Finding]:
    """What an audit finds of the events and the catalogue, whatever the protocol."""
    return _kept([dataset.fingerprint], lambda: [*event_findings(dataset), *catalogue_findings(dataset)])


def of_split(dataset: Dataset, protocol: Protocol, task: TaskName) -> list[Finding]:
    """What an audit finds of the split under a protocol.

    Raises:
        UserError: the dataset does not admit the protocol.
    """
    key = [dataset.fingerprint, protocol.model_dump(mode="json"), task]
    return _kept(key, lambda: split_findings(make_split(dataset, protocol, task)[0]))


def _kept(key: Sequence[object], find: Callable[[], Sequence[Finding]]) -> list[Finding]:
    """What ``find`` gives, from the cache where the same data were looked at by the same code."""
    digest = hashlib.sha256(canonical_json(key).encode())
    for path in sorted(Path(audit.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    path = cache_folder() / "audits" / f"{digest.hexdigest()[:16]}.json"
    try:
        stored = json.loads(path.read_text("utf-8"))
        return [Finding(**{**one, "examples": tuple(one["examples"])}) for one in stored]
    except (OSError, ValueError, TypeError, KeyError):  # not there, or not whole: looked at again
        found = list(find())
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(one) for one in found], ensure_ascii=False), "utf-8")
    partial.replace(path)
    return found
