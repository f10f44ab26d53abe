"""Published figures: what papers and libraries report, so that a suite's rows can be held against them.

    benchmarks/published/<source>.toml           (for a suite elsewhere: published/ beside its file)

    paper = "Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018"
    where = "https://arxiv.org/abs/1808.09781"
    mark = "read"
    [[tables]]
    table = "Table 2"
    dataset = "amazon2014-beauty"
    protocol = "leave-one-out, all items ranked"
    fields = { name = "leave-one-out", fit_data = "train" }
    not_stated = ["mask_history"]
    [[tables.rows]]
    id = "sasrec"
    method = "SASRec, one negative"
    metrics = { "ndcg@10" = 0.0318 }

A row's name is ``<source>/<id>``; a suite's row names it: ``published = ["s3-rec/sasrec"]``. Every mistake is one
sentence: file, key, what was expected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmrec.cardfiles import card_file
from llmrec.content import content_root
from llmrec.errors import UserError, nearest
from llmrec.records import Protocol, TaskName
from llmrec.tasks import TASKS
from llmrec.tomlfile import mistake, read_toml

Mark = Literal["read", "computed", "memory"]
"""read: in the source itself · computed: independently, on the same data · memory: not looked up, so never a target."""

WITHIN = 0.05
"""The relative difference up to which a learnt method counts as reproduced."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Row(_Part):
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.+-]*$", description="a short name of a-z, 0-9, '.', '+', '-'")
    method: str = Field(min_length=1, description="the method as the source calls it")
    metrics: dict[str, float] = Field(min_length=1, description="a table of metrics, for example { 'ndcg@10' = 0.05 }")
    runs: int = Field(default=1, ge=1, description="how many runs the figures are means of")
    exact: float | None = Field(
        default=None, gt=0, description="the absolute difference that rounding allows, where no seed is involved"
    )
    note: str = Field(default="", description="a sentence")


class _Table(_Part):
    table: str = Field(min_length=1, description="which table or file of the source")
    dataset: str = Field(default="", description="a dataset's name")
    elsewhere: str = Field(default="", description="the data in words, where no card has them")
    task: TaskName = Field(default="topn", description="one of topn, impressions, rating, request")
    protocol: str = Field(min_length=1, description="the protocol in words")
    fields: dict[str, Any] = Field(default_factory=dict, description="a table of protocol options as they were there")
    not_stated: list[str] = Field(default=[], description="a list of protocol options that the source does not state")
    differs: str = Field(default="", description="what no protocol option can say, in words")
    rows: list[_Row] = Field(min_length=1, description="one [[tables.rows]] table or more")


class _Source(_Part):
    paper: str = Field(min_length=1, description="authors, title, venue and year, or a repository's name")
    where: str = Field(min_length=1, description="an address: DOI, arXiv or repository")
    mark: Mark = Field(description="one of read, computed, memory")
    tables: list[_Table] = Field(min_length=1, description="one [[tables]] table or more")


@dataclass(frozen=True)
class Published:
    """One method's row in a table of the literature."""

    name: str  # <source>/<id>
    paper: str
    where: str
    mark: Mark
    table: str
    dataset: str  # '' where no card here has the data
    elsewhere: str
    task: TaskName
    protocol: str  # in words
    fields: dict[str, Any]  # options of the protocol as they were there
    not_stated: tuple[str, ...]
    differs: str
    method: str
    metrics: dict[str, float]
    runs: int
    exact: float | None
    note: str

    @property
    def data(self) -> str:
        return self.dataset or self.elsewhere

    def differences(self, protocol: Protocol) -> list[str]:
        """How the published protocol differs from the one at hand, in words, an option each."""
        ours = protocol.model_dump()
        told = [
            f"{key} = {_plain(value)} there, {_plain(ours[key])} here"
            for key, value in self.fields.items()
            if _plain(value) != _plain(ours[key])
        ]
        told += [f"{key} is not stated there" for key in self.not_stated]
        return [*told, *([self.differs] if self.differs else [])]


