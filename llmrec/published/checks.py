"""What must be true of a suite before it is published; whatever is not is said with the command that mends it."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from llmrec.content import content_root
from llmrec.errors import UserError
from llmrec.provenance import SHAPING, provenance
from llmrec.records import Status
from llmrec.report.evidence import Block, Line, Run, check_same_users
from llmrec.report.words import listed, number_of
from llmrec.results import EXTERNAL
from llmrec.staleness import state
from llmrec.suite import Suite

UNDONE = (Status.INTERRUPTED, Status.PRUNED)
"""Endings that say nothing of a method."""

FINGERPRINTS = ("data", "split", "evaluation")
"""What must be one and the same in all runs of a table (of one fold)."""


FILES_NAMED = 5  # of those that are not committed


def check_tree() -> None:
    """Raises UserError where the checkout has uncommitted changes: whether records are stale is told from its files."""
    if provenance().dirty:
        changed = uncommitted(content_root())
        few = [*changed[:FILES_NAMED], *([f"{len(changed) - FILES_NAMED} more"] if len(changed) > FILES_NAMED else [])]
        files = shlex.join(changed if changed == few else SHAPING)
        raise UserError(
            f"not publishable: the checkout has uncommitted changes ({listed(few) or listed(list(SHAPING))}), so that "
            f"nobody could say which code the records belong to. Commit them: git add {files} && git commit, or put "
            "them aside: git stash -u"
        )


def uncommitted(root: Path) -> list[str]:
    """A checkout's changed and new files that could change a figure, from its root; none where git cannot say."""
    command = ["git", "-C", str(root), "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--"]
    try:
        told = subprocess.run([*command, *SHAPING], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [entry[3:] for entry in told.split("\0") if entry]


def check_block(block: Block, suite: Suite, *, partial: bool = False, root: Path | None = None) -> None:
    """Refuse what would mislead: missing seeds, stale or dirty runs, mixed protocols, data or users.

    A row without any figure may be published where its runs say why (failed, oom, timeout, skipped), and with
    ``partial`` as "not yet run".

    Raises:
        UserError: the first of these that is found, with the command that mends it.
    """
    folder = f" --results {shlex.quote(str(root))}" if root else ""
    for line in block.lines:
        _check_complete(line, block, partial, folder)
    done = [run for run in block.runs if run.ok]
    if not done:
        raise UserError(
            f"not publishable: no run of {block.suite} on {block.dataset} has figures. Run: {_again(block)}{folder}"
        )
    _check_fresh(done, block, suite, folder)
    _check_clean(done, block, folder)
    _check_one_protocol(done, block, folder)
    check_same_users([run for line in block.finished for run in line.done])


def _again(block: Block) -> str:
    return f"llmrec run {block.suite} -d {block.dataset}"


def _check_complete(line: Line, block: Block, partial: bool, folder: str) -> None:
    missing = [run for run in line.runs if not run.ok]
    if not missing:
        return
    ended = all(run.record is not None and run.record.status not in UNDONE for run in missing)
    if len(missing) == len(line.runs) and (ended or partial):
        return
    seeds = sorted({run.spec.seed for run in missing})
    retry = " --retry" if any(run.record is not None and run.record.status not in UNDONE for run in missing) else ""
    places = f"seed{'s' * (len(seeds) > 1)} {listed([str(seed) for seed in seeds])}"
    chosen = ",".join(map(str, seeds))
    raise UserError(
        f"not publishable: {line.label} on {block.dataset} lacks {places} ({missing[0].reason}). "
        f"Run: {_again(block)} -m {shlex.quote(line.label)} --seeds {chosen}{retry}{folder}"
        + ("" if partial or len(missing) < len(line.runs) else "; or publish the row as not yet run: --partial")
    )


def _check_fresh(done: Sequence[Run], block: Block, suite: Suite, folder: str) -> None:
    stale = [run for run in done if not run.fresh]
    if not stale:
        return
    states = {state(run.record, suite.files.get(run.spec.method, EXTERNAL)) for run in stale}
    if states == {"stale evaluation"}:
        why, mend = "measured by an older evaluation", f"llmrec reeval {block.suite}{folder}"
    elif all(run.family == "external" for run in stale):
        why, mend = "scored by older code", f"llmrec score again for {block.suite}{folder}"
    else:
        why, mend = "stale, for the code has changed since", f"{_again(block)}{folder} --stale"
    count = number_of(len(stale), "run")
    raise UserError(f"not publishable: {count} on {block.dataset} ({_names(stale)}) {why}. Run: {mend}")


def _check_clean(done: Sequence[Run], block: Block, folder: str) -> None:
    dirty = [run for run in done if run.record and run.record.provenance.dirty]
    if dirty:
        raise UserError(
            f"not publishable: {number_of(len(dirty), 'run')} on {block.dataset} ({_names(dirty)}) made with "
            f"uncommitted changes. Commit, then: {_mend(dirty, block, folder)}"
        )


def _check_one_protocol(done: Sequence[Run], block: Block, folder: str) -> None:
    """Each record must be what its folder and the suite say, and all that compete must have been judged alike."""
    foreign = [run for run in done if run.record and run.record.spec != run.spec]
    if foreign:
        raise UserError(
            f"not publishable: mixed protocols: the record of {foreign[0].label} on {block.dataset} was made under "
            f"{_otherwise(foreign[0])} than the suite asks for. Run: {_mend(foreign, block, folder)}"
        )
    rivals = [run for run in done if not run.control]
    protocols = {run.spec.protocol.model_copy(update={"fold": None}) for run in rivals}
    if len(protocols) > 1:
        keys = [
            key for key in type(rivals[0].spec.protocol).model_fields if len({getattr(p, key) for p in protocols}) > 1
        ]
        raise UserError(
            f"not publishable: mixed protocols on {block.dataset} ({listed(keys)} differ). Split {block.suite} into "
            "one suite a protocol."
        )
    for fold in block.folds:
        for what in FINGERPRINTS:
            _check_one([run for run in rivals if run.fold == fold], what, block, folder)


def _check_one(runs: Sequence[Run], what: str, block: Block, folder: str) -> None:
    made: dict[str, list[Run]] = {}
    for run in runs:
        if run.record and (value := run.record.fingerprints.get(what)):
            made.setdefault(value, []).append(run)
    if len(made) > 1:
        few = min(made.values(), key=len)
        raise UserError(
            f"not publishable: runs on {block.dataset} have {len(made)} {what} fingerprints; {_names(few)} stand "
            f"apart. Run: {_mend(few, block, folder)}"
        )


def _otherwise(run: Run) -> str:
    """In what a record's specification is not what the suite asks for: "another protocol (fit_data 'train+valid')"."""
    assert run.record is not None
    asked, told = run.spec.model_dump(mode="json"), run.record.spec.model_dump(mode="json")
    said = []
    for key in (key for key in told if told[key] != asked[key]):
        theirs = told[key]
        parts = []
        if isinstance(theirs, dict):
            parts = [f"{name} {value!r}" for name, value in theirs.items() if value != asked[key].get(name)]
        said.append(f"another {key} ({', '.join(parts) or repr(theirs)})")
    return listed(said)


def _mend(runs: Sequence[Run], block: Block, folder: str) -> str:
    """The commands that delete records and make them again; records of other machine classes stay."""
    homes = [str(run.folder) for run in runs if run.folder]
    return f"rm -r {shlex.join(homes)} && {_again(block)}{folder}"


def _names(runs: Sequence[Run]) -> str:
    return listed(list(dict.fromkeys(run.label for run in runs)))
