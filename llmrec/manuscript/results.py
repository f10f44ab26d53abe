"""What an artefact's function reads: published blocks, their statistics, the claims, frozen studies. It notes which
runs and studies were used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmrec.claims.decide import Decided
from llmrec.claims.sources import decide_all, published_blocks
from llmrec.errors import UserError
from llmrec.manuscript.register import NotYet
from llmrec.report.evidence import Block, Line
from llmrec.report.significance import Findings
from llmrec.suite import load_suite
from llmrec.tuned import Tuned


class Results:
    """All that is published, read once."""

    def __init__(self, paper: Path, root: Path | None = None) -> None:
        self._paper = paper
        self._blocks = published_blocks(root)
        self._decided: list[Decided] | None = None
        self._findings: dict[int, Findings] = {}
        self._used: dict[str, str] = {}
        self._studies: dict[str, str] = {}

    @property
    def claims(self) -> Sequence[Decided]:
        """The claims of the paper, decided when they are first asked for.

        Raises:
            UserError: a mistake in claims.toml.
        """
        if self._decided is None:
            self._decided = decide_all(self._paper, self._blocks)
        for test in (test for decided in self._decided for test in decided.tests):
            self._note_ids(test.runs)
        return self._decided

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

    def studies(self, suite: str, dataset: str) -> dict[str, Tuned]:
        """What `llmrec tune` tried for each row of a suite, frozen in benchmarks/tuned.

        Raises:
            NotYet: nothing was searched, or a study is no longer good.
        """
        try:
            found = load_suite(suite).studies(dataset)
        except UserError as error:
            raise NotYet(str(error)) from None
        if not found:
            raise NotYet(f"nothing was searched for {suite} on {dataset}: llmrec tune {suite} --freeze")
        self._studies |= {f"{suite}/{dataset}/{label}": study.fingerprint for label, study in found.items()}
        return found

    def lines_of(self, method: str) -> list[tuple[Block, list[Line]]]:
        """The finished rows of one method in every published block that has several."""
        found = []
        for block in (block for some in self._blocks.values() for block in some):
            lines = [line for line in block.finished if line.runs[0].spec.method == method]
            if len(lines) > 1:
                self._note_ids([run.spec.run_id for line in lines for run in line.done])
                found.append((block, lines))
        return found

    def findings(self, block: Block) -> Findings:
        """The statistics of a block; computed once, whoever asks."""
        return self._findings.setdefault(id(block), Findings(block))

    def start(self) -> None:
        """Forget which runs and studies were used: another artefact begins."""
        self._used, self._studies = {}, {}

    @property
    def used(self) -> dict[str, str]:
        """Run id -> commit of the runs that were read since `start`."""
        return dict(sorted(self._used.items()))

    @property
    def used_studies(self) -> dict[str, str]:
        """SUITE/DATASET/ROW -> fingerprint of the studies that were read since `start`."""
        return dict(sorted(self._studies.items()))

    def _note(self, block: Block) -> None:
        for run in block.runs:
            if run.ok and run.record:
                self._used[run.spec.run_id] = run.record.provenance.commit

    def _note_ids(self, ids: Sequence[str]) -> None:
        for some in self._blocks.values():
            for run in (run for block in some for run in block.runs):
                if run.spec.run_id in ids and run.record:
                    self._used[run.spec.run_id] = run.record.provenance.commit
