"""One worker process: started with a determinism environment, watched, ended at its limits, judged by its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from llmrec.discover import MethodFile
from llmrec.memory import LIMIT_VARIABLE
from llmrec.provenance import device, machine_class, needs_torch, provenance
from llmrec.records import RunSpec, Status
from llmrec.sources import packages
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.suite import Limits
from llmrec.warm import worth_importing
from llmrec.worker import DISK_TROUBLE, Job

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)  # fmt: skip

LOG_TAIL = 4000
"""Characters of the log's end that a failed run's record keeps."""

MEMORY_CHECK_SECONDS = 0.25


@dataclass(frozen=True)
class Ending:
    """How a worker ended, and why."""

    status: Status
    error: str | None = None
    disk_trouble: bool = False  # the results folder cannot be written: no run can go on


@dataclass
class Child:
    """A worker that does one run into ``staging``."""

    process: subprocess.Popen[bytes]
    staging: Path
    limits: Limits
    began: float = field(default_factory=time.monotonic)
    peak_memory: int = 0
    stopped_for: Ending | None = None  # why the runner ended it
    _events_read: int = 0
    _memory_checked: float = 0.0
    _kills_before: int = field(default_factory=lambda: _memory_kills())

    @classmethod
    def start(cls, job: Job, staging: Path, limits: Limits, gpu: str = "") -> Child:
        """Start a worker. ``staging`` is made anew; ``gpu`` is the one device that it may see."""
        staging.mkdir(parents=True)
        job.write(staging / "job.json")
        with (staging / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "llmrec.worker", str(staging / "job.json"), str(staging)],
                env={**environment(job.threads, gpu), LIMIT_VARIABLE: str(limits.memory_gib)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C is for the runner alone
            )
        return cls(process, staging, limits)

    def new_events(self) -> list[dict[str, Any]]:
        """What the worker has reported since the last call."""
        path = self.staging / "events.jsonl"
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._events_read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._events_read += len(whole + newline)
        return [json.loads(line) for line in whole.splitlines()]

    def poll(self) -> Ending | None:
        """None while it runs within its limits, else how it ended."""
        code = self.process.poll()
        if code is not None:
            self._kill()  # what the method may have started and left behind
            return self._judge(code)
        if self.stopped_for is None:
            self._check_limits()
        return None

    def stop(self, why: Ending, *, at_once: bool = False) -> None:
        """End it: with SIGTERM, or at once."""
        self.stopped_for = self.stopped_for or why
        if at_once:
            self._kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)

    def log_tail(self) -> str:
        """The end of what it printed."""
        path = self.staging / "log.txt"
        if not path.exists():
            return ""
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - LOG_TAIL))
            return log.read().decode("utf-8", "replace")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def _check_limits(self) -> None:
        if self.seconds > self.limits.seconds:
            self.stop(Ending(Status.TIMEOUT, f"took longer than {self.limits.seconds:g} s"), at_once=True)
        elif self.seconds - self._memory_checked > MEMORY_CHECK_SECONDS:
            self._memory_checked = self.seconds
            used = _resident(self.process.pid)
            self.peak_memory = max(self.peak_memory, used)
            if used > self.limits.memory_gib * 2**30:
                reason = f"used {used / 2**30:.2f} GiB, over the limit of {self.limits.memory_gib:g} GiB"
                self.stop(Ending(Status.OOM, reason), at_once=True)

    def _judge(self, code: int) -> Ending:
        if code == 0 and (self.staging / "record.json").exists():
            return Ending(Status.OK)
        if self.stopped_for is not None:
            return self.stopped_for
        if code == DISK_TROUBLE:
            told = self._told()  # a full disk may have taken no word at all
            return Ending(Status.FAILED, told.error if told else None, disk_trouble=True)
        if code == -signal.SIGKILL and _memory_kills() > self._kills_before:
            return Ending(Status.OOM, "killed by the system for want of memory")
        if code < 0:
            return Ending(Status.FAILED, f"killed by signal {-code} ({signal.Signals(-code).name})")
        return self._told() or Ending(Status.FAILED, f"ended with exit code {code} and no word why")

    def _told(self) -> Ending | None:
        """The worker's own word on why it failed, if it left one."""
        try:
            told = json.loads((self.staging / "error.json").read_text("utf-8"))
            return Ending(Status(told["status"]), told["error"])
        except (OSError, ValueError, KeyError):
            return None

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


def make_job(
    spec: RunSpec,
    file: MethodFile,
    threads: int,
    checkpoints: Path,
    *,
    alone: bool,
    floors: Mapping[int, float] | None = None,
) -> Job:
    """What a worker is told to do one run here and now."""
    return Job(
        spec=spec.model_dump(mode="json"),
        machine_class=machine_class(file),
        device=device(file),
        threads=threads,
        code=code_fingerprint(file, spec.dataset, spec.task),
        evaluation=evaluation_fingerprint(spec.task),
        checkpoints=str(checkpoints),
        method_file=str(file.path.resolve()),
        imports=worth_importing(name for path in file.paths for name in packages(path)),
        torch=needs_torch(file),
        alone=alone,
        provenance=provenance(threads).model_dump(mode="json"),
        floors={str(epoch): floor for epoch, floor in (floors or {}).items()},
    )


def environment(threads: int, gpu: str = "") -> dict[str, str]:
    """A worker's environment: what must be set before Python starts for a run to be repeatable."""
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",  # the checkout's folder datasets/ must not pass for Hugging Face's package
        "PYTHONUNBUFFERED": "1",  # a killed run's log is whole
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": gpu,
    }


def _resident(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    total = 0
    for one in _family(pid):
        with contextlib.suppress(psutil.Error):
            total += psutil.Process(one).memory_info().rss
    return total


def _family(pid: int) -> list[int]:
    """A process and all below it, from the kernel's own lists where it keeps them: psutil reads every process of the
    machine to find one's children, which on a busy one costs more than the run."""
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        with contextlib.suppress(psutil.Error):
            return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return [pid]
    found = [pid]
    for one in found:  # grows as it goes
        with contextlib.suppress(OSError):  # ended meanwhile
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text("ascii").split())
    return found


def _memory_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started (Linux)."""
    try:
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
