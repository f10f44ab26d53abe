"""Looking again at what is there: `verify` does a run once more and compares; `reeval` measures stored answers anew."""

from __future__ import annotations

import datetime
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmrec.child import Child, Ending, make_job
from llmrec.discover import MethodFile, find_methods, method_file
from llmrec.errors import UserError
from llmrec.provenance import machine_class, provenance
from llmrec.publish import disk_errors, publish, staging_folder
from llmrec.records import Record, RunSpec, Status, read_record, write_record
from llmrec.results import read_suite
from llmrec.seeds import content_hash
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.suite import Limits, Suite
from llmrec.tasks import TASKS, implementation

TOLERANCE = 1e-4
"""How far a metric (most lie between 0 and 1) may move, absolutely or relatively, to count as the same figure."""

Verdict = Literal["bitwise", "tolerance", "none"]


@dataclass(frozen=True)
class Verification:
    """What came of running something again."""

    determinism: Verdict
    differences: dict[str, float]  # metric -> by how much it differs, where it does
    seed_free: bool | None  # of a method without random streams: does another seed give the same answers?
    when: str
    answers: str  # fingerprint of the answers that were checked
    commit: str


def verify(record: Record, folder: Path, *, limits: Limits, extra: Path | None = None) -> Verification:
    """Do a run again in a fresh process, compare ranks, lists, scores and metrics, and write ``verify.json`` beside the
    record. "bitwise": all equal; "tolerance": every metric within `TOLERANCE`; "none": neither.

    For a method that says ``seeded = False`` it is also run with another seed, which must change nothing; where it
    does, the verdict is "none".

    Raises:
        UserError: the record is not ok, was made by other code or on another class of machines, or the rerun fails.
    """
    file = method_file(record.spec.method, find_methods(extra), record.spec.params)
    if record.status != Status.OK:
        raise UserError(f"run {record.run_id} is {record.status}: there is nothing to verify.")
    if (here := machine_class(file)) != record.machine_class:
        raise UserError(f"run {record.run_id} was made on {record.machine_class}; this is {here}. Verify it there.")
    if code_fingerprint(file, record.spec.dataset, record.spec.task) != record.fingerprints.get("code"):
        raise UserError(f"run {record.run_id} is stale: the code has changed since. Run its suite with --stale first.")
    check_stored(record, folder)
    again = _rerun(record.spec, record, file, limits)
    seed_free = None
    verdict, differences = compare(record, again)
    if not file.seeded:
        other = _rerun(record.spec.model_copy(update={"seed": 1}), record, file, limits)
        seed_free = _same_answers(again, other)
        verdict = verdict if seed_free else "none"
    result = Verification(
        determinism=verdict,
        differences=differences,
        seed_free=seed_free,
        when=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        answers=record.fingerprints.get("answers", ""),  # a trial of tuning has none
        commit=provenance().commit,
    )
    with disk_errors(folder):
        (folder / "verify.json").write_text(json.dumps(vars(result), indent=1) + "\n", "utf-8")
    return result


def _rerun(spec: RunSpec, record: Record, file: MethodFile, limits: Limits) -> Record:
    """The record of a fresh run of ``spec`` in a temporary place, with the threads of ``record``."""
    with tempfile.TemporaryDirectory(prefix="llmrec-verify-") as temporary:
        job = make_job(spec, file, record.provenance.threads, Path(temporary) / "checkpoints", alone=True)
        child = Child.start(job, Path(temporary) / "run", limits, gpu="0" if job.device == "cuda" else "")
        try:
            while (ending := child.poll()) is None:
                time.sleep(0.05)
        finally:
            child.stop(Ending(Status.INTERRUPTED), at_once=True)
            child.process.wait()
        if ending.status != Status.OK:
            raise UserError(f"the rerun of {record.run_id} is {ending.status}: {ending.error}\n{child.log_tail()}")
        return read_record(child.staging)


