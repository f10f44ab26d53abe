"""What a source file depends on, read from its syntax tree: the llmrec modules and the packages that it imports.

Nothing is imported. A file counts by its meaning: comments, docstrings and blank lines are left out of the hash, so
better documentation never makes a run stale.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from llmrec.content import PACKAGE
from llmrec.equal_sources import counts_as

NEUTRAL = frozenset({"llmrec.errors", "llmrec.records", "llmrec.content", "llmrec.data.fetch"})
"""Modules that cannot change a figure: messages, file layout, places on disk, and how files come here that are compared
with the card's checksums in any case."""

LENT = "llmrec.context"
"""What a method is handed. That it can embed texts when asked to does not mean that every method needs transformers."""


def closure(roots: Iterable[Path]) -> set[Path]:
    """The files themselves and every llmrec file that they import, imports inside functions included; without what
    `llmrec.equal_sources` says is not counted."""
    found: set[Path] = set()
    waiting = [root.resolve() for root in roots]
    while waiting:
        path = waiting.pop()
        if path not in found and counts_as(_digest(path)) is not None:
            found.add(path)
            waiting += [file for name in _facts(path).imports for file in _own_files(name)]
    return found


def packages(method: Path) -> set[str]:
    """Modules of other packages ("torch", "sklearn.cluster") that a method's file may import while it runs, itself or
    through llmrec modules; imports for type checkers only are left out."""
    seen: set[Path] = set()
    outside: set[str] = set()
    waiting = [method.resolve()]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in _facts(path).imports_while_running:
            if name.split(".")[0] == "llmrec":
                waiting += [] if name.startswith(LENT) else _own_files(name)
            else:
                outside.add(name)
    return outside


def meaning_hash(paths: Iterable[Path]) -> str:
    """First 16 hex digits of the SHA-256 over the files' meanings; where a file lies does not count."""
    digests = sorted(digest for path in paths if (digest := counts_as(_digest(path))) is not None)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


def module_file(name: str) -> Path:
    """The file of a llmrec module that exists: ``"llmrec.split"``."""
    files = list(_module_candidates(name))
    if not files:
        raise FileNotFoundError(f"no module {name}")
    return files[0]


def _digest(path: Path) -> str:
    return hashlib.sha256(f"{path.name}\n{_facts(path).meaning}".encode()).hexdigest()


@dataclass(frozen=True)
class _Facts:
    """What one reading of a file tells."""

    meaning: str  # the source without comments, loose strings (docstrings), blank lines and trailing spaces
    imports: frozenset[str]  # dotted names; ``from a import b`` gives both ``a`` and ``a.b``
    imports_while_running: frozenset[str]  # those that are not for type checkers only


Span = tuple[int, int, int, int]
"""First line, first byte, last line, end byte; lines from 1."""


def _facts(path: Path) -> _Facts:
    stat = path.stat()
    return _facts_at(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def _facts_at(path: Path, _mtime: int, _size: int) -> _Facts:
    """One walk over the syntax tree. The meaning is cut out of the text, for what ``ast.unparse`` gives differs between
    versions of Python, and ``tokenize`` takes ten times as long."""
    source = path.read_text("utf-8")
    running: set[str] = set()
    checking: set[str] = set()
    loose: list[ast.expr] = []
    strings: list[Span] = []
    waiting: list[tuple[ast.AST, set[str]]] = [(ast.parse(source), running)]
    while waiting:
        node, names = waiting.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path)
            names.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
        elif isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        ):
            strings.append((node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += [(child, checking) for child in node.body]
            waiting += [(child, names) for child in node.orelse]
        else:
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                loose.append(node.value)
            for field in node._fields:
                value = getattr(node, field, None)
                if isinstance(value, list):
                    waiting += [(child, names) for child in value if isinstance(child, ast.AST)]
                elif isinstance(value, ast.AST) and not isinstance(value, ast.Name | ast.expr_context):
                    waiting.append((value, names))
    lines = source.encode().split(b"\n")
    _cut_comments(lines, strings)
    for node in loose:
        lines[node.lineno - 1 : node.end_lineno] = [b""] * ((node.end_lineno or 0) - node.lineno + 1)
    meaning = b"\n".join(line.rstrip() for line in lines if line.strip()).decode()
    return _Facts(meaning, frozenset(running | checking), frozenset(running))


def _cut_comments(lines: list[bytes], strings: list[Span]) -> None:
    """Cut every line at its first ``#`` that stands in no string."""
    by_line: dict[int, list[Span]] = {}
    for span in strings:
        for number in range(span[0], span[2] + 1):
            by_line.setdefault(number, []).append(span)
    for number, line in enumerate(lines, 1):
        at = line.find(b"#")
        while at >= 0:
            if not any((a, b) <= (number, at) < (c, d) for a, b, c, d in by_line.get(number, ())):
                lines[number - 1] = line[:at]
                break
            at = line.find(b"#", at + 1)


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    """The dotted name that a ``from`` import names; relative ones are resolved inside llmrec."""
    if not node.level or not path.is_relative_to(PACKAGE):
        return node.module or ""
    package = ("llmrec", *path.relative_to(PACKAGE).parts[: -node.level])
    return ".".join((*package, *(node.module or "").split("."))).rstrip(".")


@cache
def _own_files(name: str) -> list[Path]:
    """The file of a llmrec module; none for other packages and neutral modules. That importing ``llmrec.a.b`` runs the
    package's ``__init__`` too changes no figure: it only exports."""
    return list(_module_candidates(name)) if name.startswith("llmrec.") and name not in NEUTRAL else []


def _module_candidates(name: str) -> Iterator[Path]:
    base = PACKAGE.joinpath(*name.split(".")[1:])
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            yield file.resolve()
