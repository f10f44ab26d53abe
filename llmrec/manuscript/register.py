"""What a paper consists of: functions marked ``@figure`` or ``@table``, found by loading the paper's own files."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llmrec.errors import UserError

if TYPE_CHECKING:
    from llmrec.manuscript.results import Results

FILES = ("figures.py", "tables.py")


class NotYet(Exception):
    """Raised by an artefact's function: what it shows is not published yet. It is left out, and the reason is kept."""


@dataclass(frozen=True)
class Artefact:
    """A figure or table of the paper. ``name``: that of its function, with hyphens."""

    kind: Literal["figure", "table"]
    make: Callable[[Results], Any]

    @property
    def name(self) -> str:
        return self.make.__name__.replace("_", "-")

    def place(self, paper: Path) -> str:
        """Where its function stands: "paper/figures.py:12"."""
        return f"{paper / FILES[self.kind == 'table']}:{self.make.__code__.co_firstlineno}"

    @property
    def files(self) -> tuple[str, ...]:
        """Paths below generated/."""
        return tuple(
            f"{self.kind}s/{self.name}.{end}" for end in {"figure": ("pdf", "png"), "table": ("tex",)}[self.kind]
        )


def figure(make: Callable[[Results], Any]) -> Artefact:
    """Mark a function that returns a matplotlib figure."""
    return Artefact("figure", make)


def table(make: Callable[[Results], Any]) -> Artefact:
    """Mark a function that returns LaTeX, or an `llmrec.report.table.Table`."""
    return Artefact("table", make)


def find_artefacts(paper: Path) -> dict[str, Artefact]:
    """All artefacts of a paper's folder by name, in the order of their definition.

    Raises:
        UserError: a file is missing or cannot be loaded, or two artefacts have one name.
    """
    found: dict[str, Artefact] = {}
    for name in FILES:
        for value in vars(_load(paper / name)).values():
            if isinstance(value, Artefact) and found.setdefault(value.name, value) is not value:
                raise UserError(f"{paper / name}: there are two artefacts called {value.name!r}. Rename one.")
    return found


def _load(path: Path) -> Any:
    """A module from its file; it leaves no compiled copy beside it."""
    if not path.exists():
        raise UserError(f"{path}: no such file. The paper's figures and tables stand in {' and '.join(FILES)}.")
    spec = importlib.util.spec_from_file_location(f"llmrec_paper_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UserError(f"{path}{line}: cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = before
    return module
