"""Which methods there are: every .py file of the method folders, read without being imported.

A file's name is its method's name (``item_knn.py`` is ``item-knn``); files that begin with ``_`` are no methods. The
method class is the one class in the file that is a dataclass and defines ``fit``. Its parameters, defaults and class
attributes are read from the syntax tree, so listing needs no torch and a file that raises on import still lists.
``recbole:BPR`` is the file ``recbole.py`` with the argument ``model="BPR"``.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llmrec.content import method_folders
from llmrec.errors import MethodError, UserError, nearest

UNKNOWN = object()
"""The default of a parameter whose value cannot be read without importing the file."""


@dataclass(frozen=True)
class Parameter:
    """One field of a method's dataclass."""

    annotation: str  # as written: "float", "Literal['a', 'b']"
    source: str  # the default as written; "" if there is none
    default: Any = UNKNOWN
    tune: dict[str, Any] | None = None  # low, high, log, choices as far as they are literals

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return not self.source

    @property
    def known(self) -> bool:
        """Whether its default could be read without importing the file."""
        return self.default is not UNKNOWN


@dataclass(frozen=True)
class MethodFile:
    """What a method's file says about it, without importing it."""

    name: str
    path: Path
    family: str = "collaborative"
    seeded: bool = True
    early_stops: bool = False
    requires: tuple[str, ...] = ()
    needs_text: bool = False
    verbs: tuple[str, ...] = ()  # what it can be asked: score, generate, rerank, predict, search
    params: dict[str, Parameter] = field(default_factory=dict, hash=False)
    summary: str = ""
    problem: str | None = None  # why the file cannot be used, if it cannot
    parts: tuple[MethodFile, ...] = ()  # the methods that a run's parameters name as parts of it

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its own file and those of its parts."""
        return (self.path, *(path for part in self.parts for path in part.paths))


def split_name(name: str) -> tuple[str, str | None]:
    """``"recbole:BPR"`` -> ``("recbole", "BPR")``; ``"ease"`` -> ``("ease", None)``."""
    base, colon, argument = name.partition(":")
    return base, argument if colon else None


def find_methods(extra: Path | None = None) -> dict[str, MethodFile]:
    """Every method by name, none of them imported; ``extra`` (a folder of the user's own) wins over the suite's."""
    if extra is not None and not extra.is_dir():
        raise UserError(f"--methods {extra}: no such folder.")
    found: dict[str, MethodFile] = {}
    for folder in method_folders(extra):
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("_"):
                name = path.stem.replace("_", "-")
                found.setdefault(name, read_method_file(path))
    return found


def method_file(name: str, methods: dict[str, MethodFile], params: Mapping[str, Any] | None = None) -> MethodFile:
    """The file of a method, ``recbole:BPR`` included. ``params``: those of a run, which may name parts.

    Raises:
        UserError: unknown name, a model where none is taken, or a file that cannot be read.
    """
    base, argument = split_name(name)
    if base not in methods:
        raise UserError(f"unknown method {name!r}.{nearest(base, methods)}")
    found = methods[base]
    if found.problem:
        raise UserError(f"method {name!r} ({found.path}): {found.problem}")
    if argument is not None and "model" not in found.params:
        raise UserError(f"method {base!r} takes no model: write {base!r}, not {name!r}.")
    if argument is None and "model" in found.params and found.params["model"].required:
        raise UserError(f"method {base!r} wants a model: write for example '{base}:BPR'.")
    return found if params is None else with_parts(found, methods, params)


def with_parts(file: MethodFile, methods: dict[str, MethodFile], params: Mapping[str, Any]) -> MethodFile:
    """The file as a run with these parameters has it: with the files of its parts, seeded where one of them is, and in
    need of what they need. A part is a parameter, given or by default, of the form ``{method, params}``.

    Raises:
        UserError: a part is no method.
    """
    named = {key: params.get(key, parameter.default) for key, parameter in file.params.items()}
    specs = [value for value in named.values() if isinstance(value, dict) and isinstance(value.get("method"), str)]
    if not specs:
        return file
    parts = tuple(method_file(spec["method"], methods, spec.get("params") or {}) for spec in specs)
    return replace(
        file,
        parts=parts,
        seeded=file.seeded or any(part.seeded for part in parts),
        needs_text=file.needs_text or any(part.needs_text for part in parts),
        requires=tuple(dict.fromkeys([*file.requires, *(name for part in parts for name in part.requires)])),
    )


def load_method(name: str, extra: Path | None = None) -> type:
    """Find a method by name, import its file by path and return its class.

    Raises:
        UserError: there is no such method.
        MethodError: the file raises when it is imported.
    """
    return import_method(method_file(name, find_methods(extra)))


def import_method(found: MethodFile) -> type:
    """Import the file of a method and return its class.

    Raises:
        MethodError: the file raises when it is imported.
    """
    module_name = f"llmrec_method_{found.path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, found.path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        if isinstance(error, ImportError) or not isinstance(error, Exception):
            raise
        raise MethodError(f"{found.path}: raised {type(error).__name__} on import: {error}") from error
    node = _method_class(ast.parse(found.path.read_text("utf-8")))
    assert isinstance(node, ast.ClassDef)
    method: type = getattr(module, node.name)
    return method


def arguments(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """The arguments that make a method: its parameters, and the model that stands behind the colon of its name."""
    _, model = split_name(name)
    return params if model is None else {"model": model, **params}


def read_method_file(path: Path) -> MethodFile:
    """Read one method file's class by its syntax tree; what is wrong with it stands in ``problem``."""
    name = path.stem.replace("_", "-")
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        return MethodFile(name, path, problem=f"cannot be read ({type(error).__name__}{line}: {error})")
    node = _method_class(tree)
    if isinstance(node, str):
        return MethodFile(name, path, problem=node)
    known = _literals(tree.body)
    written = {key: value for key, value in _assigned(node.body) if key in _ATTRIBUTES}
    attributes = {key: _literal(value, known) for key, value in written.items()}
    wrong = [k for k, v in attributes.items() if not isinstance(v, _ATTRIBUTES[k])]
    if wrong:
        expected = f"a literal {_ATTRIBUTES[wrong[0]].__name__}"
        return MethodFile(name, path, problem=f"class attribute {wrong[0]!r} should be {expected}")
    summary = (ast.get_docstring(node) or ast.get_docstring(tree) or "").strip().split("\n")[0]
    return MethodFile(name, path, params=_parameters(node, known), summary=summary, verbs=_verbs(node), **attributes)


VERBS = ("score", "generate", "rerank", "predict", "search")

_ATTRIBUTES: dict[str, type] = {
    "family": str, "seeded": bool, "early_stops": bool, "requires": tuple, "needs_text": bool,
}  # fmt: skip


def _method_class(tree: ast.Module) -> ast.ClassDef | str:
    """The one dataclass with ``fit``, or what is wrong."""
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and _is_dataclass(n) and _defines(n, "fit")]
    if len(classes) == 1:
        return classes[0]
    if classes:
        return f"has {len(classes)} method classes ({', '.join(c.name for c in classes)}); a file holds one"
    return "has no method: one @dataclass with a fit method was expected"


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list)


