"""What is odd about a dataset under a protocol, measured: `llmrec datasets audit NAME --protocol P`."""

from __future__ import annotations

from llmrec.audit.catalogue import catalogue_findings
from llmrec.audit.events import event_findings
from llmrec.audit.findings import Audit, Finding
from llmrec.audit.split import split_findings
from llmrec.data import Dataset
from llmrec.records import Protocol, TaskName
from llmrec.split import make_split

__all__ = ["Audit", "Finding", "audit"]


def audit(dataset: Dataset, protocol: Protocol, task: TaskName = "topn") -> Audit:
    """Every finding about a dataset, its catalogue, and its split under a protocol.

    Raises:
        UserError: the dataset does not admit the protocol.
    """
    split, _ = make_split(dataset, protocol, task)
    findings = [*event_findings(dataset), *catalogue_findings(dataset), *split_findings(split)]
    return Audit(dataset.name, protocol, dataset.fingerprint, split.fingerprint, tuple(findings))
