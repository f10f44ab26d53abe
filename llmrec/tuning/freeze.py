"""Writes the best parameters of whole studies where suites find them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.errors import UserError
from llmrec.tuned import Facts, Trial, Tuned, fingerprint, tuned_path
from llmrec.tuning.study import Study

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

HEAD = """\
# What `llmrec tune {suite}` found for the row {label!r} on {dataset}, on the validation part. Suites use it by
# params = "tuned". Written by the command; change nothing by hand.
"""


def freeze(study: Study, suite: str, folder: Path, trials: int) -> Path:
    """Write the best parameters of a study, whole or not at all. ``folder``: that of the suite's file.

    Raises:
        UserError: trials are missing, or none gave a figure.
    """
    setup = study.setup
    if len(study.ended) < trials:
        raise UserError(
            f"{setup.name}: {len(study.ended)} of {trials} trials are done. "
            f"Finish them: llmrec tune {study.typed} --trials {trials} --freeze"
        )
    found = tuned(study, suite)
    path = tuned_path(folder, setup.dataset, setup.label)
    text = HEAD.format(suite=suite, label=setup.label, dataset=setup.dataset) + as_toml(found)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}.") from None
    return path


def best_trial(study: Study) -> FrozenTrial | None:
    """The best whole trial, the first of equals; None if none gave a figure."""
    whole = [t for t in study.ended if t.state.name == "COMPLETE" and t.value is not None]
    return max(whole, key=lambda t: (study.task.better * (t.value or 0.0), -t.number), default=None)


def cpu_seconds(trials: list[FrozenTrial]) -> float:
    """What trials have used. Two with equal parameters are one run."""
    return sum({t.user_attrs["run_id"]: float(t.user_attrs.get("cpu_seconds", 0.0)) for t in trials}.values())


def tuned(study: Study, suite: str) -> Tuned:
    """The best parameters of a study with all that says how they were found.

    Raises:
        UserError: no trial gave a figure.
    """
    import optuna

    setup, ended, best = study.setup, study.ended, best_trial(study)
    if best is None or best.value is None:
        raise UserError(f"{setup.name}: none of {len(ended)} trials gave a figure: {ended[0].user_attrs.get('error')}")
    params = _said(study, best)
    states = [trial.state.name for trial in ended]
    facts = Facts(
        suite=suite, **study.made_of, trials=len(ended), failed=states.count("FAIL"), pruned=states.count("PRUNED"),
        optuna=optuna.__version__, metric=study.task.validation,
        default=ended[0].value if ended[0].state.name == "COMPLETE" else None, best=best.value,
        best_trial=best.number, best_run=best.user_attrs["run_id"], cpu_seconds=round(cpu_seconds(ended), 1),
    )  # fmt: skip
    return Tuned(
        method=setup.method, fingerprint=fingerprint(setup.method, facts), params=params, study=facts,
        trials=[in_short(trial) for trial in ended],
    )  # fmt: skip


def _said(study: Study, best: FrozenTrial) -> dict[str, Any]:
    """All that was searched or set, even where it is the default of today: the file outlives a change of defaults.

    Raises:
        UserError: the best value of a field is None, and that is not its default.
    """
    setup = study.setup
    epochs = {"epochs": setup.epochs} if setup.epochs is not None else {}
    said = {name: value for name, value in {**setup.fixed, **epochs, **best.params}.items() if value is not None}
    if empty := [name for name in setup.params(best.params) if name not in said]:
        raise UserError(
            f"{setup.name}: parameter {empty[0]!r} is None, which TOML cannot hold. Take None out of its choices."
        )
    return said


def in_short(trial: FrozenTrial) -> Trial:
    """What a frozen file and a report say of an ended trial."""
    told = trial.user_attrs
    return Trial(
        number=trial.number, status=told["status"], value=trial.value,
        epochs=max(trial.intermediate_values, default=None), cpu_seconds=round(float(told["cpu_seconds"]), 3),
        run=told["run_id"], error=told.get("error") or "",
        params={name: value for name, value in trial.params.items() if value is not None},
    )  # fmt: skip


def as_toml(found: Tuned) -> str:
    """The file's text, one line a trial. What is None is left out, for TOML has no word for it."""
    study = found.study.model_dump(mode="json")
    tables = {"study.protocol": study.pop("protocol"), "study.space": study.pop("space")}
    tables["study.fixed"] = study.pop("fixed")
    top = {"method": found.method, "fingerprint": found.fingerprint, "params": found.params}
    trials = [trial.model_dump(mode="json", exclude_defaults=True) for trial in found.trials]
    listed = "trials = [\n" + "".join(f"  {_value(trial)},\n" for trial in trials) + "]\n"
    parts = [_lines(top) + listed, "[study]\n" + _lines(study)]
    parts += [f"[{name}]\n{_lines(table)}" for name, table in tables.items()]
    return "\n".join(parts)


def _lines(table: dict[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items() if value is not None)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def _value(value: Any) -> str:
    """A value in TOML, which writes strings, numbers, booleans and lists as JSON does."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
