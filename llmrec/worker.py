"""Does one run in its own process: ``python -P -m llmrec.worker JOB.json STAGING_FOLDER``.

    data -> split -> warm-up (untimed) -> fit -> answer -> measure -> files in the staging folder, fsynced

The runner starts it with thread counts, hash seed and determinism environment set, watches it, and renames the staging
folder into place: a run is there whole or not at all. Progress goes to ``events.jsonl`` in the staging folder; what the
method prints goes to ``log.txt``; an error leaves ``error.json``.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.records import Cost, Provenance, Record, RunSpec, Status, write_record

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.curve import Curve
    from llmrec.data import Dataset
    from llmrec.types import Floats, Items, Split

DISK_TROUBLE = 74
"""Exit code that says: the disk is full or cannot be written."""

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """All that a worker is told."""

    spec: dict[str, Any]
    machine_class: str
    device: str
    threads: int
    code: str  # fingerprints of the source, see llmrec.staleness
    evaluation: str
    checkpoints: str  # folder that outlives the process
    method_file: str
    imports: list[str]  # modules to import before the clock starts
    torch: bool  # whether the method may use torch
    alone: bool  # the runner runs nothing beside it
    provenance: dict[str, Any]
    floors: dict[str, float] = field(default_factory=dict)  # epoch -> validation figure below which a trial is pruned

    def write(self, path: Path) -> None:
        """Write it where ``main`` will read it."""
        path.write_text(json.dumps(asdict(self)), "utf-8")


class Stopped(BaseException):
    """The runner asked for the end, or is gone."""


class Pruned(BaseException):
    """A trial of tuning fell behind. No method's `except Exception` keeps it going."""


def main() -> int:
    """Entry point; the exit code is 0 only if the staging folder holds a whole run."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text("utf-8")))
    staging = Path(sys.argv[2])
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's
    _end_with_parent()
    try:
        with (staging / "events.jsonl").open("a", encoding="utf-8") as events:
            record = do(job, staging, _emitter(events))
        write_record(record, staging)
        _sync(staging)
    except Stopped:
        return 130
    except BaseException as error:
        return _fail(error, staging)
    return 0


def do(job: Job, staging: Path, emit: Emit) -> Record:
    """The life of one run: everything but the record lies in ``staging`` afterwards."""
    from llmrec.context import Context
    from llmrec.curve import Curve
    from llmrec.data import load
    from llmrec.discover import arguments, import_method, read_method_file
    from llmrec.fitting import fit
    from llmrec.method import count_parameters, parameters
    from llmrec.others import Others
    from llmrec.split import make_split
    from llmrec.tasks import TASKS, implementation
    from llmrec.warm import import_first, wake_torch

    began, started, others = time.monotonic(), _now(), Others(_cpu_seconds())
    spec = RunSpec.model_validate(job.spec)
    facts, task = TASKS[spec.task], implementation(spec.task)
    emit({"stage": "data"})
    dataset = load(spec.dataset)
    emit({"stage": "split"})
    split, items = make_split(dataset, spec.protocol, spec.task)
    emit({"stage": "warm-up"})
    import_first(job.imports)
    if job.torch:
        wake_torch(job.device, job.threads)
    file = read_method_file(Path(job.method_file))
    cls, given = import_method(file), arguments(spec.method, spec.params)

    curve = Curve(Path(job.checkpoints), facts.primary, facts.better)

    def note(event: dict[str, Any]) -> None:
        if event["stage"] == "explanation":  # a part of the answer, and no progress
            return _keep(event, staging / "explanations.jsonl")
        curve.add(event)
        emit(event)
        _prune(event, curve, job.floors, staging)

    ctx = Context(
        seed=spec.seed, items=items, device=job.device, folder=Path(job.checkpoints), emit=note,
        watched=facts.primary, better=facts.better,
    )  # fmt: skip
    cost: dict[str, Any] = {}
    emit({"stage": "fit"})
    curve.start()
    with _clock(cost, "fit"):
        method = fit(lambda: cls(**given), split, ctx, task.validate, early_stops=file.early_stops)
    cost["fit_seconds"] += curve.earlier_seconds
    cost["fit_cpu_seconds"] += curve.earlier_cpu_seconds
    metrics: dict[str, float] = {}
    slices: dict[str, dict[str, float]] = {}
    counts: dict[str, int] = {}
    hashes: dict[str, str] = {}
    if spec.part == "test":
        emit({"stage": "answer"})
        with _clock(cost, "answer"):
            answers = task.answer(method, split, "test")
        emit({"stage": "measure"})
        embeddings = _diversity_embeddings(items, ctx) if spec.task == "topn" else None
        measures = task.measure(answers, split, items, embeddings)
        measures.users.write_parquet(staging / facts.units_file)
        cost["answers_per_second"] = len(measures.users) / max(cost["answer_seconds"], 1e-9)
        metrics, slices, counts = measures.metrics, measures.slices, measures.counts
        hashes = task.write(answers, split, staging)
    validation = _validation(split, method, curve, task.validate)
    curve.write(staging / "curve.jsonl")
    return Record(
        run_id=spec.run_id,
        machine_class=job.machine_class,
        spec=spec,
        params={**_plain(parameters(cls)), **given},
        family=file.family,
        status=Status.OK,
        metrics={**metrics, **validation},
        slices=slices,
        counts={**split.counts, **ctx.counts, **counts},
        fingerprints={
            "data": dataset.fingerprint, "split": split.fingerprint, "code": job.code, "evaluation": job.evaluation,
            **_generator(spec, dataset), **hashes,
        },
        seeds=ctx.used_axes,
        provenance=Provenance(**{**job.provenance, "models": ctx.models, "started": started, "finished": _now()}),
        cost=Cost(
            **cost,
            total_seconds=time.monotonic() - began + curve.earlier_seconds,
            total_cpu_seconds=_cpu_seconds() + curve.earlier_cpu_seconds,
            peak_rss_bytes=_peak_memory(),
            peak_gpu_bytes=_peak_gpu_memory(job.device),
            parameters=count_parameters(method),
            epochs=ctx.chosen_epochs,
            alone=job.alone and others.kept_quiet(_cpu_seconds()),
        ),
    )  # fmt: skip


def explain(error: BaseException) -> tuple[Status, str]:
    """The status and the one-line reason that an error gives a run."""
    from llmrec.errors import Skip, UserError
    from llmrec.provenance import missing

    text = " ".join(str(error).split())
    name = type(error).__name__
    if isinstance(error, Pruned):
        return Status.PRUNED, text
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "can't allocate memory" in text:
        return Status.OOM, f"out of memory: {text or name}"
    if isinstance(error, ModuleNotFoundError) and (reason := missing((error.name or "llmrec").split(".")[0])):
        return Status.SKIPPED, reason
    if isinstance(error, Skip):
        return Status.SKIPPED, text
    return Status.FAILED, text if isinstance(error, UserError) else f"{name}: {text}"


def _validation(split: Split, method: Any, curve: Curve, validate: Any) -> dict[str, float]:
    """ "valid/ndcg@10": what baselines are chosen by. The best epoch's where training stopped on it; none for a method
    that was fitted on the validation part."""
    if (best := curve.best()) is not None:
        return {f"valid/{curve.watched}": best}
    if split.fit_data != "train":
        return {}
    return {f"valid/{curve.watched}": validate(method, split)[curve.watched]}


def _keep(event: dict[str, Any], path: Path) -> None:
    """Store a sentence that a method wrote about an item (`llmrec explain` shows it)."""
    told = {key: value for key, value in event.items() if key not in ("stage", "part")}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(told, ensure_ascii=False) + "\n")


def _prune(event: dict[str, Any], curve: Curve, floors: dict[str, float], staging: Path) -> None:
    """End a trial whose best validation figure so far is worse than its floor at this epoch; its curve is kept."""
    floor, best = floors.get(str(event.get("epoch"))), curve.best()
    if floor is not None and best is not None and curve.better * best < curve.better * floor:
        curve.write(staging / "curve.jsonl")
        raise Pruned(
            f"pruned after epoch {event['epoch']}: best {curve.watched} {best:.4f}, "
            f"median of earlier trials {floor:.4f}"
        )


def _generator(spec: RunSpec, dataset: Dataset) -> dict[str, str]:
    """What made the requests, where a rule of the card did: the rule, its code and its table of words."""
    from llmrec.data.requests import fingerprint

    rule = dataset.card.requests
    return {"generator": fingerprint(rule)} if spec.task == "request" and rule is not None else {}


def _fail(error: BaseException, staging: Path) -> int:
    """Leave the reason in the log and in ``error.json``, as far as the disk takes it; the exit code."""
    status, message = explain(error)
    with contextlib.suppress(OSError):
        traceback.print_exception(error)
        (staging / "error.json").write_text(json.dumps({"status": status, "error": message}), "utf-8")
    return DISK_TROUBLE if _disk_is_full(error) else 1


def _disk_is_full(error: BaseException) -> bool:
    """Polars hides the system's error number in the text of errors of its own: "... (os error 28)"."""
    hidden = any(f"(os error {number})" in str(error) for number in FULL_DISK)
    return hidden or (isinstance(error, OSError) and error.errno in FULL_DISK)


