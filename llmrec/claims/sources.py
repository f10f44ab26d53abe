"""The claims of a paper's folder, decided by all published suites."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmrec.claims.decide import Decided, decide
from llmrec.claims.read import read_claims
from llmrec.errors import UserError
from llmrec.published.blocks import read_blocks
from llmrec.published.tables import published_names
from llmrec.report.evidence import Block


def published_blocks(root: Path | None = None) -> dict[str, list[Block]]:
    """The blocks of each published suite.

    Raises:
        UserError: a published file cannot be read.
    """
    return {name: read_blocks(name, root) for name in published_names(root)}


def decide_all(paper: Path, blocks: dict[str, list[Block]]) -> list[Decided]:
    """Every claim of ``paper/claims.toml`` with its verdict.

    Raises:
        UserError: a mistake in the claims.
    """
    labels = {line.label for some in blocks.values() for block in some for line in block.lines}
    return decide(read_claims(paper / "claims.toml", labels), blocks)


def refuse_contradictions(found: Sequence[Decided]) -> None:
    """Raises UserError where the paper says something else of a claim than the records do."""
    wrong = [
        f"{decided.claim.id}: the paper says {decided.claim.says!r}, the records say {decided.verdict!r}"
        for decided in found
        if decided.contradicted
    ]
    if wrong:
        raise UserError(
            f"{len(wrong)} claims contradict the records. {'; '.join(wrong)}. Change what the paper says (key 'says' "
            "in claims.toml, and its sentences), or make the runs that are missing."
        )
