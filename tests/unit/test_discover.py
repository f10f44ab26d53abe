"""Methods are found and described without being imported."""

from pathlib import Path

import pytest

from llmrec.discover import arguments, find_methods, load_method, method_file, read_method_file
from llmrec.errors import MethodError, UserError

METHOD = '''
"""A module."""
import no_such_package_anywhere
from dataclasses import dataclass, field
from typing import Any, ClassVar

WIDTH = 64

@dataclass
class _Helper:
    x: int = 1

@dataclass(frozen=False)
class Mine:
    """What it does.

    More of it.
    """

    family: ClassVar[str] = "sequential"
    seeded: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ("torch", "implicit")
    model: str
    width: int = WIDTH
    shrink: float = tune(10.0, low=0.0, high=500.0, log=True)
    kind: "Literal['a', 'b']" = tune("a", choices=("a", "b"))
    config: dict[str, Any] = field(default_factory=dict)
    made: object = make()
    state: int = field(default=3, init=False)

    def fit(self, split, ctx): ...
'''


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_method_is_described_without_being_imported(tmp_path):
    found = read_method_file(write(tmp_path, "my_own.py", METHOD))
    assert found.problem is None
    assert (found.name, found.family, found.seeded, found.early_stops) == ("my-own", "sequential", False, False)
    assert found.requires == ("torch", "implicit") and not found.needs_text
    assert found.summary == "What it does."
    assert list(found.params) == ["model", "width", "shrink", "kind", "config", "made"]
    assert found.params["model"].required and not found.params["width"].required
    assert found.params["width"].default == 64  # a module's constant
    assert found.params["shrink"].default == 10.0
    assert found.params["shrink"].tune == {"low": 0.0, "high": 500.0, "log": True}
    assert found.params["kind"].annotation == "Literal['a', 'b']"
    assert found.params["kind"].tune == {"choices": ("a", "b")}
    assert found.params["config"].default == {}
    assert not found.params["made"].known and found.params["made"].source == "make()"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def fit(:\n", "SyntaxError, line 1"),
        ("x = 1\n", "has no method"),
        (METHOD + METHOD.replace("class Mine", "class Other").replace('"""A module."""', ""), "has 2 method classes"),
        (METHOD.replace('("torch", "implicit")', "OTHERS"), "'requires' should be a literal tuple"),
        (METHOD.replace("= False", '= "no"', 1), "'seeded' should be a literal bool"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, problem):
    found = read_method_file(write(tmp_path, "my_own.py", text))
    assert found.problem is not None and problem in found.problem
    with pytest.raises(UserError, match="my-own"):
        method_file("my-own", {"my-own": found})


def test_all_methods_of_the_suite_can_be_described():
    methods = find_methods()
    assert {"popularity", "ease", "random"} <= methods.keys()
    assert {name: m.problem for name, m in methods.items() if m.problem} == {}
    assert not any(name.startswith("-") for name in methods)


def test_own_folder_wins_and_underscored_files_are_no_methods(tmp_path):
    write(tmp_path, "ease.py", METHOD)
    write(tmp_path, "_parts.py", "x = 1")
    methods = find_methods(tmp_path)
    assert methods["ease"].path.parent == tmp_path
    assert "parts" not in methods and "-parts" not in methods
    with pytest.raises(UserError, match="no such folder"):
        find_methods(tmp_path / "none")


def test_names_with_a_model(tmp_path):
    write(tmp_path, "library.py", METHOD)
    write(tmp_path, "plain.py", METHOD.replace("    model: str\n", ""))
    methods = find_methods(tmp_path)
    assert method_file("library:BPR", methods).name == "library"
    assert arguments("library:BPR", {"width": 8}) == {"model": "BPR", "width": 8}
    assert arguments("plain", {"width": 8}) == {"width": 8}
    with pytest.raises(UserError, match="wants a model"):
        method_file("library", methods)
    with pytest.raises(UserError, match="takes no model"):
        method_file("plain:BPR", methods)
    with pytest.raises(UserError, match="Did you mean 'plain'"):
        method_file("plian", methods)


def test_loading_a_method_by_path(tmp_path):
    write(tmp_path, "two_words.py", METHOD.replace("import no_such_package_anywhere", "def tune(x, **_): return x\n"
          "def make(): return 1"))  # fmt: skip
    cls = load_method("two-words:m", tmp_path)
    assert cls.__name__ == "Mine" and cls("m").shrink == 10.0
    write(tmp_path, "needy.py", METHOD)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_anywhere"):
        load_method("needy:x", tmp_path)
    write(tmp_path, "broken.py", "1 / 0\n" + METHOD)
    with pytest.raises(MethodError, match=r"broken\.py: raised ZeroDivisionError on import"):
        load_method("broken:x", tmp_path)
