"""Reading the records of a results folder that came from elsewhere: each is whole and says what it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llmrec.errors import UserError
from llmrec.publish import KEPT
from llmrec.recheck import Verdict, check_stored
from llmrec.records import Record, Status, read_record
from llmrec.stored import read_ranks, read_table
from llmrec.tasks import TASKS

Key = tuple[str, str]
"""Run id and machine class: where a record lies."""


@dataclass(frozen=True)
class Found:
    """A record and its folder. ``determinism``: what `llmrec verify` has found of it, here or there."""

    record: Record
    folder: Path
    determinism: Verdict | Literal["unverified"]

    @property
    def key(self) -> Key:
        """What no two records of one results folder share."""
        return self.record.run_id, self.record.machine_class


def run_folders(root: Path) -> list[Path]:
    """The folders of a results folder's runs, whole or not; those that a runner works in are left out.

    Raises:
        UserError: it is no results folder.
    """
    if not (root / "runs").is_dir():
        inside = sorted(path.parent.name for path in root.glob("*/runs") if path.is_dir()) if root.is_dir() else []
        hint = f" Did you mean {root / inside[0]}?" if inside else " Give the folder that `llmrec run` wrote to."
        raise UserError(f"{root}: no results folder: {'it has no runs/.' if root.is_dir() else 'not there.'}{hint}")
    return sorted(path for path in (root / "runs").glob("[!.]*/[!.]*") if path.is_dir())


def read(folder: Path) -> Found:
    """One run's record and whether all that belongs to it is whole.

    Raises:
        UserError: names the file that is missing, damaged, or another run's.
    """
    if not (folder / "record.json").exists():
        raise UserError(f"{folder / 'record.json'}: missing: the run was not finished or only copied in part.")
    record = read_record(folder)
    told = {"run_id": folder.parent.name, "machine_class": folder.name}
    for name, expected in told.items():
        if getattr(record, name) != expected:
            raise UserError(
                f"{folder / 'record.json'}: its {name} is {getattr(record, name)!r}, its folder's {expected!r}."
            )
    if record.spec.run_id != record.run_id:
        raise UserError(f"{folder / 'record.json'}: its run_id is not that of its spec: it was changed by hand.")
    if record.status == Status.OK:
        _check_tables(record, folder)
    return Found(record, folder, _determinism(record, folder))


def _check_tables(record: Record, folder: Path) -> None:
    """The tables that are committed with a record are there, and whatever is there can be read and is the record's."""
    needed = "ranks.parquet" if record.spec.task == "topn" else TASKS[record.spec.task].units_file
    if record.spec.part == "test" and not (folder / needed).exists():
        raise UserError(f"{folder / needed}: missing: the run was only copied in part.")
    for name in KEPT:
        if name.endswith(".parquet") and (folder / name).exists():
            read_ranks(folder) if name == "ranks.parquet" else read_table(folder, name)
    check_stored(record, folder)


def _determinism(record: Record, folder: Path) -> Verdict | Literal["unverified"]:
    """The verdict of verify.json, if it is on these answers."""
    try:
        told = json.loads((folder / "verify.json").read_text("utf-8"))
        verdict: Verdict = told["determinism"]
        same = told["answers"] == record.fingerprints.get("answers", "")
    except (OSError, ValueError, KeyError, TypeError):
        return record.determinism
    return verdict if same and verdict in ("bitwise", "tolerance", "none") else record.determinism


def read_all(roots: list[Path], advance: Callable[[int], None] = lambda count: None) -> tuple[list[Found], list[str]]:
    """All records of some results folders, in the order given, and a sentence on each that is damaged."""
    found, problems = [], []
    for folder in [folder for root in roots for folder in run_folders(root)]:
        try:
            found.append(read(folder))
        except UserError as error:
            problems.append(str(error))
        advance(1)
    return found, problems
