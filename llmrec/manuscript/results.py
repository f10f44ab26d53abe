"""What an artefact's function reads: published blocks, their statistics, the claims. It notes which runs were used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmrec.claims.decide import Decided
from llmrec.claims.sources import decide_all
from llmrec.manuscript.register import NotYet
from llmrec.report.evidence import Block
from llmrec.report.significance import Findings


class Results:
    """All that is published, read once."""

    def __init__(self, paper: Path, root: Path | None = None) -> None:
        self._claims, self._blocks = decide_all(paper, root)
        self._findings: dict[int, Findings] = {}
        self._used: dict[str, str] = {}

    @property
    def claims(self) -> Sequence[Decided]:
        """The claims of the paper, decided."""
        for decided in self._claims:
            for test in decided.tests:
                self._note_ids(test.runs)
        return self._claims

    @property
    def suites(self) -> list[str]:
        """The published suites."""
        return list(self._blocks)

    def blocks(self, suite: str) -> list[Block]:
        """Every dataset of a suite.

        Raises:
            NotYet: the suite is not published.
        """
        if suite not in self._blocks:
            raise NotYet(f"suite {suite!r} is not published: llmrec run {suite} && llmrec publish {suite}")
        for block in self._blocks[suite]:
            self._note(block)
        return self._blocks[suite]

    def block(self, suite: str, dataset: str) -> Block:
        """One dataset of a suite.

        Raises:
            NotYet: it is not published.
        """
        for block in self.blocks(suite):
            if block.dataset == dataset:
                return block
        raise NotYet(f"suite {suite!r} has no dataset {dataset!r}")

    def findings(self, block: Block) -> Findings:
        """The statistics of a block; computed once, whoever asks."""
        return self._findings.setdefault(id(block), Findings(block))

    def start(self) -> None:
        """Forget which runs were used: another artefact begins."""
        self._used = {}

    @property
    def used(self) -> dict[str, str]:
        """Run id -> commit of the runs that were read since `start`."""
        return dict(sorted(self._used.items()))

    def _note(self, block: Block) -> None:
        for run in block.runs:
            if run.ok and run.record:
                self._used[run.spec.run_id] = run.record.provenance.commit

    def _note_ids(self, ids: Sequence[str]) -> None:
        for some in self._blocks.values():
            for run in (run for block in some for run in block.runs):
                if run.spec.run_id in ids and run.record:
                    self._used[run.spec.run_id] = run.record.provenance.commit
