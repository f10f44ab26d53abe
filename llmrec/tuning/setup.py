"""What one study is made of: a row of a suite, a dataset, and the fields that are left to search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmrec.data.cards import card
from llmrec.discover import MethodFile, Parameter
from llmrec.errors import UserError, nearest
from llmrec.records import Protocol, RunSpec, TaskName
from llmrec.seeds import axis_seed, content_hash
from llmrec.split.admits import check_card
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.suite import Entry, Planned, Suite, changed, check_params
from llmrec.tuned import space_of


@dataclass(frozen=True)
class Setup:
    """One study before it has any trial."""

    task: TaskName
    dataset: str
    label: str
    method: str
    file: MethodFile
    protocol: Protocol
    fixed: dict[str, Any]  # what the row sets itself
    epochs: int | None  # of every trial; None where the row sets them, they are searched, or the method has none
    run_seed: int

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.label}"

    @property
    def space(self) -> dict[str, Parameter]:
        """The fields that are searched."""
        return {name: self.file.params[name] for name in self.words}

    @property
    def words(self) -> dict[str, str]:
        """The same in words."""
        return space_of(self.method, self.file, self.fixed, self.epochs)

    @property
    def seed(self) -> int:
        """What all proposals follow from: the protocol and the method, nothing else."""
        named = [self.task, self.dataset, self.protocol.model_dump(mode="json"), self.method, self.fixed]
        return axis_seed(self.protocol.seed, f"tuning/{content_hash(named)}")

    @property
    def made_of(self) -> dict[str, Any]:
        """All that decides what the study finds, except how many trials it has."""
        return {
            "task": self.task,
            "dataset": self.dataset,
            "protocol": {k: v for k, v in self.protocol.model_dump(mode="json").items() if v is not None},
            "space": self.words,
            "fixed": self.fixed,
            **({"epochs": self.epochs} if self.epochs is not None else {}),
            "seed": self.seed,
            "code": code_fingerprint(self.file, self.dataset, self.task),
            "evaluation": evaluation_fingerprint(self.task),
        }

    def params(self, proposal: dict[str, Any]) -> dict[str, Any]:
        """A trial's parameters, those that differ from the method's defaults."""
        given = {**self.fixed, **proposal, **({"epochs": self.epochs} if self.epochs is not None else {})}
        return check_params(self.method, given, self.file, f"row {self.label!r}")

    def planned(self, number: int, proposal: dict[str, Any]) -> Planned:
        """The run of a trial: fitted on the training part, judged on the validation part."""
        spec = RunSpec(
            task=self.task, dataset=self.dataset, protocol=self.protocol, method=self.method,
            params=self.params(proposal), seed=self.run_seed, part="valid",
        )  # fmt: skip
        return Planned(f"{self.label} trial {number}", spec, self.file)


def setups(
    suite: Suite, rows: Sequence[str] = (), datasets: Sequence[str] = (), epochs: int | None = None
) -> tuple[list[Setup], list[str]]:
    """The studies of a suite, and the labels of rows that have nothing to tune. Empty arguments choose all.

    A table of folds is tuned on its first; the first of the suite's seeds is that of all trials. A control row is tuned
    only where it asks for tuned parameters. A row that sets its own ``epochs`` keeps them; where neither it nor the
    argument does, every trial has the number that is the method's default, and the study says so.

    Raises:
        UserError: an argument names nothing of the suite, a row chosen by name or the whole suite has nothing to tune,
            or a dataset does not admit the protocol.
    """
    entries = _chosen(suite, rows)
    for dataset in datasets:
        if dataset not in suite.datasets:
            raise UserError(
                f"-d {dataset}: suite {suite.name!r} has no such dataset.{nearest(dataset, suite.datasets)}"
            )
    found, without = [], []
    for entry in entries:
        file = suite.file(entry)
        capped = _epochs(file, entry, epochs)
        if not space_of(entry.name, file, entry.fixed, capped):
            without.append(entry.label)
            continue
        options = {**({"fold": suite.folds[0]} if suite.folds else {}), **entry.protocol, "fit_data": "train"}
        protocol = changed(suite.protocol, options)
        for dataset in datasets or suite.datasets:
            if entry.datasets and dataset not in entry.datasets:
                continue
            check_card(card(dataset), protocol, suite.task)
            seed = suite.seeds[0] if file.seeded else 0
            found.append(
                Setup(
                    suite.task, dataset, entry.label, entry.name, file, protocol, entry.fixed, capped, seed
                )
            )  # fmt: skip
    if rows and without:
        raise UserError(
            f"-m {without[0]}: nothing to tune: no field of its method is declared with tune(...), or the row sets "
            "them all."
        )
    if not found:
        raise UserError(
            f"{suite.path}: nothing to tune: no row's method has a field declared with tune(...) that the row leaves "
            "free."
        )
    return found, without


def _epochs(file: MethodFile, entry: Entry, given: int | None) -> int | None:
    """What is set as the number of epochs of every trial of a row."""
    field = file.params.get("epochs")
    if field is None or "epochs" in entry.fixed:
        return None
    own = field.default if field.known and not field.tune and isinstance(field.default, int) else None
    return given if given is not None else own


def _chosen(suite: Suite, rows: Sequence[str]) -> list[Entry]:
    labels, names = {entry.label for entry in suite.entries}, {entry.name for entry in suite.entries}
    for row in rows:
        if row not in labels | names:
            raise UserError(f"-m {row}: suite {suite.name!r} has no such row.{nearest(row, labels | names)}")
    if rows:
        return [entry for entry in suite.entries if entry.label in rows or entry.name in rows]
    return [entry for entry in suite.entries if not entry.control or entry.params == "tuned"]
