"""Word tables written by hand, datasets/words/*.toml: a label's plain name, and what it means in other words."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmrec.content import content_root
from llmrec.data.requests.labels import name
from llmrec.data.requests.words import share_a_word
from llmrec.errors import UserError, nearest


class Words(BaseModel):
    """One label in words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = None  # in the requests' language, as part of a phrase: "sci-fi"; None: as users write it
    other: str  # the same without a content word of the label: "set in outer space or a distant future"


class Table(BaseModel):
    """What requests say for the labels of one field."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str
    apart: Literal["label", "field"]  # descriptions share no word with their own label, or with no label of the table
    named: list[str] = Field(min_length=1)  # templates around a name; a hash of the label chooses
    described: list[str] = Field(min_length=1)  # templates around other words
    and_named: str  # between two names
    and_described: str  # between two descriptions
    labels: dict[str, Words] = Field(min_length=1)

    def of(self) -> dict[str, Words]:
        """The words of each label, by the label's name (see `llmrec.data.requests.labels.name`)."""
        return {name(label): said for label, said in self.labels.items()}

    def frames(self, labels: tuple[str, ...]) -> list[str]:
        """The templates around a description that share no word with the labels, or with none of the table."""
        own = self.of()
        against = own if self.apart == "field" else labels
        names = [*against, *(own[label].name or "" for label in against)]
        return [t for t in self.described if not any(share_a_word(t, name) for name in names)]


def table_path(table: str) -> Path:
    """Where a table lies. Raises UserError where there is none."""
    folder = content_root() / "datasets" / "words"
    path = folder / f"{table}.toml"
    if not path.exists():
        raise UserError(f"{path}: no such table of words.{nearest(table, (p.stem for p in folder.glob('*.toml')))}")
    return path


def read_table(path: Path) -> Table:
    """Read a table.

    Raises:
        UserError: not TOML, a key is wrong, or a description shares a word with the name of a label.
    """
    try:
        table = Table.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: key {'.'.join(map(str, first['loc']))!r}: {first['msg']}.") from None
    for label, said in table.labels.items():
        against = table.labels if table.apart == "field" else {label: said}
        for other, words in against.items():
            if share_a_word(said.other, other) or share_a_word(said.other, words.name or ""):
                raise UserError(
                    f"{path}: key 'labels.{label}.other': {said.other!r} shares a word with the label {other!r} "
                    f"({words.name or other!r}). Say it in other words."
                )
    return table
