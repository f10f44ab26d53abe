"""generated/: every figure, table and number of a paper, and the manifest that says what each was made from.

The same published files give the same bytes; ``check`` makes all again in a temporary folder and compares.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmrec.claims.sources import refuse_contradictions
from llmrec.errors import UserError, nearest
from llmrec.manuscript import numbers, style
from llmrec.manuscript.proof import read_proof
from llmrec.manuscript.register import Artefact, NotYet, find_artefacts
from llmrec.manuscript.results import Results
from llmrec.provenance import installed_version
from llmrec.published.tables import published_files
from llmrec.report import formats
from llmrec.report.table import Table

NUMBERS = "numbers"
MANIFEST = "manifest.json"
MADE_WITH = ("matplotlib", "numpy", "scipy", "polars")
"""Packages whose release may change the bytes of an artefact."""


@dataclass
class Made:
    """What came of making a paper's artefacts. ``manifest``: what is written to manifest.json."""

    folder: Path
    manifest: dict[str, Any]
    notices: list[str] = field(default_factory=list)
    not_yet: dict[str, str] = field(default_factory=dict)  # artefact -> why it is left out


def make(paper: Path, out: Path, root: Path | None = None, only: Sequence[str] = ()) -> Made:
    """Write the artefacts (all, or ``only`` those named) of the paper in folder ``paper`` below ``out``.

    Claims are held against the text, and the numbers in the text against those that there are, where numbers are made.

    Raises:
        UserError: an unknown name, a mistake in the paper's files or claims, a published file that cannot be read, a
            claim of the paper that the records contradict, or an artefact's function that fails.
    """
    artefacts = find_artefacts(paper)
    for name in only:
        if name not in (*artefacts, NUMBERS):
            raise UserError(
                f"--only {name}: the paper has no such figure or table.{nearest(name, [*artefacts, NUMBERS])}"
            )
    proof = read_proof(paper / "main.tex")
    proof.check_text(artefacts, paper)
    results = Results(paper, root)
    made = Made(out, {"schema_version": 1, "made_with": _versions(), "published": _sources(results, root)})
    entries: dict[str, Any] = {}
    runs: dict[str, str] = {}
    results.start()
    if not only or NUMBERS in only:
        refuse_contradictions(results.claims)
        known = numbers.all_numbers(results)
        proof.check_numbers(known)
        text = numbers.latex(known)
        _note(made, entries, runs, {f"{NUMBERS}.tex": text}, results, "llmrec.manuscript.numbers")
    for artefact in artefacts.values():
        if not only or artefact.name in only:
            _make_one(artefact, paper, results, made, entries, runs)
    made.manifest |= {"artefacts": entries, "runs": dict(sorted(runs.items())), "not_yet": made.not_yet}
    if not only:
        (out / MANIFEST).write_text(json.dumps(made.manifest, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return made


def replace_generated(fresh: Path, generated: Path, only: Sequence[str]) -> None:
    """Put freshly made artefacts in place: all of them, or some beside the others."""
    if not only:
        shutil.rmtree(generated, ignore_errors=True)
    for path in (p for p in fresh.rglob("*") if p.is_file()):
        target = generated / path.relative_to(fresh)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def check(paper: Path, root: Path | None = None, only: Sequence[str] = ()) -> int:
    """Make everything again and compare byte for byte; the number of files compared.

    Raises:
        UserError: a file differs, is missing, or belongs to nothing.
    """
    generated = paper / "generated"
    with tempfile.TemporaryDirectory(prefix="llmrec-paper-") as temporary:
        made = make(paper, Path(temporary), root, only)
        fresh, there = _contents(Path(temporary)), _contents(generated)
    wrong = [f"{name} differs" for name in fresh if name in there and fresh[name] != there[name]]
    wrong += [f"{name} is missing" for name in fresh if name not in there]
    wrong += [f"{name} belongs to no function" for name in there if name not in fresh and not only]
    if wrong:
        raise UserError(
            f"{generated} is not what the published results give: {'; '.join(wrong[:8])}"
            + (f"; and {len(wrong) - 8} more" if len(wrong) > 8 else "")
            + f".{_other_versions(generated, made)} Run: llmrec paper"
        )
    return len(fresh)


def _make_one(
    artefact: Artefact, paper: Path, results: Results, made: Made, entries: dict[str, Any], runs: dict[str, str]
) -> None:
    results.start()
    try:
        content = artefact.make(results)
    except NotYet as reason:
        made.not_yet[artefact.name] = str(reason)
        return
    except UserError:
        raise
    except Exception as error:
        raise UserError(_failed(artefact, paper, error)) from error
    if artefact.kind == "figure" and not hasattr(content, "savefig"):
        what = "nothing" if content is None else type(content).__name__
        raise UserError(f"{artefact.place(paper)}: figure {artefact.name!r} returns {what}, not a matplotlib figure.")
    by = f"{artefact.kind}s.{artefact.make.__name__}"
    if artefact.kind == "figure":
        made.notices += style.save(content, made.folder / "figures" / artefact.name)
        _note(made, entries, runs, dict.fromkeys(artefact.files), results, by)
        return
    text = formats.latex(content) if isinstance(content, Table) else str(content)
    _note(made, entries, runs, {artefact.files[0]: text}, results, by)


def _failed(artefact: Artefact, paper: Path, error: Exception) -> str:
    """What went wrong in an artefact's function, and in which line of the paper's own files."""
    steps = traceback.extract_tb(error.__traceback__)
    own = [step for step in steps if Path(step.filename).parent == paper]
    place = f"{own[-1].filename}:{own[-1].lineno}" if own else artefact.place(paper)
    what = f"{type(error).__name__}: {error}"
    return f"{place}: {artefact.kind} {artefact.name!r} failed: {what}. It alone: llmrec paper --only {artefact.name}"


def _note(
    made: Made,
    entries: dict[str, Any],
    runs: dict[str, str],
    files: dict[str, str | None],
    results: Results,
    by: str,
) -> None:
    """Write texts (None: the file is there already) and say of each file what it was made by and from."""
    for name, text in files.items():
        path = made.folder / name
        if text is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(foreign_marked(text), "utf-8")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        studies = {"studies": results.used_studies} if results.used_studies else {}
        entries[name] = {"made_by": by, "sha256": digest, "runs": list(results.used), **studies}
    runs |= results.used


def foreign_marked(text: str) -> str:
    r"""LaTeX with stretches of Chinese, Japanese or Korean characters inside ``\zh{...}``, which main.tex defines."""
    out, inside = [], False
    for character in text:
        foreign = ord(character) >= style.FIRST_CJK
        if foreign != inside:
            out.append(r"\zh{" if foreign else "}")
            inside = foreign
        out.append(character)
    return "".join(out) + "}" * inside


def _versions() -> dict[str, str]:
    return {name: installed_version(name) or "" for name in MADE_WITH}


def _sources(results: Results, root: Path | None) -> dict[str, list[str]]:
    """Suite -> SHA-256 of its two published files."""
    return {
        suite: [hashlib.sha256(path.read_bytes()).hexdigest() for path in published_files(suite, root)]
        for suite in results.suites
    }


def _contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _other_versions(generated: Path, made: Made) -> str:
    """A hint where other releases of the drawing packages made what is there."""
    path = generated / MANIFEST
    try:
        then = json.loads(path.read_text("utf-8"))["made_with"]
    except (OSError, ValueError, KeyError):
        return ""
    now = made.manifest["made_with"]
    other = [f"{name} {then.get(name)} (here {now[name]})" for name in now if then.get(name) != now[name]]
    return f" It was made with {', '.join(other)}." if other else ""