def _verbs(node: ast.ClassDef) -> tuple[str, ...]:
    return tuple(verb for verb in VERBS if _defines(node, verb))


def _defines(node: ast.ClassDef, name: str) -> bool:
    return any(isinstance(n, ast.FunctionDef) and n.name == name for n in node.body)


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Names that a body sets, with the expressions that they are set to."""
    for node in body:
        if isinstance(node, ast.Assign):
            yield from ((t.id, node.value) for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value


def _literals(body: list[ast.stmt]) -> dict[str, Any]:
    """Names that a body sets to literal values."""
    values: dict[str, Any] = {}
    for name, expression in _assigned(body):
        value = _literal(expression, values)
        if value is not UNKNOWN:
            values[name] = value
    return values


def _literal(node: ast.expr, known: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return known.get(node.id, UNKNOWN)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN


def _parameters(node: ast.ClassDef, known: dict[str, Any]) -> dict[str, Parameter]:
    """The dataclass's fields: all annotated names but ClassVars and those kept out of ``__init__``."""
    found: dict[str, Parameter] = {}
    for entry in node.body:
        if not isinstance(entry, ast.AnnAssign) or not isinstance(entry.target, ast.Name):
            continue
        annotation = ast.unparse(entry.annotation)
        if isinstance(entry.annotation, ast.Constant):  # a quoted annotation
            annotation = str(entry.annotation.value)
        if "ClassVar" in annotation:
            continue
        parameter = _parameter(annotation, entry.value, known)
        if parameter is not None:
            found[entry.target.id] = parameter
    return found


def _parameter(annotation: str, value: ast.expr | None, known: dict[str, Any]) -> Parameter | None:
    """One field, from its annotation and the expression of its default; None if ``__init__`` does not take it."""
    if value is None:
        return Parameter(annotation, "")
    called = ast.unparse(value.func).split(".")[-1] if isinstance(value, ast.Call) else ""
    if not isinstance(value, ast.Call) or called not in ("tune", "field"):
        return Parameter(annotation, ast.unparse(value), _literal(value, known))
    keywords = {k.arg: k.value for k in value.keywords if k.arg}
    if called == "field":
        if "init" in keywords and _literal(keywords["init"], known) is False:
            return None
        if "default" in keywords:
            return Parameter(annotation, ast.unparse(keywords["default"]), _literal(keywords["default"], known))
        if isinstance(made := keywords.get("default_factory"), ast.Lambda):
            return Parameter(annotation, ast.unparse(made.body), _literal(made.body, known))
        if "default_factory" in keywords:
            factory = ast.unparse(keywords["default_factory"])
            return Parameter(annotation, f"{factory}()", {"dict": {}, "list": []}.get(factory, UNKNOWN))
        return Parameter(annotation, "")
    default = value.args[0] if value.args else keywords.pop("default", None)
    if default is None:
        return Parameter(annotation, "")
    space = {k: v for k, e in keywords.items() if (v := _literal(e, known)) is not UNKNOWN}
    return Parameter(annotation, ast.unparse(default), _literal(default, known), space)
