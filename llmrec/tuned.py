"""Parameters that a study of `llmrec tune` found: what was searched, where they lie, and whether they are still good.

    benchmarks/tuned/<dataset>/<row>.toml        (for a suite elsewhere: tuned/ beside its file)

A suite uses them by ``params = "tuned"``. A study belongs to one row of a suite: a method, the parameters that the row
sets itself (``fixed``), and the fields that are left to search.
"""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llmrec.discover import MethodFile, split_name
from llmrec.errors import UserError
from llmrec.records import TaskName
from llmrec.seeds import content_hash
from llmrec.staleness import code_fingerprint, evaluation_fingerprint

NOT_COMPARED = ("fit_data", "fold", "seed", "users")
"""Options of a protocol that parameters may be used across: all folds of a table have those of the first."""


class Trial(BaseModel):
    """One ended trial, in short; the whole of it is its record. A pruned trial's figure is that of its last epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    status: str  # of its record
    value: float | None = None  # validation figure
    epochs: int | None = None  # validated; None: the method does not train by epochs
    cpu_seconds: float
    run: str  # id of its record; equal parameters are one run
    error: str = ""
    params: dict[str, Any] = Field(default_factory=dict)  # of the fields that are searched; None is left out


class Facts(BaseModel):
    """What a study was made of, and what it found. Figures are those of the validation part."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suite: str
    task: TaskName
    dataset: str
    protocol: dict[str, Any]
    space: dict[str, str]  # field -> its range or choices in words
    fixed: dict[str, Any]  # parameters that the row sets itself
    epochs: int | None = None  # of every trial; None: the row sets them, they are searched, or the method has none
    trials: int
    failed: int
    pruned: int
    seed: int
    code: str
    evaluation: str
    optuna: str
    metric: str
    default: float | None = None  # None: the defaults gave no figure
    best: float
    best_trial: int
    best_run: str
    cpu_seconds: float


class Tuned(BaseModel):
    """One file of tuned parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    fingerprint: str  # of the study: space, fixed, trials, epochs, protocol, code, seed
    params: dict[str, Any] = Field(default_factory=dict)  # all that were searched or set
    study: Facts
    trials: list[Trial]

    @model_validator(mode="after")
    def _agrees(self) -> Tuned:
        """The list of trials is the study's."""
        best = [t.value for t in self.trials if t.number == self.study.best_trial]
        if len(self.trials) != self.study.trials or best != [self.study.best]:
            raise ValueError("the trials are not those of the study")
        return self


def fingerprint(method: str, facts: Facts) -> str:
    """Hash of all that decides what a study finds."""
    kept = ("task", "dataset", "protocol", "space", "fixed", "epochs", "trials", "seed", "code", "evaluation")
    return content_hash([method, facts.model_dump(mode="json", include=set(kept))])


def tuned_path(folder: Path, dataset: str, label: str) -> Path:
    """Where a row's parameters lie. ``folder``: that of the suite's file."""
    return folder / "tuned" / dataset / f"{label.replace(':', '-')}.toml"


def space_of(method: str, file: MethodFile, fixed: Mapping[str, Any], epochs: int | None = None) -> dict[str, str]:
    """The fields that a study searches, each in words: those declared with `tune` that neither the row nor the number
    of epochs has set. Two spaces are the same if their words are."""
    said = set(fixed) | ({"model"} if split_name(method)[1] else set()) | ({"epochs"} if epochs is not None else set())
    return {name: in_words(p.tune) for name, p in file.params.items() if p.tune is not None and name not in said}


def in_words(tune: Mapping[str, Any]) -> str:
    """ "0.0001 to 0.01, logarithmic" or "one of 32, 64, null"."""
    if tune.get("choices") is not None:
        return "one of " + ", ".join(json.dumps(choice) for choice in tune["choices"])
    return f"{tune.get('low')} to {tune.get('high')}" + (", logarithmic" if tune.get("log") else "")


def again(suite: str, label: str, study: Facts) -> str:
    """The command that searches a row's parameters anew, as they were searched."""
    epochs = f" --epochs {study.epochs}" if study.epochs is not None else ""
    return (
        f"llmrec tune {suite} -m {shlex.quote(label)} -d {study.dataset} --trials {study.trials}{epochs} "
        "--restart --freeze"
    )


def by_other_code(found: Tuned, file: MethodFile) -> bool:
    """Whether the method, what it imports, the data or the evaluation have changed since the study."""
    study = found.study
    today = code_fingerprint(file, study.dataset, study.task), evaluation_fingerprint(study.task)
    return today != (study.code, study.evaluation)


def read_tuned(path: Path, suite: str) -> Tuned:
    """Read a file of tuned parameters.

    Raises:
        UserError: there is none (the message names the command that makes it), or it cannot be read.
    """
    make = f"llmrec tune {suite} --freeze"
    try:
        return Tuned.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path}: no tuned parameters. Make them with: {make}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}. Make it anew with: {make}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        where = f"key {key!r}: " if key else ""
        raise UserError(
            f"{path}: {where}{first['msg'].removeprefix('Value error, ')}. Make the file anew with: {make}"
        ) from None


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two tables, nested ones too, in words: "learning_rate was 1 to 2 and is 1 to 3"."""
    found = []
    for key in dict.fromkeys([*old, *new]):
        if key not in old or key not in new:
            found.append(f"{key} ({old[key]}) is gone" if key in old else f"{key} ({new[key]}) is new")
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            found += [f"{key}: {one}" for one in differences(old[key], new[key])]
        elif old[key] != new[key]:
            found.append(f"{key} was {old[key]} and is {new[key]}")
    return found


def check_tuned(
    found: Tuned,
    path: Path,
    suite: str,
    *,
    task: str,
    dataset: str,
    label: str,
    method: str,
    file: MethodFile,
    fixed: Mapping[str, Any],
    protocol: Mapping[str, Any],
) -> None:
    """Whether a study was made for what is about to be run.

    Raises:
        UserError: it was made for another method, space or protocol, or the file was changed by hand.
    """
    study = found.study
    told = differences(
        {
            "method": found.method, "task": study.task, "dataset": study.dataset, "space": study.space,
            "fixed": study.fixed, "protocol": _compared(study.protocol),
        },
        {
            "method": method, "task": task, "dataset": dataset, "space": space_of(method, file, fixed, study.epochs),
            "fixed": dict(fixed), "protocol": _compared(protocol),
        },
    )  # fmt: skip
    if told:
        raise UserError(
            f"{path}: the study was made for something else: {'; '.join(told)}. "
            f"Make it anew with: {again(suite, label, study)}"
        )
    if found.fingerprint != fingerprint(found.method, study):
        raise UserError(f"{path}: changed by hand: its fingerprint is not its study's. Give such params in the suite.")


def _compared(protocol: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in protocol.items() if key not in NOT_COMPARED and value is not None}
