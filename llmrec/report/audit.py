"""What to know before trusting a table: identical answers, idle seeds, mixed code, stale and dirty runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmrec.records import Record
from llmrec.report.evidence import Block, Run
from llmrec.report.words import fraction, listed, number_of, quantity
from llmrec.tuned import Facts, again

NEAR = 0.01
"""How far, relatively, a validation figure may lie from that of the trial it repeats: machines round differently."""


@dataclass(frozen=True)
class Remark:
    """One finding. ``level``: "alarm" puts figures in doubt, "note" wants to be known, "fine" is a check passed."""

    level: str
    text: str


def audit(block: Block) -> list[Remark]:
    """All remarks on a block, alarms first."""
    checks = (
        identical_answers, idle_seeds, stale_runs, missing_runs, dirty_runs, mixed_provenance, other_budgets,
        searched_before, written_answers, determinism, left_out_users,
    )  # fmt: skip
    remarks = [remark for check in checks for remark in check(block)]
    return sorted(remarks, key=lambda remark: ("alarm", "note", "fine").index(remark.level))


def identical_answers(block: Block) -> list[Remark]:
    """Two methods that answer exactly the same are one method, or a mistake."""
    makers: dict[str, list[str]] = {}
    for run in (run for run in _done(block) if not run.control):
        answers = _of(run).fingerprints.get("answers")
        if answers and run.label not in makers.setdefault(answers, []):
            makers[answers].append(run.label)
    same = sorted({tuple(labels) for labels in makers.values() if len(labels) > 1})
    if not same:
        known = len([1 for run in _done(block) if _of(run).fingerprints.get("answers")])
        return [Remark("fine", f"No two methods gave identical answers ({known} runs compared).")] if known else []
    return [
        Remark("alarm", f"{listed(list(labels))} gave identical answers: ranks and lists are equal in every place.")
        for labels in same
    ]


def idle_seeds(block: Block) -> list[Remark]:
    """A method with several seeds whose answers do not differ does not use its seed."""
    remarks = []
    for line in block.lines:
        first = [run for run in line.done if run.fold == line.folds[0]]
        answers = [_of(run).fingerprints["answers"] for run in first if "answers" in _of(run).fingerprints]
        if len(answers) > 1 and len(set(answers)) == 1:
            text = (
                f"{line.label}: all {len(answers)} seeds gave identical answers, so its spread over seeds says nothing."
            )
            remarks.append(Remark("note", text))
    return remarks


def stale_runs(block: Block) -> list[Remark]:
    stale = [run for run in _done(block) if not run.fresh]
    if not stale:
        return []
    found = f"{number_of(len(stale), 'stale run')} ({listed(_labels(stale))})"
    again = f"`llmrec run {block.suite} --stale` makes them again"
    return [Remark("alarm", f"{found}: the code has changed since; {again}.")]


def missing_runs(block: Block) -> list[Remark]:
    missing = [run for run in block.runs if not run.ok]
    if not missing:
        return [Remark("fine", f"All {len(block.runs)} planned runs are there.")]
    return [Remark("note", f"{len(missing)} of {len(block.runs)} runs have no figures: {listed(_labels(missing))}.")]


def dirty_runs(block: Block) -> list[Remark]:
    dirty = [run for run in _done(block) if _of(run).provenance.dirty]
    if not dirty:
        return []
    return [Remark("note", f"{len(dirty)} of {len(_done(block))} runs come from a tree with uncommitted changes.")]


def mixed_provenance(block: Block) -> list[Remark]:
    """Rows of one table that were made by other code, on other data or on another machine."""
    views: list[tuple[str, str, Callable[[Run], str]]] = [
        ("alarm", "data fingerprints", lambda run: _of(run).fingerprints.get("data", "")),
        ("alarm", "split fingerprints", lambda run: _of(run).fingerprints.get("split", "")),
        ("note", "commits", lambda run: _of(run).provenance.commit[:10]),
        ("note", "lock files", lambda run: _of(run).provenance.lock[:10]),
        ("note", "machines (costs are not comparable)", lambda run: _of(run).provenance.host),
        ("note", "thread counts (costs are not comparable)", lambda run: str(_of(run).provenance.threads)),
    ]
    remarks = []
    for level, what, view in views:
        made = [run for run in _done(block) if run.family != "external"]
        if what == "split fingerprints":  # folds differ on purpose, and controls may
            made = [run for run in made if not run.control and run.fold == block.folds[0]]
        values = sorted({value for run in made if (value := view(run))})
        if len(values) > 1:
            remarks.append(Remark(level, f"The runs of this table have {len(values)} {what}: {listed(values)}."))
    return remarks


def other_budgets(block: Block) -> list[Remark]:
    """Tuned rows that had more trials than others, and rows that had none beside tuned ones."""
    searched = [line for line in block.lines if line.tuned]
    counts = {line.label: line.tuned.study.trials for line in searched if line.tuned}
    if not counts:
        return []
    if len(set(counts.values())) > 1:
        said = listed([f"{label} {count}" for label, count in counts.items()])
        remarks = [Remark("alarm", f"The rows' searches had different numbers of trials: {said}.")]
    else:
        said = f"{next(iter(counts.values()))} trials each"
        remarks = [Remark("fine", f"The parameters of {len(counts)} rows were searched on validation, {said}.")]
    rest = [line for line in block.lines if not line.tuned and line.family != "external" and not line.control]
    for searchable, words in ((True, "Not searched"), (False, "Nothing to search")):
        if names := [line.label for line in rest if line.searchable == searchable]:
            remarks.append(Remark("note", f"{words}: {listed(names)}."))
    return remarks


def searched_before(block: Block) -> list[Remark]:
    """Tuned parameters that another state of the code found: whether it still gives the figure that chose them."""
    remarks = []
    for line in block.lines:
        if line.tuned is None:
            continue
        study = line.tuned.study
        now = [figure for run in line.done if (figure := _of(run).metrics.get(study.metric)) and _is_trial(run, study)]
        mend = f"`{again(block.suite, line.label, study)}` searches again"
        if now and abs(now[0] - study.best) > NEAR * abs(study.best):
            text = (
                f"{line.label}: its parameters were chosen at {study.metric} {fraction(study.best)}; with them today's "
                f"code gives {fraction(now[0])}. They are no longer the choice of an equal search; {mend}."
            )
            remarks.append(Remark("alarm", text))
        elif line.tuned_by_other_code:
            same = "which gives the same validation figure today" if now else "not yet compared with today's"
            remarks.append(Remark("note", f"{line.label}: tuned by another state of the code, {same}; {mend}."))
    return remarks


def _is_trial(run: Run, study: Facts) -> bool:
    """Whether a run is what the best trial was, apart from the part it is judged on."""
    return run.spec.model_copy(update={"part": "valid"}).run_id == study.best_run


def written_answers(block: Block) -> list[Remark]:
    """Shares of generated answers that had to be thrown away."""
    remarks = []
    for line in block.finished:
        keys = sorted({metric for record in line.records for metric in record.metrics if metric.endswith("_rate")})
        rates = {key.removesuffix("_rate").replace("_", "-"): line.figures(key) for key in keys}
        if rates:
            shares = [f"{name} {100 * sum(values) / len(values):.2f} %" for name, values in rates.items()]
            remarks.append(Remark("note", f"{line.label} writes its answers; thrown away: {listed(shares)}."))
    return remarks


def determinism(block: Block) -> list[Remark]:
    """How many runs have been verified, and with what outcome."""
    classes = [run.determinism for run in _done(block)]
    counted = [f"{classes.count(word)} {word}" for word in ("bitwise", "tolerance", "none") if word in classes]
    if not classes:
        return []
    if not counted:
        return [Remark("note", "No run has been verified yet (`llmrec verify RUN_ID` runs one again and compares).")]
    checked = len(classes) - classes.count("unverified")
    level = "alarm" if "none" in classes else "note" if "unverified" in classes else "fine"
    return [Remark(level, f"{checked} of {len(classes)} runs verified by running them again: {listed(counted)}.")]


def left_out_users(block: Block) -> list[Remark]:
    without = [_of(run).counts.get("users_without_target", 0) for run in _done(block)]
    if not without or not max(without):
        return []
    return [Remark("note", f"{quantity(max(without))} users without a target are left out of every mean.")]


def _done(block: Block) -> list[Run]:
    return [run for run in block.runs if run.ok]


def _of(run: Run) -> Record:
    assert run.record is not None
    return run.record


def _labels(runs: list[Run]) -> list[str]:
    return list(dict.fromkeys(run.label for run in runs))
