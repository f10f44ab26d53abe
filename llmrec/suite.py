"""A suite: one TOML file that says what is run. Task, datasets x protocol x methods x seeds, and the budget.

    task = "topn"
    title = "Every family on MovieLens-100K"
    datasets = ["ml-100k"]
    seeds = [0, 1, 2]
    threads = 1
    [protocol]
    name = "leave-one-out"
    [limits]
    seconds = 1800
    memory_gib = 8
    [[methods]]
    name = "recbole:BPR"
    label = "bpr"
    params = { epochs = 20 }

``slices = ["items:cold"]`` publishes users' own figures on a part of the items, so that claims can be tested on it.
``folds = [1, 2, 3, 4, 5]`` runs all official folds of a dataset. A row with ``control = true`` stands apart and never
competes; only such a row may change the protocol: ``protocol = { withhold = false }``. ``params = "tuned"`` takes what
`llmrec tune` has found for each dataset; ``fixed = { loss = "bce" }`` beside it is set and not searched. A row with
``datasets = ["ml-100k"]`` runs on these alone; ``published = ["s3-rec/sasrec"]`` says which published figures its own
are held against (`llmrec.literature`).

Every mistake in it is one sentence: file, key, what was expected, and the nearest right name.
"""

from __future__ import annotations

import itertools
import json
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from llmrec.cardfiles import card_file
from llmrec.content import content_root
from llmrec.discover import MethodFile, Parameter, find_methods, method_file, split_name, with_parts
from llmrec.errors import UserError, nearest
from llmrec.literature import Published, expected, load_published
from llmrec.ranges import check_range
from llmrec.recbole_names import check_model
from llmrec.records import Protocol, RunSpec, TaskName
from llmrec.split.admits import check
from llmrec.tasks import TASKS
from llmrec.tomlfile import mistake, read_toml
from llmrec.tuned import Tuned, check_tuned, read_tuned, space_of, tuned_path

ItemSlice = Literal["items:head", "items:tail", "items:cold"]
"""A part of the items of which users' own figures can be published."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Part):
    """What a run may use before it is killed. A limit only kills; it never shapes a result."""

    seconds: float = Field(default=3600, gt=0, description="seconds of wall-clock time")
    memory_gib: float = Field(default=16, gt=0, description="GiB of resident memory, child processes included")


class Track(_Part):
    """Where records are mirrored to."""

    wandb: bool = Field(default=False, description="true or false")


class Entry(_Part):
    """One row of the suite's table: a method with some parameters."""

    name: str = Field(description="a method's name, for example 'ease' or 'recbole:BPR'")
    label: str = Field(default="", description="the name of the row; default: the method's name")
    params: dict[str, Any] | Literal["tuned"] = Field(
        default_factory=dict, description="a table of parameters, or the word 'tuned'"
    )
    fixed: dict[str, Any] = Field(
        default_factory=dict, description="with params = 'tuned': a table of parameters that are not searched"
    )  # of a checked suite: all that the row sets itself, whichever way
    control: bool = Field(default=False, description="true for a row that is shown apart and never competes")
    protocol: dict[str, Any] = Field(
        default_factory=dict, description="a table of protocol options that this control row changes"
    )
    datasets: list[str] = Field(default=[], description="a list of the suite's datasets; default: all of them")
    published: list[str] = Field(default=[], description="a list of published rows, for example 's3-rec/sasrec'")


class _File(_Part):
    title: str = Field(default="", description="a string")
    task: TaskName = Field(default="topn", description="one of topn, impressions, rating, request")
    datasets: list[str] = Field(min_length=1, description="a list of dataset names")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[0, 1, 2], min_length=1, description="a list of whole numbers from 0"
    )
    folds: list[Annotated[int, Field(ge=1)]] = Field(
        default=[], description="a list of official folds, from 1, with protocol.name = 'official'"
    )
    threads: int = Field(default=1, ge=1, description="a whole number from 1, per run")
    metrics: list[str] = Field(default=[], description="a list of metric names; default: the task's own")
    slices: list[ItemSlice] = Field(
        default=[], description="a list of items:head, items:tail, items:cold, with task 'topn'"
    )  # parts of the items of which users' own figures are published, so that claims can be tested on them
    protocol: Protocol | None = Field(default=None, description="a table of protocol options")
    limits: Limits = Limits()
    track: Track = Track()
    methods: list[Entry] = Field(min_length=1, description="one [[methods]] table or more")


@dataclass(frozen=True)
class Planned:
    """One run that a suite asks for, under the label of its row. ``control``: the row never competes."""

    label: str
    spec: RunSpec
    file: MethodFile
    control: bool = False