def check_stored(record: Record, folder: Path) -> None:
    """What is stored must be what the record speaks of; a clone has no answers, and then only the hashes count.

    Raises:
        UserError: the answers are not the record's, or cannot be read.
    """
    if (folder / "answers.parquet").exists():
        stored = implementation(record.spec.task).stored(folder)
        if any(record.fingerprints[key] != value for key, value in stored.items()):
            raise UserError(f"{folder}: its answers are not those of its record. Delete it and run the suite again.")


def compare(first: Record, second: Record) -> tuple[Verdict, dict[str, float]]:
    """How far two records of one run are the same ("bitwise": in all answers and figures; "tolerance": in the figures,
    up to `TOLERANCE`), and by how much each metric differs that does; inf where only one has it."""
    names = sorted(first.metrics.keys() | second.metrics.keys())
    pairs = {name: (first.metrics.get(name), second.metrics.get(name)) for name in names}
    differences = {
        name: abs(a - b) if a is not None and b is not None else float("inf")
        for name, (a, b) in pairs.items()
        if a != b
    }
    if not differences and _same_answers(first, second):
        return "bitwise", {}
    close = all(gap <= TOLERANCE * max(1.0, abs(first.metrics.get(name, 0.0))) for name, gap in differences.items())
    return "tolerance" if close else "none", differences


def _same_answers(first: Record, second: Record) -> bool:
    return all(first.fingerprints.get(key) == second.fingerprints.get(key) for key in ("answers", "scores"))


@dataclass(frozen=True)
class Reevaluated:
    """A record before and after its answers were measured again; ``reason`` says why there is no ``after``."""

    before: Record
    after: Record | None
    reason: str = ""


def reevaluate(suite: Suite, root: Path) -> list[Reevaluated]:
    """Measure the stored answers of a suite's ok records anew, and put the figures in place of the old ones. Everything
    else in the records (provenance, cost, seeds) stays."""
    done = []
    splits: dict[str, Any] = {}  # by what makes them
    for planned, record, _ in read_suite(suite, root=root):
        if record is None or record.status != Status.OK:
            continue
        folder = root / "runs" / record.run_id / record.machine_class
        key = content_hash([planned.spec.task, planned.spec.dataset, planned.spec.protocol.model_dump(mode="json")])
        if key not in splits:
            splits[key] = _split(planned.spec)
        try:
            done.append(Reevaluated(record, _measure_again(record, folder, root, *splits[key])))
        except UserError as error:
            done.append(Reevaluated(record, None, str(error)))
    return done


def _split(spec: RunSpec) -> tuple[Any, ...]:
    """The split, the items and their embeddings if they are cached."""
    from llmrec.data import load
    from llmrec.prepare import can_embed
    from llmrec.split import make_split

    split, items = make_split(load(spec.dataset), spec.protocol, spec.task)
    embeddings = None
    if spec.task == "topn" and can_embed(items):
        from llmrec.encode import cached_embeddings

        embeddings = cached_embeddings(items.texts)
    return split, items, embeddings


def _measure_again(record: Record, folder: Path, root: Path, split: Any, items: Any, embeddings: Any) -> Record:
    task = implementation(record.spec.task)
    rates = {name: value for name, value in record.metrics.items() if name.endswith("_rate")}
    validation = {name: value for name, value in record.metrics.items() if name.startswith("valid/")}
    answers = task.read(folder, split, rates)
    check_stored(record, folder)
    measures = task.measure(answers, split, items, embeddings)
    after = record.model_copy(
        update={
            "metrics": {**validation, **measures.metrics},
            "slices": measures.slices,
            "counts": {**record.counts, **measures.counts},  # those of the split stay what they are
            "fingerprints": {**record.fingerprints, "evaluation": evaluation_fingerprint(record.spec.task)},
        }
    )
    if after == record:
        return record
    with disk_errors(root):
        staging = staging_folder(root, record.run_id, record.machine_class)
        shutil.copytree(folder, staging)
        measures.users.write_parquet(staging / TASKS[record.spec.task].units_file)
        write_record(after, staging)
        publish(staging, folder)
    return after
