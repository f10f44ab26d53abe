"""The places and files of a card: where a dataset's data lie, and how each file is read (see `llmrec.data.cards`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from llmrec.content import PACKAGE
from llmrec.errors import nearest

ARCHIVES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""How the name of an archive ends."""

TIME_UNITS = ("seconds", "milliseconds", "microseconds")
"""Units in which times since 1970 may be counted."""

UNPUBLISHED = "unpublished"
"""The checksum of a file whose publisher gives none: its first download is trusted, later ones are compared with it."""


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or ":" in path:
        raise ValueError("must be a relative path inside the dataset's folder, without '..'")
    return path


def reader_names() -> list[str]:
    """The formats that can be read: the modules of `llmrec.data.readers` that are no part of others."""
    shared = ("__init__", "events", "given", "loose", "scan")
    return sorted(p.stem for p in (PACKAGE / "data" / "readers").glob("*.py") if p.stem not in shared)


def _reader(name: str) -> str:
    if name not in reader_names():
        raise ValueError(f"no reader {name!r}.{nearest(name, reader_names())}")
    return name


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise ValueError(f"no encoding {name!r}; for example utf-8, utf-16, latin-1, cp1252") from None
    return name


def _time_format(form: str) -> str:
    if form not in TIME_UNITS and "%" not in form:
        raise ValueError(f"expected a unit or a pattern such as '%Y-%m-%d %H:%M:%S'.{nearest(form, TIME_UNITS)}")
    return form


def as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Inside = Annotated[str, AfterValidator(_inside)]
Checksum = Annotated[str, Field(pattern=rf"^([0-9a-f]{{64}}|md5:[0-9a-f]{{32}}|{UNPUBLISHED})$")]
Texts = Annotated[tuple[str, ...], BeforeValidator(as_list)]


class Part(BaseModel):
    """A table of a card: its keys are known, its values fixed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RowRule(Part):
    """Rows of a file that are no events, by one of the file's own columns: a cancelled order, a missing customer."""

    column: str
    starts_with: Texts = ()
    equals: Texts = ()
    empty: bool = False
    below: float | None = None
    above: float | None = None

    @model_validator(mode="after")
    def _one_condition(self) -> RowRule:
        if (
            sum(map(bool, (self.starts_with, self.equals, self.empty)))
            + (self.below is not None)
            + (self.above is not None)
            != 1
        ):
            raise ValueError("give one of starts_with, equals, empty, below, above")
        return self

    @property
    def words(self) -> str:
        """The rule as one would say it."""
        if self.empty:
            return f"{self.column} is empty"
        if self.starts_with or self.equals:
            verb = "starts with" if self.starts_with else "is"
            return f"{self.column} {verb} {' or '.join(self.starts_with or self.equals)}"
        return (
            f"{self.column} is below {self.below}" if self.below is not None else f"{self.column} is above {self.above}"
        )


class DataFile(Part):
    """One file of a source and how it is read."""

    path: str = Field(min_length=1)  # in the source's place, or in the archive
    archive: Inside | None = None  # path of the archive in the source's place
    sha256: Checksum | None = None  # of the file itself
    reader: Annotated[str, AfterValidator(_reader)] = "table"  # a module of llmrec.data.readers
    official: str | None = Field(None, pattern=r"^(train|valid|test|[1-9][0-9]*)$")  # the part that this file is
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None  # where the suffix does not say
    separator: str | None = Field(None, pattern=r"^[\x01-\x7f]+$")  # of columns; default: ',' in .csv, else a tab
    quote: str | None = Field(None, pattern=r"^[\x01-\x7f]?$")  # around cells; default: '"' in .csv, else none ('')
    names: tuple[str, ...] | None = None  # a table's column names; absent: its first line has them
    columns: dict[str, str] = Field(default_factory=dict)  # our name -> the file's
    flags: tuple[str, ...] = ()  # columns that say 1 where an item is of the category of that name
    list_separator: str = "|"  # between the categories of one cell
    time_format: Annotated[str, AfterValidator(_time_format)] = "seconds"  # a unit, or as in "%Y-%m-%d %H:%M:%S" (UTC)
    drop: tuple[RowRule, ...] = ()
    duplicates: Literal["error", "first"] = "error"  # an item that is listed twice
    also: dict[str, DataFile] = Field(default_factory=dict)  # further files that the reader needs, by its own names
    options: dict[str, Any] = Field(default_factory=dict)  # what a special reader wants to know

    @property
    def where(self) -> str:
        """The file's place within the source, unlike that of any other: "a/b.csv" or "a.zip!b.csv"."""
        return f"{self.archive}!{self.path}" if self.archive else self.path

    def all(self) -> Iterator[DataFile]:
        """This file and those that its reader needs besides."""
        yield self
        for other in self.also.values():
            yield from other.all()


