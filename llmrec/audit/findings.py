"""What an audit says: findings with a count, what they are counted of, and why they matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llmrec.records import Protocol


@dataclass(frozen=True)
class Finding:
    """One measured thing. ``of``: the whole that ``count`` is a part of, where there is one; ``value``: a figure that
    is no count."""

    about: str  # "events", "catalogue", "split"
    name: str
    count: int | None = None
    of: int | None = None
    value: float | None = None
    why: str = ""  # what it does to a comparison
    examples: tuple[str, ...] = ()

    @property
    def share(self) -> float | None:
        return self.count / self.of if self.count is not None and self.of else None


@dataclass(frozen=True)
class Audit:
    """All findings about a dataset under one protocol, with the fingerprints of what was looked at."""

    dataset: str
    protocol: Protocol
    data: str
    split: str
    findings: tuple[Finding, ...]

    def rows(self) -> list[tuple[str, ...]]:
        """As a table: about, what, count, share, why it matters."""
        head = ("ABOUT", "WHAT", "COUNT", "SHARE", "WHY IT MATTERS")
        return [head, *(_row(finding) for finding in self.findings)]

    def as_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        findings = [
            {key: value for key, value in asdict(finding).items() if value not in (None, "", ())}
            | ({"share": finding.share} if finding.share is not None else {})
            for finding in self.findings
        ]
        protocol = self.protocol.model_dump(mode="json")
        fingerprints = {"data": self.data, "split": self.split}
        return {"dataset": self.dataset, "protocol": protocol, "fingerprints": fingerprints, "findings": findings}


def _row(finding: Finding) -> tuple[str, ...]:
    figure = "-" if finding.value is None else f"{finding.value:.4g}"
    count = figure if finding.count is None else f"{finding.count:,}"
    share = f"{100 * finding.share:.1f} %" if finding.share is not None else ""
    return finding.about, finding.name, count, share, _with_examples(finding.why, finding.examples)


def _with_examples(why: str, examples: Sequence[str]) -> str:
    return "; ".join(filter(None, (why, ", ".join(examples) and f"e.g. {', '.join(examples)}")))
