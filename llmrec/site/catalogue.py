"""What a site shows: leaderboards, and who of methods, datasets and runs stands in which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from llmrec.discover import MethodFile, find_methods, split_name
from llmrec.errors import UserError
from llmrec.report.evidence import Block, Line, Run, gather
from llmrec.site.boards import Board, Origin, boards
from llmrec.suite import Suite, load_suite, suite_names


@dataclass(frozen=True)
class Standing:
    """A row in a leaderboard."""

    board: Board
    line: Line

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self.board.origins[self.line.label]


@dataclass(frozen=True)
class Site:
    """Everything that pages are made from."""

    boards: Sequence[Board]
    without: Sequence[str]  # suites that were asked for and have no record
    files: Mapping[str, MethodFile]  # every method by name
    whole: bool  # all suites were asked for, so methods and datasets without records have a place, too
    broken: Sequence[str] = field(default=())  # suites that cannot be read, with the mistake

    @cached_property
    def standings(self) -> list[Standing]:
        return [Standing(board, line) for board in self.boards for line in board.block.lines]

    @cached_property
    def by_method(self) -> dict[str, list[Standing]]:
        """Method's name, as runs have it -> its rows; with a whole site every method has a key."""
        found: dict[str, list[Standing]] = {name: [] for name in self.files} if self.whole else {}
        for standing in self.standings:
            if standing.line.family != "external":
                found.setdefault(standing.line.runs[0].spec.method, []).append(standing)
        return dict(sorted(found.items()))

    @property
    def with_figures(self) -> int:
        """How many methods have a finished row."""
        return sum(any(standing.line.done for standing in rows) for rows in self.by_method.values())

    @cached_property
    def by_dataset(self) -> dict[str, list[Board]]:
        found: dict[str, list[Board]] = {}
        for board in self.boards:
            found.setdefault(board.block.dataset, []).append(board)
        return dict(sorted(found.items()))

    @cached_property
    def runs(self) -> dict[str, tuple[Run, list[Standing]]]:
        """Run's id -> the run, which has a record, and the rows that it belongs to."""
        found: dict[str, tuple[Run, list[Standing]]] = {}
        for standing in self.standings:
            for run in standing.line.runs:
                if run.record is not None:
                    found.setdefault(run.spec.run_id, (run, []))[1].append(standing)
        return found

    def file(self, method: str) -> MethodFile | None:
        """The file of a method by the name that runs have; None where it is gone."""
        return self.files.get(split_name(method)[0])


def survey(names: Sequence[str], root: Path | None = None, extra: Path | None = None) -> Site:
    """What is to be shown of some suites; where none is named, of all that can be read.

    Raises:
        UserError: no record at all (says what makes some); of a suite that is named: it is unknown (names the nearest),
            or one of its records or tuned parameters is no good.
    """
    broken: list[str] = []
    gathered: list[tuple[Suite, list[Block]]] = []
    for name in dict.fromkeys(names) if names else suite_names():
        try:
            suite = load_suite(name, extra)
            gathered.append((suite, gather(suite, root=root)))
        except UserError as error:
            if names:
                raise
            broken.append(str(error))  # one bad file keeps no other suite from being shown
    suites = [suite for suite, _ in gathered]
    found = boards(gathered)
    shown = {suite for board in found for suite in board.suites}
    without = [suite.typed for suite in suites if _address(suite) not in shown]
    if not found:
        raise UserError(_nothing(suites, root))
    return Site(found, without, find_methods(extra), whole=not names, broken=broken)


def _address(suite: Suite) -> str:
    """A suite as `llmrec.report.evidence.gather` names it."""
    return suite.name if suite_names().get(suite.name) == suite.path else suite.path.name


def _nothing(suites: Sequence[Suite], root: Path | None) -> str:
    where = f" in {root}" if root else ""
    commands = " or ".join(f"`llmrec run {suite.typed}`" for suite in suites[:3]) or "`llmrec run quickstart`"
    names = ", ".join(suite.typed for suite in suites[:3]) + (" and others" if len(suites) > 3 else "")
    return f"{names}: no records{where}, so there is nothing to show. {commands} makes some."