def _diversity_embeddings(items: Items, ctx: Context) -> Floats | None:
    """Text embeddings of the items for measuring how alike a list's items are, if preparation has put them into the
    cache; never computed here, so that a run that needs no torch does not import it."""
    from llmrec.prepare import can_embed

    if not can_embed(items):
        return None
    from llmrec.encode import cached_embeddings
    from llmrec.encoders import DEFAULT, find_encoder

    vectors = cached_embeddings(items.texts)
    if vectors is not None:
        ctx.models.setdefault(DEFAULT, find_encoder(DEFAULT).revision)
    return vectors


@contextlib.contextmanager
def _clock(cost: dict[str, Any], stage: str) -> Iterator[None]:
    """Put a stage's wall-clock and CPU seconds (threads and child processes included) into ``cost``."""
    wall, cpu = time.monotonic(), _cpu_seconds()
    yield
    cost[f"{stage}_seconds"] = time.monotonic() - wall
    cost[f"{stage}_cpu_seconds"] = _cpu_seconds() - cpu


def _cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _peak_memory() -> int:
    """Peak resident bytes. Linux's ru_maxrss starts with what the runner had when it forked; /proc does not."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _peak_gpu_memory(device: str) -> int:
    if device == "cpu":
        return 0
    import torch

    return int(torch.cuda.max_memory_allocated())


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON holds them; what JSON has no word for is written out."""
    return dict(json.loads(json.dumps(params, default=repr)))


def _emitter(events: Any) -> Emit:
    parent = os.getppid()

    def emit(event: dict[str, Any]) -> None:
        if os.getppid() != parent:
            raise Stopped
        events.write(json.dumps(event) + "\n")
        events.flush()

    return emit


def _end_with_parent() -> None:
    """Die when the runner is killed (Linux): an orphan would train on beside its successor, on the same checkpoints."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _stop(signum: int, frame: object) -> None:
    raise Stopped


def _sync(folder: Path) -> None:
    """Force the folder's files and names to disk."""
    for path in [*folder.iterdir(), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
