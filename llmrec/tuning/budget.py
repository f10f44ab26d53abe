"""That nobody was starved: what each study was given, and its best validation figure after every trial.

All of it is read from the study file; nothing is run and no test figure is in it.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.report.plots import DASHES, save
from llmrec.tasks import TASKS
from llmrec.tuning.study import open_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEAD = ("dataset", "row", "fields", "epochs", "trials", "pruned", "failed", "CPU", "default", "best", "at trial")

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8d93", "#b0a000")


@dataclass(frozen=True)
class Trial:
    """One ended trial. ``figure`` is its validation figure; a pruned trial's is that of its last epoch."""

    number: int
    status: str
    figure: float | None
    cpu_seconds: float
    params: dict[str, Any]
    run_id: str
    error: str


@dataclass(frozen=True)
class Budget:
    """What one study was given, and what came of it."""

    dataset: str
    label: str
    metric: str
    better: int
    epochs: str
    fields: dict[str, str]
    trials: list[Trial]

    @property
    def best_so_far(self) -> list[float]:
        """The best figure of a whole trial after each trial; NaN before the first."""
        best, found = math.nan, []
        for trial in self.trials:
            if trial.status == "ok" and trial.figure is not None:
                better = math.isnan(best) or self.better * trial.figure > self.better * best
                best = trial.figure if better else best
            found.append(best)
        return found

    @property
    def best(self) -> Trial | None:
        """The first trial that reached the best figure."""
        reached = [t for t in self.trials if t.status == "ok" and self.trials and t.figure == self.best_so_far[-1]]
        return reached[0] if reached else None

    @property
    def cpu_seconds(self) -> float:
        """Of all trials; two with equal parameters are one run."""
        return sum({trial.run_id: trial.cpu_seconds for trial in self.trials}.values())

    def count(self, *statuses: str) -> int:
        return sum(trial.status in statuses for trial in self.trials)


def read_budgets(path: Path) -> list[Budget]:
    """Every study of a study file, in the order of their beginning.

    Raises:
        UserError: it is no study file.
    """
    import optuna

    storage = open_file(path)
    found = []
    for name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        made_of = study.user_attrs.get("made_of")
        if made_of is None:
            continue  # killed while it was made: it has no trial
        dataset, _, label = name.partition("/")
        task = TASKS[made_of["task"]]
        given = made_of.get("epochs", made_of["fixed"].get("epochs"))
        trials = [
            Trial(
                t.number, t.user_attrs["status"], t.value, float(t.user_attrs["cpu_seconds"]), t.params,
                t.user_attrs["run_id"], t.user_attrs.get("error") or "",
            )
            for t in study.get_trials(deepcopy=False)
            if t.state.is_finished()
        ]  # fmt: skip
        found.append(
            Budget(dataset, label, task.validation, task.better, str(given or "own"), made_of["space"], trials)
        )
    return found


def table(budgets: Sequence[Budget]) -> list[tuple[str, ...]]:
    """The budget as rows of text, the heads first."""
    rows: list[tuple[str, ...]] = [HEAD]
    for one in budgets:
        best = one.best
        default = one.trials[0].figure if one.trials and one.trials[0].status == "ok" else None
        failed = len(one.trials) - one.count("ok", "pruned")
        counts = (len(one.fields), one.epochs, len(one.trials), one.count("pruned"), failed)
        cost, place = f"{one.cpu_seconds:.0f} s", str(best.number) if best else "—"
        found = (_figure(default), _figure(best.figure if best else None), place)
        rows.append((one.dataset, one.label, *map(str, counts), cost, *found))
    return rows


def write(budgets: Sequence[Budget], folder: Path, title: str) -> list[Path]:
    """tuning.md, tuning.csv (one line a trial) and the curves, beside a suite's results."""
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    page, sheet = folder / "tuning.md", folder / "tuning.csv"
    _put(page, markdown(budgets, title))
    with sheet.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(
            ("dataset", "row", "trial", "status", "metric", "value", "best", "cpu_seconds", "params", "run_id")
        )
        for one in budgets:
            for trial, best in zip(one.trials, one.best_so_far, strict=True):
                shown = "" if trial.figure is None else repr(trial.figure)
                out.writerow(
                    (one.dataset, one.label, trial.number, trial.status, one.metric, shown,
                     "" if math.isnan(best) else repr(best), f"{trial.cpu_seconds:.3f}",
                     json.dumps(trial.params, sort_keys=True), trial.run_id)
                )  # fmt: skip
    written = [page, sheet]
    for dataset in dict.fromkeys(one.dataset for one in budgets):
        figure = draw([one for one in budgets if one.dataset == dataset], dataset)
        written += save(figure, folder / "plots" / f"tuning-{dataset}")
    return written


def markdown(budgets: Sequence[Budget], title: str) -> str:
    """The budget table with the best parameters and the spaces below it."""
    rows = table(budgets)
    metric = budgets[0].metric if budgets else ""
    lines = [
        f"**Tuning: {title}.** Every row has the same number of trials; trial 0 has the row's own defaults. Figures are"
        f" {metric}, those of the validation part; no trial sees the test part. Epochs: of every trial (own: the "
        "method's own number, or it has none). CPU: seconds of all trials, data and split included; a killed trial "
        "counts with its wall-clock seconds.",
        "",
        "| " + " | ".join(rows[0]) + " |",
        "|---|---" + "|---:" * (len(HEAD) - 2) + "|",
        *("| " + " | ".join(row) + " |" for row in rows[1:]),
        "",
        "| dataset | row | field | searched | best |",
        "|---|---|---|---|---|",
    ]
    for one in budgets:
        for name, words in one.fields.items():
            best = json.dumps(one.best.params[name]) if one.best else "—"
            lines.append(f"| {one.dataset} | {one.label} | {name} | {words} | {best} |")
    return "\n".join(lines) + "\n"


def draw(budgets: Sequence[Budget], dataset: str) -> Figure:
    """The best validation figure after every trial, one line a row of the suite. ``budgets``: of one dataset."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with mpl.rc_context(fname=Path(mpl_style())):
        figure = Figure()
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        for place, one in enumerate(budgets):
            style: dict[str, Any] = {
                "color": COLOURS[place % len(COLOURS)],
                "linestyle": DASHES[place // len(COLOURS) % len(DASHES)],
            }
            numbers = [trial.number for trial in one.trials]
            axes.step(numbers, one.best_so_far, where="post", label=one.label, **style)
        axes.set_xlabel("Trial (0: the defaults)")
        axes.set_ylabel(f"Best {budgets[0].metric} so far")
        axes.set_title(f"Tuning on {dataset}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize="small")
    return figure


def mpl_style() -> Path:
    """The report's style file."""
    from llmrec.report import plots

    return Path(plots.__file__).with_name("journal.mplstyle")


def _figure(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


def _put(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)
