"""llmrec itself as members of an archive, laid out as in a wheel: a folder that only has to be put on the path."""

from __future__ import annotations

import importlib.metadata
import subprocess
from collections.abc import Iterator
from pathlib import Path

from llmrec.content import PACKAGE, content_root
from llmrec.packing.archive import Member
from llmrec.provenance import COMMIT, provenance

FOLDER = "code"

CONTENT = ("baselines", "benchmarks", "datasets")
"""What lies beside the package in a checkout and inside it in a wheel (see hatch_build.py)."""


def members() -> list[Member]:
    """The package, its content, the lock and the starter that `python ARCHIVE` runs."""
    inside = f"{FOLDER}/llmrec/_bundled"
    found = [_member(f"{FOLDER}/llmrec/{path.relative_to(PACKAGE).as_posix()}", path) for path in _files(PACKAGE)]
    root = content_root()
    if root != PACKAGE / "_bundled":  # else the package has brought it along
        for name in CONTENT:
            found += [
                _member(f"{inside}/{name}/{path.relative_to(root / name).as_posix()}", path)
                for path in _files(root / name)
            ]
        if (lock := root / "requirements.lock").is_file():
            found.append(_member(f"{inside}/{lock.name}", lock))
    here = provenance()
    state = f"{here.commit} {'dirty' if here.dirty else 'clean'}\n"
    found.append(Member(f"{inside}/{COMMIT}", "code", state.encode()))
    told = importlib.metadata.distribution("llmrec")  # its version, and which extra brings a package that is missing
    head = f"{FOLDER}/llmrec-{told.version}.dist-info/METADATA"
    found.append(Member(head, "code", (told.read_text("METADATA") or "").encode()))
    found.append(_member("__main__.py", Path(__file__).with_name("starter.py")))
    return found


def _member(path: str, file: Path) -> Member:
    return Member(path, "code", file.read_bytes())  # at once: source is worked on


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder; in a checkout those that git would keep, so that no draft's leavings come along."""
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        told = []
    known = [folder / name for name in told if name]
    every = known or [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    yield from sorted(path for path in every if path.is_file())
