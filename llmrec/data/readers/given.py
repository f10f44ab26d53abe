"""What a reader is given: a local file, what its card says of it, the text in it. Faults are named by file and line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from llmrec.data.sources import DataFile
from llmrec.errors import UserError, nearest


@dataclass(frozen=True)
class Given:
    """A file to be read."""

    file: DataFile
    path: Path
    also: dict[str, Given] = field(default_factory=dict)  # further files that the reader needs, by the card's names

    @classmethod
    def of(cls, file: DataFile, found: Mapping[str, Path]) -> Given:
        """The file where it was found, with those that belong to it."""
        return cls(file, found[file.where], {name: cls.of(other, found) for name, other in file.also.items()})

    @property
    def suffix(self) -> str:
        """What the name ends with, but for .gz: ".csv"; '' if with nothing."""
        path = Path(self.file.path.lower())
        return (Path(path.stem) if path.suffix == ".gz" else path).suffix

    @property
    def is_plain(self) -> bool:
        """Whether the file can be read where it lies: not compressed, in UTF-8."""
        return self.path.suffix != ".gz" and self.file.encoding.lower().replace("-", "") == "utf8"

    def starts_with(self, *marks: bytes) -> bool:
        """Whether the file, as it lies there, begins with one of the marks."""
        with self.path.open("rb") as stream:
            return stream.read(max(map(len, marks))).startswith(marks)

    def data(self) -> bytes:
        """The file's bytes, uncompressed."""
        return self._unpacked if self.path.suffix == ".gz" else self.path.read_bytes()

    @cached_property
    def _unpacked(self) -> bytes:
        """Kept while the file is read, for it is looked into more than once."""
        try:
            return gzip.decompress(self.path.read_bytes())
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{self.path}: not a whole gzip file ({error}). Fetch it again.") from None

    def plain_data(self) -> bytes:
        """The file's bytes, uncompressed, in UTF-8."""
        return self.text().encode() if self.file.encoding.lower().replace("-", "") != "utf8" else self.data()

    def text(self) -> str:
        """The file's text, uncompressed and decoded."""
        data = self.data()
        try:
            return data.decode(self.file.encoding).removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise self.fault(
                f"byte {data[error.start]:#04x} is not {self.file.encoding}; correct 'encoding' in the card", line
            ) from None

    def lines(self) -> list[str]:
        """The file's lines, without their ends; only line feeds end one (titles may hold other separators)."""
        lines = self.text().replace("\r\n", "\n").split("\n")
        return lines if lines[-1] else lines[:-1]

    def fault(self, what: str, line: int | None = None) -> UserError:
        """The error that says what is wrong with the file, and where."""
        unit = "row" if self.suffix == ".parquet" else "line"
        place = f"{unit} {line}: " if line is not None else ""
        return UserError(f"{self.path}: {place}{what}.")

    def column(self, ours: str, known: Collection[str]) -> str:
        """The file's name of one of our columns. Raises UserError where the card or the file has none."""
        if ours not in self.file.columns:
            raise UserError(f"{self.path}: the card names no column for {ours!r}; add it to 'columns'.")
        return self.named(self.file.columns[ours], f"the card's {ours!r}", known)

    def named(self, theirs: str, why: str, known: Collection[str]) -> str:
        """A column of the file. Raises UserError where it has none of that name."""
        if theirs not in known:
            close = nearest(theirs, known)
            if len(known) == 1 and (marks := [mark for mark in ";\t|," if mark in next(iter(known))]):
                close = f" Its only column is {next(iter(known))!r}; if {marks[0]!r} stands between columns, add "
                close += f"separator = {json.dumps(marks[0])} to the file in the card."
            raise UserError(f"{self.path}: no column {theirs!r} ({why}).{close}")
        return theirs
