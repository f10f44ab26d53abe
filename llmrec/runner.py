"""Decides which runs are due, does each in its own process, and puts every ending on record.

A run is done once: a fresh ok record is kept, a lock keeps two runners on one results folder apart. Whatever happens to
one run (error, memory, time, a kill) becomes its record, and the others go on.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from llmrec.child import Child, Ending, environment, make_job
from llmrec.content import results_folder
from llmrec.discover import find_methods, method_file, with_parts
from llmrec.prepare import Part, is_prepared
from llmrec.progress import Silent, Watcher
from llmrec.provenance import device, gpus, machine_class, missing_package, provenance
from llmrec.publish import check_writable, disk_errors, disk_message, publish, publish_failure, staging_folder
from llmrec.records import Cost, Record, RunSpec, Status, TaskName, read_record
from llmrec.results import find_record, run_folder
from llmrec.staleness import State, checkpoint_folder, code_fingerprint, state
from llmrec.suite import Limits, Planned, check_params

POLL_SECONDS = 0.05
SLOW_POLL_SECONDS = 0.25
"""Runs are looked at every twentieth of a second while they are young, so that the end of a quick one is noticed at
once; later less often, so that looking costs a long one nothing."""

GRACE_SECONDS = 10.0
"""What a worker gets between being asked to stop and being killed."""

RUNNABLE: frozenset[State] = frozenset({"missing", "undone"})


@dataclass(frozen=True)
class Options:
    """How a runner works. None of it shapes a result except ``threads``, which every record names."""

    threads: int = 1
    limits: Limits = field(default_factory=Limits)
    jobs: int = 1
    retry: bool = False  # run failed, oom and timeout runs again
    stale: bool = False  # run stale ones again
    root: Path = field(default_factory=results_folder)
    extra: Path | None = None  # a folder of the user's own methods
    watchers: Sequence[Watcher] = (Silent(),)
    floors: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    """Run id of a trial of tuning -> epoch -> the validation figure below which it is pruned."""

    def due(self, found: State) -> bool:
        """Whether a run in this state is to be run."""
        return (
            found in RUNNABLE
            or (self.retry and found == "failed")
            or (self.stale and found in ("stale", "stale evaluation"))
        )


@dataclass
class _Active:
    planned: Planned
    child: Child
    lock: FileLock
    home: Path
    checkpoints: Path
    gpu: str
    started: str


@dataclass
class _Signals:
    """Ctrl-C: once asks for a clean end, twice ends at once."""

    count: int = 0


class Interrupted(Exception):
    """Ctrl-C ended the runner. The runs that it cut short are recorded as interrupted."""


def run(
    spec: RunSpec,
    *,
    threads: int = 1,
    seconds: float = Limits().seconds,
    memory_gib: float = Limits().memory_gib,
    root: Path | None = None,
    methods: Path | None = None,
) -> Record:
    """Do one run in a child process and return its record; a fresh ok record is returned as it is.

    Parameters that equal the method's defaults are left out of the spec and the seed of a method without random streams
    becomes 0, so that equal runs have one id. ``root`` is the results folder, ``methods`` a folder of your own methods.

    Raises:
        UserError: unknown method, dataset or parameter, or a results folder that cannot be written.
    """
    from llmrec.data import card

    card(spec.dataset)
    known = find_methods(methods)
    file = method_file(spec.method, known)
    params = check_params(spec.method, spec.params, file, f"method {spec.method!r}", known)
    file = with_parts(file, known, params)
    own = spec.model_copy(update={"params": params, "seed": spec.seed if file.seeded else 0})
    planned = Planned(own.method, own, file)
    limits = Limits(seconds=seconds, memory_gib=memory_gib)
    options = Options(threads, limits, retry=True, stale=True, root=(root or results_folder()).resolve(), extra=methods)
    record = run_all([planned], options)[0]
    assert record is not None
    return record


def run_all(planned: Sequence[Planned], options: Options) -> list[Record | None]:
    """Do every run that is due and return all records, in the order of ``planned``.

    Raises:
        UserError: the results folder cannot be written, or a record in it is corrupt.
        Interrupted: Ctrl-C.
    """
    waiting = [p for p in planned if options.due(_state(p, options))]
    try:
        if waiting:
            check_writable(options.root)
            _Queue(waiting, options).work()
    finally:
        for watcher in options.watchers:
            watcher.close()
    return [find_record(p, options.root, elsewhere=False) for p in planned]


def _state(planned: Planned, options: Options) -> State:
    return state(find_record(planned, options.root, elsewhere=False), planned.file)


class _Queue:
    """The runs that wait and those under way."""

    def __init__(self, waiting: list[Planned], options: Options) -> None:
        self.options = options
        self.waiting = waiting
        self.active: list[_Active] = []
        self.free_gpus = _visible_gpus()
        self.prepared: dict[tuple[str, TaskName, Part], Ending] = {}  # ok, or why such runs cannot be done

    def work(self) -> None:
        """Work until nothing waits; on any way out no process, lock or staging folder of ours is left."""
        with _stop_signals() as signals:
            try:
                while self.waiting or self.active:
                    if signals.count:
                        raise Interrupted
                    with disk_errors(self.options.root):
                        self._start_some(signals)
                        self._look_after_active()
                    youngest = min((active.child.seconds for active in self.active), default=0.0)
                    time.sleep(min(max(POLL_SECONDS, youngest / 50), SLOW_POLL_SECONDS))
            except Interrupted:
                self._wind_up(signals)
                raise
            finally:
                self._drop_active()

    def _start_some(self, signals: _Signals) -> None:
        for planned in list(self.waiting):
            if len(self.active) >= self.options.jobs:
                return
            on_gpu = device(planned.file) == "cuda"
            if on_gpu and not self.free_gpus:
                continue
            lock = _try_lock(self.options.root, planned)
            if lock is None:
                continue  # another runner is at it: what it leaves is looked at when the lock is free
            self.waiting.remove(planned)
            if not self.options.due(_state(planned, self.options)):
                self._tell_end(planned, find_record(planned, self.options.root, elsewhere=False))
                lock.release()
                continue
            try:
                self._start(planned, lock, self.free_gpus.pop() if on_gpu else "", signals)
            except BaseException:
                lock.release()
                raise

    def _start(self, planned: Planned, lock: FileLock, gpu: str, signals: _Signals) -> None:
        machine = machine_class(planned.file)
        home = run_folder(planned.spec.run_id, machine, self.options.root)
        staging = staging_folder(self.options.root, planned.spec.run_id, machine)
        unable = self._unable(planned, signals)
        if unable is not None:
            record = self._record(planned, unable, _now())
            if _state(planned, self.options) in RUNNABLE:  # an earlier record of another kind says more
                staging.mkdir(parents=True)
                publish_failure(record, staging, home)
            self._tell_end(planned, record)
            lock.release()
            return
        code = code_fingerprint(planned.file, planned.spec.dataset, planned.spec.task)
        checkpoints = checkpoint_folder(self.options.root, planned.spec.run_id, machine, code)
        _only_current(checkpoints)
        job = make_job(
            planned.spec, planned.file, self.options.threads, checkpoints, alone=self.options.jobs == 1,
            floors=self.options.floors.get(planned.spec.run_id),
        )  # fmt: skip
        child = Child.start(job, staging, self.options.limits, gpu)
        self.active.append(_Active(planned, child, lock, home, checkpoints, gpu, _now()))
        for watcher in self.options.watchers:
            watcher.begin(planned)

    def _unable(self, planned: Planned, signals: _Signals) -> Ending | None:
        """Why a run cannot be done here: a package or the data are missing."""
        if reason := missing_package(planned.file):
            return Ending(Status.SKIPPED, reason)
        wanted = planned.spec.dataset, planned.spec.task, planned.spec.part
        if wanted not in self.prepared:
            self.prepared[wanted] = self._prepare(*wanted, signals)
        ending = self.prepared[wanted]
        return None if ending.status == Status.OK else ending

    def _prepare(self, dataset: str, task: TaskName, part: Part, signals: _Signals) -> Ending:
        """Fetch, parse and embed a dataset once for all runs, in a process of its own."""
        if is_prepared(dataset, task, part):
            return Ending(Status.OK)
        self._say(f"preparing {dataset}")
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "llmrec.prepare", dataset, task, part],
            env=environment(self.options.threads),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    _, printed = process.communicate(timeout=POLL_SECONDS)
                    break
                if signals.count:
                    raise Interrupted
        finally:
            process.kill()
            process.wait()
        last = (printed.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        if process.returncode in (2, 4):
            return Ending(Status.SKIPPED if process.returncode == 2 else Status.FAILED, last)
        if process.returncode:
            self._say(f"{dataset}: {last}")
        return Ending(Status.OK)

    def _look_after_active(self) -> None:
        for active in list(self.active):
            ending = active.child.poll()
            for event in active.child.new_events():
                for watcher in self.options.watchers:
                    watcher.event(active.planned, event)
            if ending is not None:
                self._finish(active, ending)

    def _finish(self, active: _Active, ending: Ending) -> None:
        """Put an ended run on record and make room for another."""
        if ending.disk_trouble:
            from llmrec.errors import UserError

            raise UserError(disk_message(self.options.root, ending.error or "No space left on device"))
        planned, child = active.planned, active.child
        if ending.status == Status.OK:
            publish(child.staging, active.home)
            _remove_checkpoints(active.checkpoints)
            record = read_record(active.home)
        else:
            record = self._record(planned, ending, active.started, child)
            if ending.status == Status.INTERRUPTED and active.home.exists():
                shutil.rmtree(child.staging)  # an earlier record says more
            else:
                publish_failure(record, child.staging, active.home)
            if ending.status == Status.PRUNED:
                _remove_checkpoints(active.checkpoints)
        self.active.remove(active)
        if active.gpu:
            self.free_gpus.append(active.gpu)
        active.lock.release()
        self._tell_end(planned, record)

    def _record(self, planned: Planned, ending: Ending, started: str, child: Child | None = None) -> Record:
        """The record of a run that gave no figures."""
        defaults = {name: p.default for name, p in planned.file.params.items() if p.known}
        return Record(
            run_id=planned.spec.run_id,
            machine_class=machine_class(planned.file),
            spec=planned.spec,
            params={**defaults, **planned.spec.params},
            family=planned.file.family,
            status=ending.status,
            error=ending.error,
            log_tail=child.log_tail() if child else "",
            fingerprints={"code": code_fingerprint(planned.file, planned.spec.dataset, planned.spec.task)},
            provenance=provenance(self.options.threads).model_copy(update={"started": started, "finished": _now()}),
            cost=Cost(
                total_seconds=child.seconds if child else 0.0,
                peak_rss_bytes=child.peak_memory if child else 0,
                alone=self.options.jobs == 1,
            ),
        )

    def _wind_up(self, signals: _Signals) -> None:
        """After Ctrl-C: ask the workers to stop, give them time unless it comes again; record what was cut short."""
        self._say("stopping; Ctrl-C again ends at once")
        for active in self.active:
            active.child.stop(Ending(Status.INTERRUPTED, "interrupted by the user"))
        deadline = time.monotonic() + GRACE_SECONDS
        while self.active and signals.count < 2 and time.monotonic() < deadline:
            with disk_errors(self.options.root):
                self._look_after_active()
            time.sleep(POLL_SECONDS)

    def _drop_active(self) -> None:
        """End what is still there, and leave nothing of it."""
        for active in self.active:
            active.child.stop(Ending(Status.INTERRUPTED), at_once=True)
            active.child.process.wait()
            shutil.rmtree(active.child.staging, ignore_errors=True)
            active.lock.release()
        self.active.clear()

    def _tell_end(self, planned: Planned, record: Record | None) -> None:
        if record is not None:
            for watcher in self.options.watchers:
                watcher.end(planned, record)

    def _say(self, text: str) -> None:
        for watcher in self.options.watchers:
            watcher.say(text)


def _try_lock(root: Path, planned: Planned) -> FileLock | None:
    """The lock of a run, or None while another process holds it."""
    folder = root / "locks"
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"{planned.spec.run_id}-{machine_class(planned.file)}.lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _visible_gpus() -> list[str]:
    """Device numbers that runs may be given, one run a device."""
    if chosen := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return chosen.split(",")
    return [str(number) for number in range(max(1, len(gpus())))]


def _only_current(checkpoints: Path) -> None:
    """Remove checkpoints of the same run on the same machine class that other code wrote."""
    machine = checkpoints.name.rpartition("-")[0]
    for other in checkpoints.parent.glob(f"{machine}-*"):
        if other != checkpoints:
            shutil.rmtree(other, ignore_errors=True)


def _remove_checkpoints(folder: Path) -> None:
    """Remove a run's checkpoints, and the folders around them if no other run's are there."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Signals]:
    """Count Ctrl-C and SIGTERM instead of dying of them; not outside the main thread, where Python forbids it."""
    signals = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def count(signum: int, frame: Any) -> None:
        signals.count += 1

    before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