@dataclass(frozen=True)
class Suite:
    """A checked suite: every name in it exists and every parameter has the right type."""

    name: str
    title: str
    path: Path
    task: TaskName
    datasets: tuple[str, ...]
    folds: tuple[int, ...]  # official folds that all stand in one table; () where the protocol says which, if any
    seeds: tuple[int, ...]
    threads: int
    metrics: tuple[str, ...]
    slices: tuple[str, ...]
    protocol: Protocol
    limits: Limits
    track: Track
    entries: tuple[Entry, ...]
    files: dict[str, MethodFile]  # entry name -> its method file
    methods: dict[str, MethodFile]  # every method that there is, for the parts that rows name

    def runs(
        self,
        methods: Sequence[str] = (),
        datasets: Sequence[str] = (),
        seeds: Sequence[int] = (),
    ) -> list[Planned]:
        """The suite's runs, seeds outermost (a whole table with one seed comes first); empty arguments choose all.

        A method without random streams runs once, as seed 0. ``methods`` holds labels or method names.

        Raises:
            UserError: an argument names nothing of the suite.
        """
        labels = {entry.label for entry in self.entries}
        names = {entry.name for entry in self.entries}
        for chosen in methods:
            if chosen not in labels | names:
                raise UserError(f"-m {chosen}: suite {self.name!r} has no such row.{nearest(chosen, labels | names)}")
        for chosen in datasets:
            if chosen not in self.datasets:
                raise UserError(
                    f"-d {chosen}: suite {self.name!r} has no such dataset.{nearest(chosen, self.datasets)}"
                )
        kept = [e for e in self.entries if not methods or e.label in methods or e.name in methods]
        planned: dict[tuple[str, str], Planned] = {}
        for seed in seeds or self.seeds:
            for dataset, fold, entry in itertools.product(datasets or self.datasets, self.folds or (None,), kept):
                if entry.datasets and dataset not in entry.datasets:
                    continue
                protocol = changed(self.protocol, {**({"fold": fold} if fold else {}), **entry.protocol})
                params = self._tuned(entry, dataset, protocol) if entry.params == "tuned" else entry.params
                file = self.file(entry)
                spec = RunSpec(
                    task=self.task,
                    dataset=dataset,
                    protocol=protocol,
                    method=entry.name,
                    params=params,
                    seed=seed if file.seeded else 0,
                )
                planned.setdefault((entry.label, spec.run_id), Planned(entry.label, spec, file, entry.control))
        return list(planned.values())

    def file(self, entry: Entry) -> MethodFile:
        """The method's file of a row, with the files of the parts that the row names."""
        return with_parts(self.files[entry.name], self.methods, entry.fixed)

    @property
    def typed(self) -> str:
        """What a user types to name this suite."""
        return self.name if suite_names().get(self.name) == self.path else str(self.path)

    def studies(self, dataset: str) -> dict[str, Tuned]:
        """Label -> the study that found a row's parameters, of the rows that ask for tuned ones.

        Raises:
            UserError: there is none, or it was made for something else.
        """
        asked = [entry for entry in self.entries if not entry.datasets or dataset in entry.datasets]
        tuned = [entry for entry in asked if entry.params == "tuned"]
        return {e.label: self._study(e, dataset, changed(self.protocol, e.protocol)) for e in tuned}

    def published(self, dataset: str) -> dict[str, list[Published]]:
        """Label -> the published rows on a dataset that the row's figures are held against, of rows that name any."""
        if not any(entry.published for entry in self.entries):
            return {}
        known = load_published(self.path.parent)
        rows = {entry.label: [known[name] for name in entry.published] for entry in self.entries}
        kept = {label: [row for row in named if row.dataset == dataset] for label, named in rows.items()}
        return {label: named for label, named in kept.items() if named}

    def _tuned(self, entry: Entry, dataset: str, protocol: Protocol) -> dict[str, Any]:
        """The parameters that `llmrec tune` has frozen for a row."""
        path = tuned_path(self.path.parent, dataset, entry.label)
        found = self._study(entry, dataset, protocol).params
        return check_params(entry.name, found, self.files[entry.name], str(path), self.methods)

    def _study(self, entry: Entry, dataset: str, protocol: Protocol) -> Tuned:
        path = tuned_path(self.path.parent, dataset, entry.label)
        found = read_tuned(path, self.typed)
        check_tuned(
            found, path, self.typed, task=self.task, dataset=dataset, label=entry.label, method=entry.name,
            file=self.file(entry), fixed=entry.fixed, protocol=protocol.model_dump(mode="json"),
        )  # fmt: skip
        return found


def changed(protocol: Protocol, options: dict[str, Any]) -> Protocol:
    """The protocol with some options changed, checked anew."""
    return Protocol.model_validate({**protocol.model_dump(), **options})