Role = Literal["interactions", "official", "items", "tags", "impressions", "requests", "crosscheck"]
ROLES: tuple[Role, ...] = get_args(Role)

Files = Annotated[tuple[DataFile, ...], BeforeValidator(as_list)]


class Source(Part):
    """One way to the data: a place and the files in it (see above)."""

    address: str = Field(
        "local", pattern=r"^(local|mirror(:[A-Za-z0-9._-]+)?|pypi:[A-Za-z0-9._-]+==[A-Za-z0-9._]+|https?://\S+)$"
    )
    sha256: Annotated[str, Field(pattern=rf"^([0-9a-f]{{64}}|{UNPUBLISHED})$")] | None = None  # of the archive or file
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None  # where the publisher gives no better one
    checksums: dict[str, Checksum] = Field(default_factory=dict)  # path in the place -> checksum
    interactions: Files = ()
    official: Files = ()
    items: Files = ()
    tags: Files = ()
    impressions: Files = ()
    requests: Files = ()
    crosscheck: Files = ()

    @property
    def kind(self) -> Literal["local", "mirror", "pypi", "archive", "folder", "file"]:
        """What the address is."""
        for kind in ("local", "mirror", "pypi"):
            if self.address.startswith(kind):
                return kind
        if self.address.endswith("/"):
            return "folder"
        return "archive" if self.address.endswith(ARCHIVES) else "file"

    def files(self, *roles: Role) -> list[DataFile]:
        """The files of some roles (default: all), with those that their readers need besides; each place once."""
        chosen = [part for role in roles or ROLES for file in getattr(self, role) for part in file.all()]
        return list({file.where: file for file in chosen}.values())

    def checksum(self, path: str) -> str | None:
        """The published checksum of a plain file or an archive by its path in the place: 64 hex digits (SHA-256),
        "md5:" and 32, "unpublished", or None where it has none (local; inside an archive that has one)."""
        own = [f.sha256 for f in self.files() if f.where == path and f.sha256]
        return self.checksums.get(path) or (own[0] if own else None)

    @model_validator(mode="before")
    @classmethod
    def _readers(cls, raw: Any) -> Any:
        """``reader`` of a source is that of every file which names none."""
        if not isinstance(raw, dict) or "reader" not in raw:
            return raw
        reader = raw["reader"]
        given = {key: value for key, value in raw.items() if key != "reader"}
        for role in ROLES:
            if role in given:
                files = as_list(given[role])
                given[role] = [{"reader": reader, **file} if isinstance(file, dict) else file for file in files]
        return given

    @model_validator(mode="after")
    def _checked(self) -> Source:
        if not (self.interactions or self.impressions):
            raise ValueError("a source needs a file of interactions (or of impressions)")
        whole = self.kind in ("pypi", "archive", "file")
        if whole and not (self.sha256 or self.md5):
            raise ValueError(
                f"a source that is downloaded needs the archive's sha256 (or md5, or sha256 = {UNPUBLISHED!r})"
            )
        for file in self.files():
            if self.kind != "local" or file.archive:
                _inside(file.path)
            if file.archive and whole:
                raise ValueError(f"{file.where!r}: an archive in an archive cannot be read")
            outer = file.archive or file.path
            if self.kind in ("mirror", "folder") and self.checksum(outer) is None:
                raise ValueError(f"{outer!r} has no checksum: give its sha256, or {UNPUBLISHED!r} if there is none")
        return self
