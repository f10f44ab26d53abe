r"""Reading main.tex before LaTeX does: each \fig, \tab, \N and \cite must name something, and no figure may be typed.

This needs no LaTeX, so that the check runs everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from llmrec.claims.read import bib_keys
from llmrec.errors import UserError, nearest
from llmrec.manuscript.register import Artefact

TYPED = re.compile(r"(?<![\w.\\{])\d*\.\d+|\d+\s*\\,?\\%")
"""A decimal fraction or a percentage: a measured figure, or what looks like one."""


@dataclass(frozen=True)
class Proof:
    """A .tex file's lines without comments."""

    path: Path
    lines: tuple[str, ...]

    def check_text(self, artefacts: dict[str, Artefact], paper: Path) -> None:
        """Raises UserError for the first figure, table or work that does not exist, or a typed figure."""
        kinds = {kind: [a.name for a in artefacts.values() if a.kind == kind] for kind in ("figure", "table")}
        self._check_names("fig", "figure", kinds["figure"])
        self._check_names("tab", "table", kinds["table"])
        self._check_names("cite", "work in refs.bib", bib_keys(paper / "refs.bib"))
        self._check_typed()

    def check_numbers(self, numbers: Collection[str]) -> None:
        """Raises UserError for the first number that does not exist."""
        self._check_names("N", "number", numbers)

    def _check_names(self, macro: str, what: str, known: Collection[str]) -> None:
        for number, line in enumerate(self.lines, 1):
            for argument in re.findall(rf"\\{macro}(?:\[[^]]*\])?\{{([^}}#]*)\}}", line):
                for name in map(str.strip, argument.split(",")):
                    if name not in known:
                        place = f"{self.path}:{number}: \\{macro}{{{name}}}"
                        raise UserError(f"{place}: no such {what}.{_near(name, known)}")

    def _check_typed(self) -> None:
        body = False
        for number, line in enumerate(self.lines, 1):
            body = body or r"\begin{document}" in line
            prose = re.sub(r"\\[A-Za-z]+\*?(?:\[[^]]*\])?\{[^{}]*\}", "", line)  # without macros and their arguments
            if body and (found := TYPED.search(prose)):
                raise UserError(
                    f"{self.path}:{number}: the figure {found.group().strip()!r} is typed. Write \\N{{NAME}}: the "
                    "names stand in generated/numbers.tex."
                )


def read_proof(path: Path) -> Proof:
    """A .tex file, its comments taken out.

    Raises:
        UserError: it is not there.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file. The paper's text stands there.")
    lines = path.read_text("utf-8").splitlines()
    return Proof(path, tuple(re.sub(r"(?<!\\)%.*", "", line) for line in lines))


def _near(name: str, known: Collection[str]) -> str:
    hint = nearest(name, known)
    return hint if "Did you mean" in hint or len(known) < 20 else ""
