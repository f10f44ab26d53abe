"""Reading claims.toml: one [[claims]] table a claim.

    [[claims]]
    id = "bert-beats-content-on-news"
    text = "BERT pair scoring beats content-based filtering on news"
    source = "literature"                 # who says it; cite = "key" names a work of refs.bib
    task = "impressions"
    datasets = ["mind-mini"]
    metrics = ["auc"]
    a = { methods = ["bert-biencoder"] }  # the best of them, chosen on validation
    b = { families = ["content"] }        # each of them must be beaten: each method, the best of each family
                                          # methods = [...], params = { signal = "random" }: only rows with these
    slice = "items:cold"                  # only relevant items of this part count; the suite lists it in its `slices`
    direction = "higher"                  # a's figure is to be higher than b's (default), or "lower"
    least = 0.0                           # by at least so much, or least_relative = 0.02: by 2 % of b's
    seeds = 5                             # needed of each method that uses its seed
    users = 300                           # or other units of the task
    protocol = { fit_data = "train" }     # options that the runs must have
    suite = "impressions"                 # where several published suites could answer; or several, whose rows are
                                          # taken together: suite = ["reproduce", "tuned-beauty"]. Without it, those of
                                          # all suites are, unless one has all that is needed
    says = "not decided"                  # what the paper says: the build fails when the records say otherwise

``b = { figure = 0.0384 }`` compares with a published figure. ``not_yet = "..."`` says why nothing can be compared yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmrec.cardfiles import dataset_names
from llmrec.discover import find_methods
from llmrec.errors import UserError, nearest
from llmrec.records import Protocol, TaskName
from llmrec.report.significance import SEEDS_FOR_A_CLAIM, SMALL
from llmrec.report.words import FAMILIES
from llmrec.suite import ItemSlice, suite_names
from llmrec.tasks import TASKS
from llmrec.tomlfile import mistake, read_toml

Verdict = Literal["supported", "refuted", "not decided", "not yet run"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Side(_Part):
    """What stands on one side of a comparison: rows or methods, families, or a published figure."""

    methods: list[str] = Field(default=[], description="a list of methods or labels of rows")
    families: list[str] = Field(default=[], description="a list of families")
    params: dict[str, Any] = Field(default={}, description="a table of parameters in force")
    figure: float | None = Field(default=None, description="a published figure")

    @property
    def given(self) -> int:
        return bool(self.methods) + bool(self.families) + (self.figure is not None)


class Claim(_Part):
    """One claim and its test."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="small letters, digits and hyphens")
    text: str = Field(min_length=1, description="a sentence")
    source: str = Field(min_length=1, description="who says it, in words")
    cite: str = Field(default="", description="a key of refs.bib")
    task: TaskName = "topn"
    datasets: list[str] = Field(min_length=1, description="a list of dataset names")
    metrics: list[str] = Field(min_length=1, description="a list of metrics of the task")
    slice: ItemSlice | Literal[""] = Field(default="", description="one of items:head, items:tail, items:cold")
    a: Side = Side()
    b: Side = Side()
    direction: Literal["higher", "lower"] = "higher"
    least: float = Field(default=0.0, description="a number")
    least_relative: float = Field(default=0.0, gt=-1, description="a share of b's figure")
    seeds: int = Field(default=SEEDS_FOR_A_CLAIM, ge=1, description="a whole number from 1")
    users: int = Field(default=SMALL, ge=2, description="a whole number from 2")
    protocol: dict[str, Any] = Field(default={}, description="a table of protocol options")
    suite: str | list[str] = Field(default="", description="a suite's name, or a list of names")
    not_yet: str = Field(default="", description="why nothing can be compared yet")
    says: Verdict | None = Field(default=None, description="supported, refuted, not decided or not yet run")

    @property
    def suites(self) -> list[str]:
        """The suites that are named; none where any may answer."""
        named = [self.suite] if isinstance(self.suite, str) else self.suite
        return [name for name in named if name]


def read_claims(path: Path, known: set[str]) -> list[Claim]:
    """The claims of a file, each checked. ``known``: labels of published rows, which a claim may name beside methods.

    Raises:
        UserError: file, claim and key, what was expected, and the nearest right name.
    """
    try:
        raw = read_toml(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file. Claims stand in paper/claims.toml of the checkout.") from None
    if set(raw) != {"claims"}:
        raise UserError(f"{path}: expected [[claims]] tables and nothing else, found: {', '.join(sorted(raw)) or '-'}.")
    claims: list[Claim] = []
    for number, table in enumerate(raw["claims"], 1):
        where = f"{path}: claims[{number}] ({table.get('id', 'without id')!r})"
        try:
            claim = Claim.model_validate(table, strict=True)
        except ValidationError as error:
            raise UserError(f"{where}: {mistake(error, Claim)}") from None
        if claim.id in {other.id for other in claims}:
            raise UserError(f"{where}: there is another claim with this id. Give each its own.")
        _check(claim, where, known, path.with_name("refs.bib"))
        claims.append(claim)
    return claims


def bib_keys(path: Path) -> set[str]:
    """The keys of a .bib file."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {line.partition("{")[2].rstrip(", ") for line in lines if line.startswith("@")}


def _check(claim: Claim, where: str, known: set[str], bib: Path) -> None:
    task = TASKS[claim.task]
    _check_each(claim.datasets, set(dataset_names()), f"{where}: key 'datasets': no dataset")
    _check_each(claim.metrics, set(task.metrics), f"{where}: key 'metrics': task {claim.task!r} has no metric")
    _check_each(claim.suites, set(suite_names()), f"{where}: key 'suite': no suite")
    _check_each(
        list(claim.protocol), set(Protocol.model_fields), f"{where}: key 'protocol': the protocol has no option"
    )
    _check_each([claim.cite] if claim.cite else [], bib_keys(bib), f"{where}: key 'cite': {bib.name} has no key")
    if claim.least and claim.least_relative:
        raise UserError(f"{where}: keys 'least' and 'least_relative' exclude each other.")
    if claim.not_yet:
        return  # nothing is compared, so methods may be named that do not exist yet
    methods = find_methods()
    names = {*methods, *known}
    for key, side in (("a", claim.a), ("b", claim.b)):
        if side.given != 1 or (key == "a" and side.figure is not None):
            choice = "methods or families" if key == "a" else "methods, families or figure"
            raise UserError(f"{where}: key {key!r}: expected a table with one of {choice}.")
        _check_each([n for n in side.methods if ":" not in n], names, f"{where}: key {key!r}: no method or row")
        _check_each(side.families, set(FAMILIES), f"{where}: key {key!r}: no family")
        if side.params and not side.methods:
            raise UserError(f"{where}: key {key!r}: params choose among the rows of methods, and none is named.")
        for name in (n for n in side.methods if n in methods):
            _check_each(list(side.params), set(methods[name].params), f"{where}: key {key!r}: {name} has no parameter")


def _check_each(names: list[str], known: set[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"{what} {name!r}.{nearest(name, known)}")