def suite_names() -> dict[str, Path]:
    """The suite's own suites by name."""
    return {path.stem: path for path in sorted((content_root() / "benchmarks").glob("*.toml"))}


def load_suite(name_or_path: str | Path, extra: Path | None = None) -> Suite:
    """Read and check a suite, by name (a file of benchmarks/) or by path. ``extra``: a folder with more methods.

    Raises:
        UserError: whatever is wrong with it, in one sentence.
    """
    path = _suite_path(str(name_or_path))
    try:
        file = _File.model_validate(read_toml(path), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {mistake(error, _File)}") from None
    task = TASKS[file.task]
    protocol = file.protocol or Protocol.model_validate({"name": task.protocols[0]})
    _check_names(file, path)
    if file.slices and file.task != "topn":
        raise UserError(f"{path}: key 'slices': only the task 'topn' has them; this suite's is {file.task!r}.")
    _check_protocol(file, protocol, path)
    methods = find_methods(extra)
    files: dict[str, MethodFile] = {}
    entries: list[Entry] = []
    known: dict[str, Published] = {}  # read when a row asks for it
    for number, entry in enumerate(file.methods, 1):
        where = f"{path}: methods[{number}] ({entry.name!r})"
        try:
            found = method_file(entry.name, methods)
        except UserError as error:
            raise UserError(f"{where}: key 'name': {error}") from None
        if found.verbs and not set(found.verbs) & set(task.verbs):  # none at all: inherited, which only a run can see
            raise UserError(
                f"{where}: cannot be asked for the task {task.name!r}, which wants {' or '.join(task.verbs)}; "
                f"it has {', '.join(found.verbs)}."
            )
        files[entry.name] = found
        changes = {"label": entry.label or entry.name, **_checked_params(entry, found, where, methods)}
        _check_control(entry, protocol, file.task, where)
        _check_datasets(entry, file.datasets, where)
        if entry.published:
            known = known or load_published(path.parent)
            expected(entry.published, known, where, file.task, entry.datasets or file.datasets)
        entries.append(entry.model_copy(update=changes))
    labels = [entry.label for entry in entries]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise UserError(f"{path}: two rows are called {twice[0]!r}. Give each its own `label`.")
    return Suite(
        name=path.stem, title=file.title or path.stem, path=path, task=file.task, datasets=tuple(file.datasets),
        folds=tuple(file.folds), seeds=tuple(file.seeds), threads=file.threads,
        metrics=tuple(file.metrics) or task.shown, slices=tuple(file.slices), protocol=protocol,
        limits=file.limits, track=file.track, entries=tuple(entries), files=files, methods=methods,
    )  # fmt: skip


def check_params(
    name: str, params: dict[str, Any], file: MethodFile, where: str, methods: dict[str, MethodFile] | None = None
) -> dict[str, Any]:
    """The parameters of a method by name that differ from its defaults, each of the type of its field; so are those of
    a part that it names, ``{method, params}``, which is one of ``methods`` (the suite's own, where none are given).

    Raises:
        UserError: an unknown parameter, a value of the wrong type or out of range, or a model that RecBole does not
            have; ``where`` begins the message.
    """
    different: dict[str, Any] = {}
    base, model = split_name(name)
    known = set(file.params) - ({"model"} if model else set())  # recbole:BPR has said its model
    if base == "recbole" and model:
        try:
            check_model(model)
        except UserError as error:
            raise UserError(f"{where}: key 'name': {error}") from None
    for key, value in params.items():
        if key not in known:
            raise UserError(f"{where}: unknown parameter {key!r}.{nearest(key, known)}")
        parameter = file.params[key]
        value = _typed(value, parameter, f"{where}: parameter {key!r}")
        check_range(key, value, parameter, where)
        if isinstance(value, dict) and "method" in value:
            value = _checked_part(value, methods or find_methods(), f"{where}: parameter {key!r}")
        if not parameter.known or not _same(parameter.default, value):
            different[key] = value
    missing = [k for k in file.params if k in known and file.params[k].required and k not in params]
    if missing:
        wanted = file.params[missing[0]].annotation
        raise UserError(f"{where}: parameter {missing[0]!r} has no default: give a {wanted}.")
    return different


def _checked_part(spec: dict[str, Any], methods: dict[str, MethodFile], where: str) -> dict[str, Any]:
    """A part's spec, ``{method, params}``, as short as it can be; keys of the outer method's own (``k``) stay."""
    name, params = spec["method"], spec.get("params", {})
    if not isinstance(name, str) or not isinstance(params, dict):
        raise UserError(f"{where}: expected {{ method = 'a name', params = {{ ... }} }}, found {spec!r}.")
    try:
        file = method_file(name, methods)
    except UserError as error:
        raise UserError(f"{where}: key 'method': {error}") from None
    own = check_params(name, params, file, f"{where} ({name!r})", methods)
    rest = {key: value for key, value in spec.items() if key not in ("method", "params")}
    return {"method": name, **({"params": own} if own else {}), **rest}


def _checked_params(entry: Entry, file: MethodFile, where: str, methods: dict[str, MethodFile]) -> dict[str, Any]:
    """``params`` and ``fixed`` of a checked row."""
    if entry.params == "tuned":
        check_params(entry.name, entry.fixed, file, f"{where}: key 'fixed'", methods)
        if not space_of(entry.name, file, entry.fixed):
            raise UserError(f"{where}: key 'params': {entry.name!r} has nothing to tune that 'fixed' has not set.")
        return {}
    if entry.fixed:
        raise UserError(f"{where}: key 'fixed': goes with params = \"tuned\"; here 'params' itself sets what is set.")
    return {"params": check_params(entry.name, entry.params, file, where, methods), "fixed": entry.params}


def _same(left: Any, right: Any) -> bool:
    """Whether two parameter values are the same once written as JSON (a tuple is a list)."""
    try:
        return bool(json.loads(json.dumps(left)) == json.loads(json.dumps(right)))
    except (TypeError, ValueError):
        return False


def _typed(value: Any, parameter: Parameter, where: str) -> Any:
    """The value as the field's type writes it in JSON (10 for a float is 10.0)."""
    try:
        wanted = eval(parameter.annotation, {**vars(typing), "Path": Path})
        adapter: TypeAdapter[Any] = TypeAdapter(wanted)
    except Exception:  # a type of the method's own: checked when the method is made
        return value
    try:
        return adapter.dump_python(adapter.validate_json(json.dumps(value), strict=True), mode="json")
    except (ValidationError, TypeError, ValueError):
        raise UserError(f"{where}: expected {parameter.annotation}, found {value!r}.") from None


def _suite_path(name: str) -> Path:
    known = suite_names()
    if name in known:
        return known[name]
    if not name.endswith(".toml"):
        raise UserError(f"unknown suite {name!r}.{nearest(name, known)} A path to a .toml file is good too.")
    if not Path(name).is_file():
        raise UserError(f"{name}: no such file.")
    return Path(name).resolve()


def _check_names(file: _File, path: Path) -> None:
    """Datasets and metrics exist; nothing stands twice."""
    for dataset in file.datasets:
        try:
            card_file(dataset)
        except UserError as error:
            raise UserError(f"{path}: key 'datasets': {error}") from None
    metrics = TASKS[file.task].metrics
    for metric in file.metrics:
        if metric not in metrics:
            raise UserError(
                f"{path}: key 'metrics': the task {file.task!r} has no metric {metric!r}.{nearest(metric, metrics)}"
            )
    lists: dict[str, Sequence[Any]] = {
        "datasets": file.datasets, "seeds": file.seeds, "metrics": file.metrics, "folds": file.folds,
    }  # fmt: skip
    for key, values in lists.items():
        if len(set(values)) < len(values):
            raise UserError(f"{path}: key {key!r}: an entry stands twice.")


def _check_protocol(file: _File, protocol: Protocol, path: Path) -> None:
    """The protocol fits the task, and folds fit the protocol."""
    admitted = TASKS[file.task].protocols
    if protocol.name not in admitted:
        raise UserError(
            f"{path}: key 'protocol.name': the task {file.task!r} is asked under {', '.join(admitted)}, "
            f"not {protocol.name!r}."
        )
    try:
        check(protocol, file.task)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if file.folds and (protocol.name != "official" or protocol.fold is not None):
        raise UserError(f"{path}: key 'folds': goes with protocol.name = 'official' and without protocol.fold.")


def _check_control(entry: Entry, protocol: Protocol, task: TaskName, where: str) -> None:
    """Only control rows change the protocol, for one table never mixes two; and what they change are its options."""
    if not entry.protocol:
        return
    if not entry.control:
        raise UserError(f"{where}: key 'protocol': only a control row may change the protocol; add control = true.")
    unknown = [key for key in entry.protocol if key not in Protocol.model_fields or key == "name"]
    if unknown:
        known = [key for key in Protocol.model_fields if key != "name"]
        raise UserError(f"{where}: key 'protocol': cannot change {unknown[0]!r}.{nearest(unknown[0], known)}")
    try:
        check(Protocol.model_validate({**protocol.model_dump(mode="json"), **entry.protocol}, strict=True), task)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: key 'protocol.{key}': {first['msg']}, found {first['input']!r}.") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _check_datasets(entry: Entry, datasets: list[str], where: str) -> None:
    for dataset in entry.datasets:
        if dataset not in datasets:
            raise UserError(
                f"{where}: key 'datasets': the suite has no dataset {dataset!r}.{nearest(dataset, datasets)}"
            )
