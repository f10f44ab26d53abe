"""What a runner shows while it works: one live line a run in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Protocol

from llmrec.records import Record, Status
from llmrec.suite import Planned
from llmrec.tasks import TASKS

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from llmrec.track import Tracker


WATCHED = sorted({task.primary for task in TASKS.values()})
"""Metrics that training may be watched by."""


class Watcher(Protocol):
    """Whoever wants to know how the runs get on. ``close`` is called once, whatever happens."""

    def begin(self, run: Planned) -> None: ...
    def event(self, run: Planned, event: dict[str, Any]) -> None: ...
    def end(self, run: Planned, record: Record) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


def watcher(total: int, stream: IO[str] | None = None) -> Watcher:
    """Live lines if the stream (default: stderr) is a terminal, else plain ones."""
    stream = stream or sys.stderr
    return Live(total) if stream.isatty() else Lines(total, stream)


def name_of(run: Planned) -> str:
    """ "ml-100k  sasrec  seed 0"."""
    fold = f"  fold {run.spec.protocol.fold}" if run.spec.protocol.fold else ""
    return f"{run.spec.dataset}{fold}  {run.label}  seed {run.spec.seed}"


def news(event: dict[str, Any]) -> str:
    """A progress event in words: "fit  epoch 3/50  loss 1.234  ndcg@10 0.0412  12 s left"."""
    words = [str(event.get("stage", ""))]
    if "epoch" in event:
        words.append(f"epoch {event['epoch']}" + (f"/{event['epochs']}" if "epochs" in event else ""))
    if "resumed_at" in event:
        words.append(f"resumed at epoch {event['resumed_at']}")
    if isinstance(event.get("loss"), int | float):
        words.append(f"loss {event['loss']:.4g}")
    words += [f"{metric} {event[metric]:.4f}" for metric in WATCHED if metric in event]
    if "left_s" in event:
        words.append(f"{_duration(event['left_s'])} left")
    if "note" in event:
        words.append(str(event["note"]))
    return "  ".join(words)


def outcome(record: Record) -> str:
    """A finished run in words: "ok  ndcg@10 0.0412  3.1 s" or "failed: the reason"."""
    if record.status != Status.OK:
        return f"{record.status}: {record.error}"
    task = TASKS[record.spec.task]
    primary = task.primary if record.spec.part == "test" else task.validation
    figure = record.metrics.get(primary)
    shown = f"  {primary} {figure:.4f}" if figure is not None else ""
    return f"ok{shown}  {_duration(record.cost.total_seconds)}"


@dataclass
class Lines:
    """Plain lines: a run's beginning is not worth one, its stages and every few seconds of training are."""

    total: int
    stream: IO[str]
    every: float = 10.0  # seconds between lines on one run's training
    done: int = 0
    _last: dict[str, float] = field(default_factory=dict)

    def begin(self, run: Planned) -> None:
        self._last[run.spec.run_id] = time.monotonic()

    def event(self, run: Planned, event: dict[str, Any]) -> None:
        now = time.monotonic()
        if "note" in event or "resumed_at" in event or now - self._last.get(run.spec.run_id, now) > self.every:
            self._last[run.spec.run_id] = now
            self.say(f"         {name_of(run)}  {news(event)}")

    def end(self, run: Planned, record: Record) -> None:
        self.done += 1
        self.say(f"[{self.done}/{self.total}]  {name_of(run)}  {outcome(record)}")

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def close(self) -> None:
        pass


class Live:
    """One live line for each run under way; finished ones scroll up."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        import rich.console
        import rich.live

        self.total, self.done = total, 0
        self.running: dict[str, tuple[Planned, str, float]] = {}
        self.console = console or rich.console.Console(stderr=True)
        self.live = rich.live.Live(get_renderable=self._render, console=self.console, refresh_per_second=4)
        self.live.start()

    def begin(self, run: Planned) -> None:
        self.running[run.spec.run_id] = (run, "starts", time.monotonic())

    def event(self, run: Planned, event: dict[str, Any]) -> None:
        if event.get("stage") == "warning":
            self.say(f"! {name_of(run)}  {event.get('note', '')}", style="yellow")
            return
        began = self.running[run.spec.run_id][2]
        self.running[run.spec.run_id] = (run, news(event), began)

    def end(self, run: Planned, record: Record) -> None:
        self.running.pop(run.spec.run_id, None)
        self.done += 1
        good = record.status == Status.OK
        colour = "green" if good else "yellow" if record.status in (Status.SKIPPED, Status.INTERRUPTED) else "red"
        self.say(f"{'✓' if good else '✗'} {name_of(run)}  {outcome(record)}", style=colour)

    def say(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, highlight=False, markup=False)

    def close(self) -> None:
        self.live.stop()

    def _render(self) -> RenderableType:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for run, text, began in self.running.values():
            table.add_row(name_of(run), text, _duration(time.monotonic() - began))
        table.add_row(f"{self.done} of {self.total} runs done")
        return table


class Mirror:
    """Copies every run to Weights & Biases as it goes (see `llmrec.track`); it is waited for only at the very end."""

    def __init__(self, suite_name: str) -> None:
        self.suite_name = suite_name
        self.trackers: dict[str, Tracker] = {}
        self.closing: list[threading.Thread] = []

    def begin(self, run: Planned) -> None:
        from llmrec.track import Tracker

        defaults = {name: p.default for name, p in run.file.params.items() if p.known}
        self.trackers[run.spec.run_id] = Tracker.start(self.suite_name, run.spec, {**defaults, **run.spec.params})

    def event(self, run: Planned, event: dict[str, Any]) -> None:
        self.trackers[run.spec.run_id].event(event)

    def end(self, run: Planned, record: Record) -> None:
        tracker = self.trackers.pop(run.spec.run_id, None)
        if tracker is not None:
            thread = threading.Thread(target=tracker.finish, args=(record,))
            thread.start()
            self.closing.append(thread)

    def say(self, text: str) -> None:
        pass

    def close(self) -> None:
        for tracker in self.trackers.values():
            tracker.close(1)
        for thread in self.closing:
            thread.join()


@contextlib.contextmanager
def bar(label: str, total: int, *, of_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr while something is read or written; silence elsewhere. What it yields is told of
    every step that is done."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counted = DownloadColumn() if of_bytes else MofNCompleteColumn()
    columns = TextColumn("{task.description}"), BarColumn(), counted, TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda count: bars.advance(task, count)


class Silent:
    """Shows nothing."""

    def begin(self, run: Planned) -> None: ...
    def event(self, run: Planned, event: dict[str, Any]) -> None: ...
    def end(self, run: Planned, record: Record) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


def _duration(seconds: float) -> str:
    """ "3.1 s", "2 min 05 s", "1 h 10 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
