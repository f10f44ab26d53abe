"""How far the studies of a suite are: the table and the curves of `llmrec report`, from the study file itself.

Nothing is run, and no test figure is in it.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmrec.report.formats import markdown
from llmrec.report.plots import save
from llmrec.report.table import Table
from llmrec.report.tuning import Budget, budget, tuning_curves, tuning_table
from llmrec.tuning.freeze import in_short
from llmrec.tuning.study import open_file

HEAD = (
    "dataset", "row", "trial", "status", "metric", "value", "best",
    "epochs", "cpu_seconds", "params", "run_id", "error",
)  # fmt: skip


def read_budgets(path: Path) -> dict[str, list[Budget]]:
    """Dataset -> its studies in a study file, in the order of their beginning.

    Raises:
        UserError: it is no study file.
    """
    import optuna

    storage = open_file(path)
    found: dict[str, list[Budget]] = {}
    for name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        made_of = study.user_attrs.get("made_of")
        if made_of is None:
            continue  # killed while it was made: it has no trial
        dataset, _, label = name.partition("/")
        trials = [in_short(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
        one = budget(label, made_of["task"], made_of["space"], made_of["fixed"], made_of.get("epochs"), trials)
        found.setdefault(dataset, []).append(one)
    return found


def tables(budgets: Mapping[str, Sequence[Budget]]) -> list[Table]:
    """One table a dataset."""
    return [tuning_table(dataset, ones) for dataset, ones in budgets.items()]


def write(budgets: Mapping[str, Sequence[Budget]], folder: Path, title: str) -> list[Path]:
    """tuning.md, tuning.csv (one line a trial) and the curves, beside the study file."""
    page, sheet = folder / "tuning.md", folder / "tuning.csv"
    _put(page, "\n\n".join([f"# {title}: tuning", *map(markdown, tables(budgets)), _spaces(budgets)]) + "\n")
    with sheet.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(HEAD)
        for dataset, ones in budgets.items():
            out.writerows(line for one in ones for line in _lines(dataset, one))
    written = [page, sheet]
    for dataset, ones in budgets.items():
        written += save(tuning_curves(ones, dataset), folder / f"tuning-{dataset}")
    return written


def _lines(dataset: str, one: Budget) -> list[tuple[object, ...]]:
    return [
        (dataset, one.label, trial.number, trial.status, one.metric, "" if trial.value is None else repr(trial.value),
         "" if math.isnan(best) else repr(best), "" if trial.epochs is None else trial.epochs,
         f"{trial.cpu_seconds:.3f}", json.dumps(trial.params, sort_keys=True), trial.run, trial.error)
        for trial, best in zip(one.trials, one.best_so_far, strict=True)
    ]  # fmt: skip


def _spaces(budgets: Mapping[str, Sequence[Budget]]) -> str:
    """What was searched, and what was found."""
    lines = ["| dataset | row | field | searched | best |", "|---|---|---|---|---|"]
    for dataset, ones in budgets.items():
        for one in ones:
            for name, words in one.fields.items():
                best = json.dumps(one.best.params.get(name)) if one.best else "—"
                lines.append(f"| {dataset} | {one.label} | {name} | {words} | {best} |")
    return "\n".join(lines)


def _put(page: Path, text: str) -> None:
    partial = page.with_suffix(".partial")
    partial.write_text(text, "utf-8")
    partial.replace(page)
