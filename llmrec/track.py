"""Weights & Biases as a mirror: records and live curves are copied there, nothing is read back.

Everything happens in a thread of the parent process, so a measured run (a child process) never waits for the network.
Whatever goes wrong, from a missing package to a dead network, is said once and never fails a run.
"""

from __future__ import annotations

import logging
import netrc
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from llmrec.content import results_folder
from llmrec.records import Record, RunSpec

PROJECT = "llmrec"
INIT_SECONDS = 30  # how long an online start may take before the run is kept offline
FINISH_SECONDS = 60  # how long the end of a run may wait for the upload

Task = Callable[[Any], None]
"""Something to do with the wandb run."""

log = logging.getLogger(__name__)
_warned = threading.Event()


class Tracker:
    """One run's mirror: project llmrec, group = suite, id = run_id, config = spec + params, summary = the figures."""

    def __init__(self, **init: Any) -> None:
        self._init = init
        self._tasks: queue.SimpleQueue[tuple[Task | None, int]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"wandb {init.get('id', '')}")
        self._thread.start()

    @classmethod
    def start(cls, suite_name: str, spec: RunSpec, record_params: dict[str, Any]) -> Tracker:
        """Begin to mirror a run. Returns at once; ``record_params`` are all parameters, defaults included."""
        fold = f" fold {spec.protocol.fold}" if spec.protocol.fold else ""
        config = spec.model_dump(mode="json") | {"params": record_params, "run_id": spec.run_id}
        return cls(
            id=spec.run_id,
            group=suite_name,
            job_type=spec.method,
            name=f"{spec.method} · {spec.dataset}{fold} · seed {spec.seed}",
            config=config,
            tags=[spec.dataset, spec.protocol.name, spec.method],
        )

    def event(self, event: dict[str, Any]) -> None:
        """Mirror one of the worker's events; the numbers of {"stage": "fit", "epoch": 3, "loss": 1.2} become curves."""
        stage = event.get("stage", "run")
        numbers = {
            f"{stage}/{key}": value
            for key, value in event.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        if numbers:
            self._do(lambda run: run.log(numbers))

    def finish(self, record: Record) -> None:
        """Mirror the record and close. Waits at most `FINISH_SECONDS`."""
        summary = summary_of(record)
        self._do(lambda run: run.summary.update(summary))
        self.close(0 if record.status == "ok" else 1)

    def table(self, name: str, columns: list[str | int], rows: list[list[Any]]) -> None:
        """Log a table of plain values."""

        def log_table(run: Any) -> None:
            import wandb

            run.log({name: wandb.Table(columns=columns, data=rows)})

        self._do(log_table)

    def image(self, name: str, path: Path) -> None:
        """Log a picture file."""

        def log_image(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(path))})

        self._do(log_image)

    def summary(self, figures: dict[str, Any]) -> None:
        """Set figures that stand for the whole run."""
        self._do(lambda run: run.summary.update(figures))

    def close(self, exit_code: int = 0) -> None:
        """Close the mirror; waits at most `FINISH_SECONDS` for what is still under way."""
        self._tasks.put((None, exit_code))
        self._thread.join(FINISH_SECONDS)
        if self._thread.is_alive():
            _warn_once(f"Weights & Biases did not finish within {FINISH_SECONDS} s")

    def _do(self, task: Task) -> None:
        self._tasks.put((task, 0))

    def _work(self) -> None:
        try:
            run = _open(self._init)
            while True:
                task, exit_code = self._tasks.get()
                if task is None:
                    run.finish(exit_code=exit_code)
                    return
                try:
                    task(run)
                except Exception as error:  # one figure less; the others still go through
                    _warn_once(f"Weights & Biases: {type(error).__name__}: {error}")
        except (Exception, SystemExit) as error:  # a mirror must never take a run down with it
            _warn_once(f"Weights & Biases: {type(error).__name__}: {error}")


def summary_of(record: Record) -> dict[str, Any]:
    """A record as flat figures: "ndcg@10", "slice/items:tail/ndcg@10", "cost/fit_seconds", "status", ..."""
    summary: dict[str, Any] = dict(record.metrics)
    for name, figures in record.slices.items():
        summary |= {f"slice/{name}/{key}": value for key, value in figures.items()}
    summary |= {f"cost/{key}": value for key, value in record.cost.model_dump().items()}
    summary |= {f"count/{key}": value for key, value in record.counts.items()}
    summary |= {f"fingerprint/{key}": value for key, value in record.fingerprints.items()}
    summary |= {
        "status": str(record.status),
        "error": record.error,
        "determinism": record.determinism,
        "commit": record.provenance.commit,
        "dirty": record.provenance.dirty,
    }
    return {key: value for key, value in summary.items() if value is not None}


def mode() -> Literal["online", "offline", "disabled"]:
    """$WANDB_MODE if set, else online where a key is configured, else offline."""
    chosen = os.environ.get("WANDB_MODE", "")
    if chosen in ("online", "offline", "disabled"):
        return chosen  # type: ignore[return-value]
    return "online" if os.environ.get("WANDB_API_KEY") or _netrc_has_key() else "offline"


def _netrc_has_key() -> bool:
    """Whether ~/.netrc has an entry for the W&B host; the entry itself is left to wandb."""
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0]
    try:
        return host in netrc.netrc().hosts
    except (OSError, netrc.NetrcParseError):
        return False


def _open(init: dict[str, Any]) -> Any:
    """Start a wandb run; if it cannot be reached, an offline one (`wandb sync` uploads that later)."""
    try:
        import wandb
    except ImportError:
        raise RuntimeError("wandb is not installed; install it with: pip install 'llmrec[wandb]'") from None
    folder = Path(os.environ.get("WANDB_DIR", results_folder()))
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(
        silent=True, console="off", init_timeout=INIT_SECONDS, save_code=False, disable_git=True,
        x_disable_meta=True, x_disable_stats=True,  # records hold the machine; sampling it would cost CPU
    )  # fmt: skip
    common = {"project": PROJECT, "dir": str(folder), "reinit": "create_new", "settings": settings, **init}
    wanted = mode()
    try:
        return wandb.init(mode=wanted, **common)
    except Exception as error:
        if wanted != "online":
            raise
        _warn_once(f"Weights & Biases cannot be reached ({error}); kept offline in {folder / 'wandb'}")
        return wandb.init(mode="offline", **common)


def _warn_once(message: str) -> None:
    if not _warned.is_set():
        _warned.set()
        log.warning("%s (the runs themselves are not affected)", message)
