"""What must be true of a suite before it is published; whatever is not is said with the command that mends it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmrec.content import results_folder
from llmrec.errors import UserError
from llmrec.provenance import SHAPING, provenance
from llmrec.records import Status
from llmrec.report.evidence import Block, Line, Run, check_same_users
from llmrec.report.words import listed
from llmrec.results import EXTERNAL
from llmrec.staleness import state
from llmrec.suite import Suite

UNDONE = (Status.INTERRUPTED, Status.PRUNED)
"""Endings that say nothing of a method."""

FINGERPRINTS = ("data", "split", "evaluation")
"""What must be one and the same in all runs of a table (of one fold)."""


def check_tree() -> None:
    """Raises UserError where the checkout has uncommitted changes: whether records are stale is told from its files."""
    if provenance().dirty:
        raise UserError(
            f"not publishable: the checkout has uncommitted changes ({', '.join(SHAPING)}), so that nobody could say "
            'which code the records belong to. Commit them: git commit -m "..."'
        )


def check_block(block: Block, suite: Suite, *, partial: bool = False, root: Path | None = None) -> None:
    """Refuse what would mislead: missing seeds, stale or dirty runs, mixed protocols, data or users.

    A row without any figure may be published where its runs say why (failed, oom, timeout, skipped), and with
    ``partial`` as "not yet run".

    Raises:
        UserError: the first of these that is found, with the command that mends it.
    """
    for line in block.lines:
        _check_complete(line, block, partial)
    done = [run for run in block.runs if run.ok]
    if not done:
        raise UserError(
            f"not publishable: no run of {block.suite} on {block.dataset} has figures. Run: {_again(block)}"
        )
    _check_fresh(done, block, suite)
    _check_clean(done, block, root)
    _check_one_protocol(done, block)
    check_same_users([run for line in block.finished for run in line.done])


def _again(block: Block) -> str:
    return f"llmrec run {block.suite} -d {block.dataset}"


def _check_complete(line: Line, block: Block, partial: bool) -> None:
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
        f"Run: {_again(block)} -m '{line.label}' --seeds {chosen}{retry}"
        + ("" if partial or len(missing) < len(line.runs) else "; or publish the row as not yet run: --partial")
    )


def _check_fresh(done: Sequence[Run], block: Block, suite: Suite) -> None:
    stale = [run for run in done if not run.fresh]
    if not stale:
        return
    states = {state(run.record, suite.files.get(run.spec.method, EXTERNAL)) for run in stale}
    if states == {"stale evaluation"}:
        why, mend = "were measured by an older evaluation", f"llmrec reeval {block.suite}"
    elif all(run.family == "external" for run in stale):
        why, mend = "were scored by older code", f"llmrec score again for {block.suite}"
    else:
        why, mend = "are stale: the code has changed since", f"llmrec run {block.suite} --stale"
    raise UserError(f"not publishable: {len(stale)} runs on {block.dataset} ({_names(stale)}) {why}. Run: {mend}")


def _check_clean(done: Sequence[Run], block: Block, root: Path | None) -> None:
    dirty = [run for run in done if run.record and run.record.provenance.dirty]
    if dirty:
        raise UserError(
            f"not publishable: {len(dirty)} runs on {block.dataset} ({_names(dirty)}) were made with uncommitted "
            f"changes. Commit, then: {_delete(dirty, root)} && {_again(block)}"
        )


def _check_one_protocol(done: Sequence[Run], block: Block) -> None:
    """Each record must be what its folder and the suite say, and all that compete must have been judged alike."""
    foreign = [run for run in done if run.record and run.record.spec != run.spec]
    if foreign:
        asked, record = foreign[0].spec.model_dump(), foreign[0].record
        told = record.spec.model_dump() if record else {}
        keys = [key for key in told if told[key] != asked.get(key)]
        raise UserError(
            f"not publishable: mixed protocols: the record of {foreign[0].label} on {block.dataset} was made under "
            f"another {listed(keys)} than the suite asks for. {_mend(foreign, block)}"
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
            _check_one([run for run in rivals if run.fold == fold], what, block)


def _check_one(runs: Sequence[Run], what: str, block: Block) -> None:
    made: dict[str, list[Run]] = {}
    for run in runs:
        if run.record and (value := run.record.fingerprints.get(what)):
            made.setdefault(value, []).append(run)
    if len(made) > 1:
        few = min(made.values(), key=len)
        raise UserError(
            f"not publishable: runs on {block.dataset} have {len(made)} {what} fingerprints; {_names(few)} stand "
            f"apart. {_mend(few, block)}"
        )


def _mend(runs: Sequence[Run], block: Block) -> str:
    return f"Run: {_delete(runs)} && {_again(block)}"


def _delete(runs: Sequence[Run], root: Path | None = None) -> str:
    folder = (root or results_folder()) / "runs"
    return "rm -r " + " ".join(str(folder / run_id) for run_id in dict.fromkeys(run.spec.run_id for run in runs))


def _names(runs: Sequence[Run]) -> str:
    return listed(list(dict.fromkeys(run.label for run in runs)))