def published_folder() -> Path:
    """The suite's own table of published figures."""
    return content_root() / "benchmarks" / "published"


def load_published(beside: Path | None = None) -> dict[str, Published]:
    """Every published row by its name: the suite's own, and those of ``published/`` in the folder ``beside``.

    Raises:
        UserError: whatever is wrong with a file, in one sentence; two rows of one name that differ.
    """
    folders = [published_folder()]
    if beside is not None and beside.resolve() != folders[0].parent.resolve():
        folders.append(beside / "published")
    found: dict[str, Published] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.toml"))):
        for row in read_source(path):
            if found.setdefault(row.name, row) != row:  # a packed suite brings the same rows along
                raise UserError(f"{path}: {row.name!r} is published already. Give the file another name.")
    return found


def read_source(path: Path) -> list[Published]:
    """The rows of one source.

    Raises:
        UserError: whatever is wrong with the file, in one sentence.
    """
    try:
        source = _Source.model_validate(read_toml(path), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: {mistake(error, _Source)}") from None
    ids = Counter(row.id for table in source.tables for row in table.rows)
    if twice := [name for name, count in ids.items() if count > 1]:
        raise UserError(f"{path}: two rows have the id {twice[0]!r}. Give each its own.")
    rows = []
    for number, table in enumerate(source.tables, 1):
        _check(table, f"{path}: tables[{number}]")
        rest = table.model_dump(exclude={"rows", "not_stated"})
        for row in table.rows:
            rows.append(
                Published(
                    name=f"{path.stem}/{row.id}", paper=source.paper, where=source.where, mark=source.mark,
                    **row.model_dump(exclude={"id"}), **rest, not_stated=tuple(table.not_stated),
                )
            )  # fmt: skip
    return rows


def expected(names: Iterable[str], known: dict[str, Published], where: str, task: str, datasets: Iterable[str]) -> None:
    """Check the published rows that a suite's row names. ``where`` begins the message.

    Raises:
        UserError: a name that is not published, or one that no run of the row could be held against.
    """
    for name in names:
        if name not in known:
            raise UserError(f"{where}: key 'published': no published row {name!r}.{nearest(name, known)}")
        row = known[name]
        if row.mark == "memory":
            raise UserError(
                f"{where}: key 'published': {name!r} is from memory, so it is no target. Look it up in "
                f"{row.where} and change its file's mark."
            )
        if row.task != task or row.dataset not in datasets:
            raise UserError(
                f"{where}: key 'published': {name!r} is of the task {row.task} on {row.data}, "
                f"this row of {task} on {', '.join(datasets)}."
            )


def _check(table: _Table, where: str) -> None:
    """Data, protocol options and metrics exist."""
    if bool(table.dataset) == bool(table.elsewhere):
        raise UserError(f"{where}: give either 'dataset' (a card's name) or 'elsewhere' (the data in words).")
    if table.dataset:
        try:
            card_file(table.dataset)
        except UserError as error:
            raise UserError(f"{where}: key 'dataset': {error}") from None
    options = list(Protocol.model_fields)
    for key, names in (("fields", table.fields), ("not_stated", table.not_stated)):
        for name in names:
            if name not in options:
                raise UserError(f"{where}: key {key!r}: no protocol option {name!r}.{nearest(name, options)}")
    if both := [name for name in table.not_stated if name in table.fields]:
        raise UserError(f"{where}: {both[0]!r} stands in 'fields' and in 'not_stated'.")
    try:
        Protocol.model_validate({"name": TASKS[table.task].protocols[0], **table.fields}, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: key 'fields.{key}': {first['msg']}, found {first['input']!r}.") from None
    for row in table.rows:
        for metric in row.metrics:
            known = {name.partition("@")[0] for name in TASKS[table.task].metrics}
            if metric.partition("@")[0] not in known:
                raise UserError(
                    f"{where}: row {row.id!r}: the task {table.task!r} has no metric {metric!r}."
                    f"{nearest(metric, TASKS[table.task].metrics)}"
                )


def _plain(value: Any) -> str:
    """An option's value as TOML writes it, near enough to be read."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    return str(value)
