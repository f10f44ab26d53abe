"""One study in the study file: which trials it has, which are due, what they gave.

The file is SQLite: a trial is written in one transaction, half of which is never seen, and the lock of a killed process
goes with it. A trial stands in it before it is run; one that was cut short is done again as it stands.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock, Timeout

from llmrec.errors import UserError
from llmrec.records import Record, Status
from llmrec.results import run_folder
from llmrec.suite import Planned
from llmrec.tasks import TASKS
from llmrec.tuned import differences
from llmrec.tuning.floors import floors
from llmrec.tuning.proposals import STARTUP, direction, distributions, propose
from llmrec.tuning.setup import Setup

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

UNDONE = (Status.SKIPPED, Status.INTERRUPTED)
"""Endings that say nothing about the parameters: the trial stays due."""


CODE = ("code", "evaluation")
"""What may have changed once a study is whole: it can still be frozen, as what it was."""


class Due(NamedTuple):
    """A trial that is to be run."""

    number: int
    planned: Planned


def trials_root(root: Path) -> Path:
    """The results folder of trials, inside ``root``, the results folder of runs. Trials are ordinary records, thousands
    of them, that no table shows and nobody commits: what a report says of them is kept in the frozen files."""
    return root / "tuning"


def study_file(root: Path, suite: str) -> Path:
    """The one file of all studies of a suite. ``root``: the results folder of runs."""
    return trials_root(root) / suite / "studies.db"


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the study file: two at a time would propose the same trials.

    Raises:
        UserError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{path}: another `llmrec tune` works on it. Wait for it, or end it.") from None
    try:
        yield
    finally:
        lock.release()


def open_file(path: Path) -> BaseStorage:
    """Open the study file, made anew if there is none.

    Raises:
        UserError: it is no study file.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # its news are of storage, not of trials
    try:
        return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})
    except (SQLAlchemyError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be read as a study file: {reason}. Delete it to start anew.") from None


class Study:
    """A study and its trials. ``storage`` None: a study that has not begun and is not written (for --dry-run).

    Raises:
        UserError: the study in the file was made for another space, protocol, number of epochs or seed.
    """

    def __init__(self, setup: Setup, storage: BaseStorage | None, typed: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.setup, self.typed = setup, typed
        self.task = TASKS[setup.task]
        self.space = distributions(setup.space, str(setup.file.path))
        self.storage: BaseStorage = storage or optuna.storages.InMemoryStorage()
        self.study = optuna.create_study(
            storage=self.storage, study_name=setup.name, direction=direction(self.task.better), load_if_exists=True
        )
        if "made_of" not in self.study.user_attrs:
            self.study.set_user_attr("made_of", setup.made_of)
        self._refuse_other(sorted((self.made_of.keys() | setup.made_of.keys()) - set(CODE)))

    @property
    def made_of(self) -> dict[str, Any]:
        """What the study was made of when it began."""
        return dict(self.study.user_attrs["made_of"])

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials in their order."""
        return self.study.get_trials(deepcopy=False)

    @property
    def ended(self) -> list[FrozenTrial]:
        """Those that have ended, however."""
        return [trial for trial in self.trials if trial.state.is_finished()]

    def due(self, total: int) -> list[Due]:
        """The trials that can be run now: those cut short, and new ones that wait for none that has not ended.

        Raises:
            UserError: the code has changed since the study began: its trials would not compare.
        """
        if len(self.ended) < max(total, len(self.trials)):
            self._refuse_other(list(CODE))
        while (number := len(self.trials)) < total and (number < STARTUP or len(self.ended) == number):
            self._add(number)
            if number >= STARTUP:
                break
        return [Due(t.number, self._planned(t.number, t.params)) for t in self.trials if not t.state.is_finished()]

    def floors(self, number: int) -> dict[int, float]:
        """Where trial ``number`` is pruned; never while trials are drawn at random."""
        from optuna.trial import TrialState

        if number < STARTUP:
            return {}
        whole = [t.intermediate_values for t in self.trials if t.state == TrialState.COMPLETE]
        return floors(whole, self.task.better)

    def tell(self, number: int, record: Record, root: Path) -> bool:
        """Take note of how a trial ended; False where it must be run again. Told twice, it is as told once."""
        from optuna.trial import TrialState

        if record.status in UNDONE:
            return False
        trial_id = self.trials[number]._trial_id
        for epoch, reached in _curve(run_folder(record.run_id, record.machine_class, root), self.task.primary):
            self.storage.set_trial_intermediate_value(trial_id, epoch, reached)
        cpu = record.cost.total_cpu_seconds or record.cost.total_seconds  # of a killed run only the latter is known
        for key, value in {"status": str(record.status), "error": record.error, "cpu_seconds": cpu}.items():
            self.storage.set_trial_user_attr(trial_id, key, value)
        figure = record.metrics.get(self.task.validation)
        if record.status == Status.OK and figure is not None:
            self.study.tell(number, figure)
        elif record.status == Status.PRUNED:
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, state=TrialState.FAIL)
        return True

    def _refuse_other(self, keys: list[str]) -> None:
        old, new = self.made_of, self.setup.made_of
        told = differences({k: old[k] for k in keys if k in old}, {k: new[k] for k in keys if k in new})
        if told:
            raise UserError(
                f"the study of {self.setup.name} was made for something else: {'; '.join(told)}. "
                f"Start it anew with: llmrec tune {self.typed} -m {self.setup.label} --restart"
            )

    def _add(self, number: int) -> None:
        """Propose a trial and write it down, in one transaction."""
        import optuna

        setup = self.setup
        params = {name: p.default for name, p in setup.space.items()}
        if number:
            params = propose(self.space, self.ended, number, setup.seed, self.task.better)
        run_id = self._planned(number, params).spec.run_id
        self.study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.RUNNING, params=params, distributions=self.space,
                user_attrs={"run_id": run_id},
            )
        )  # fmt: skip

    def _planned(self, number: int, params: dict[str, Any]) -> Planned:
        return self.setup.planned(number, params)


def restart(path: Path, setups: list[Setup]) -> None:
    """Forget the studies of these rows. Records of their trials stay and are found again."""
    storage = open_file(path)
    known = {study.study_name: study._study_id for study in storage.get_all_studies()}
    for setup in setups:
        if setup.name in known:
            storage.delete_study(known[setup.name])


def _curve(folder: Path, metric: str) -> Iterator[tuple[int, float]]:
    """(epoch, validation figure) of a run that validated while it trained."""
    path = folder / "curve.jsonl"
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        point = json.loads(line)
        if metric in point and point.get("part") != "refit":
            yield int(point["epoch"]), float(point[metric])
