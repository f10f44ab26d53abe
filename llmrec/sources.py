"""What a source file depends on, read from its syntax tree: the llmrec modules and the packages that it imports.

Nothing is imported. A file counts by its meaning: comments, docstrings and blank lines are left out of the hash, so
better documentation never makes a run stale.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from llmrec.content import PACKAGE

NEUTRAL = frozenset({"__init__", "errors", "records", "content"})
"""Modules of llmrec's top level that cannot change a figure: exports, messages, file layout, places on disk."""

LENT = "llmrec.context"
"""What a method is handed. That it can embed texts when asked to does not mean that every method needs transformers."""


def closure(roots: Iterable[Path]) -> set[Path]:
    """The files themselves and every llmrec file that they import, imports inside functions included."""
    found: set[Path] = set()
    waiting = [root.resolve() for root in roots]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [file for name in _imports(path, typing=True) for file in _own_files(name)]
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
        for name in _imports(path, typing=False):
            if name.split(".")[0] == "llmrec":
                waiting += [] if name.startswith(LENT) else _own_files(name)
            else:
                outside.add(name)
    return outside


def meaning_hash(paths: Iterable[Path]) -> str:
    """First 16 hex digits of the SHA-256 over the files' meanings; where a file lies does not count."""
    digests = sorted(hashlib.sha256(f"{p.name}\n{_meaning(p)}".encode()).hexdigest() for p in paths)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


def module_file(name: str) -> Path:
    """The file of a llmrec module that exists: ``"llmrec.split"``."""
    files = list(_module_candidates(name))
    if not files:
        raise FileNotFoundError(f"no module {name}")
    return files[0]


def _meaning(path: Path) -> str:
    stat = path.stat()
    return _meaning_at(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1024)
def _meaning_at(path: Path, _mtime: int, _size: int) -> str:
    """The source without comments, docstrings, blank lines and trailing spaces.

    Done on the text, not by ``ast.unparse``, whose output differs between versions of Python.
    """
    source = path.read_text("utf-8")
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for first, last in _loose_strings(node.body):
                lines[first:last] = [""] * (last - first)
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _loose_strings(body: list[ast.stmt]) -> Iterator[tuple[int, int]]:
    """Line ranges of the strings that stand alone in a body: docstrings of the thing and of its attributes."""
    for node in body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            assert node.end_lineno is not None
            yield node.lineno - 1, node.end_lineno


def _imports(path: Path, *, typing: bool) -> tuple[str, ...]:
    stat = path.stat()
    return _imports_at(path, typing, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=2048)
def _imports_at(path: Path, typing: bool, _mtime: int, _size: int) -> tuple[str, ...]:
    """Dotted names that a file imports anywhere; ``from a import b`` gives both ``a`` and ``a.b``."""
    names: dict[str, None] = {}
    waiting: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names.update({alias.name: None for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, path)
            names.update({base: None, **{f"{base}.{alias.name}": None for alias in node.names}})
        elif isinstance(node, ast.If) and not typing and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)
    return tuple(sorted(names))


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    """The dotted name that a ``from`` import names; relative ones are resolved inside llmrec."""
    if not node.level or not path.is_relative_to(PACKAGE):
        return node.module or ""
    package = ("llmrec", *path.relative_to(PACKAGE).parts[: -node.level])
    return ".".join((*package, *(node.module or "").split("."))).rstrip(".")


def _own_files(name: str) -> list[Path]:
    """The file of a llmrec module; none for other packages and neutral modules. That importing ``llmrec.a.b`` runs the
    package's ``__init__`` too changes no figure: it only exports."""
    parts = name.split(".")
    if parts[0] != "llmrec" or len(parts) == 1 or parts[1] in NEUTRAL:
        return []
    return list(_module_candidates(name))


def _module_candidates(name: str) -> Iterator[Path]:
    base = PACKAGE.joinpath(*name.split(".")[1:])
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            yield file.resolve()
