"""Events in columns, whatever file they stand in: ids and numbers from text, rows that are no events, faults by their
line. Nothing becomes a Python object: 32 million events fit in 6 GiB."""

from __future__ import annotations

from collections.abc import Callable, Collection

import polars as pl

from llmrec.data.readers.given import Given
from llmrec.data.readers.scan import collect, kind_of, line_of, scan
from llmrec.data.sources import TIME_UNITS, RowRule

LATEST = 4_102_444_800
"""2100-01-01 in seconds: a later time is in another unit."""

PER_SECOND = dict(zip(TIME_UNITS, (1, 1_000, 1_000_000), strict=True))
"""How many of a unit of time make a second; what ``time_format`` says beside is a pattern of strptime."""

_PEEK = 1_000  # rows that tell whether ids look like numbers


def read_events(given: Given, names: dict[str, str], known: Collection[str]) -> pl.DataFrame:
    """The events of a table: ``names`` maps user, item and, if there are any, value, time and official to columns that
    the file has; ``known`` are all of its columns.

    Raises:
        UserError: with file, line and column: an empty id, text where a number is due, a time that cannot be one.
    """
    for rule in given.file.drop:
        given.named(rule.column, "the card's 'drop'", known)
    wanted = list(dict.fromkeys([*names.values(), *(rule.column for rule in given.file.drop)]))
    if (frame := _quick(given, names, wanted)) is not None:
        return _checked(given, names, frame, times_read=True)
    return _checked(given, names, _careful(given, names, wanted), times_read=False)


def _quick(given: Given, names: dict[str, str], wanted: list[str]) -> pl.DataFrame | None:
    """Parsed straight into numbers, or None where a cell is not what the first rows promise."""
    if kind_of(given) == "parquet" or given.file.drop or given.file.time_format not in PER_SECOND:
        return None
    as_text = dict.fromkeys(wanted, pl.String)
    head = collect(given, scan(given, as_text).head(_PEEK).select(wanted))
    cells = {n: head[names[n]] for n in ("user", "item")}
    numeric = [n for n in cells if cells[n].cast(pl.Int64, strict=False).null_count() == cells[n].null_count()]
    types: dict[str, type[pl.DataType]] = dict(as_text)
    if "value" in names:
        types[names["value"]] = pl.Float32
    if "time" in names:
        types[names["time"]] = pl.Int64
    columns = _columns(given, names, numeric, pl.Int64() if "time" in names else None)
    plain = [_is_plain(names[n]).alias(f"plain {n}") for n in numeric]
    try:
        frame = scan(given, types).select(*columns, *plain).collect(engine="streaming")
    except pl.exceptions.PolarsError:
        return None
    if not all(frame[f"plain {n}"].all() and not frame[n].null_count() for n in numeric):
        return None  # an id further down is text, or too long for a number
    return frame.drop(f"plain {n}" for n in numeric)


def _careful(given: Given, names: dict[str, str], wanted: list[str]) -> pl.DataFrame:
    """Read as text and then turned into numbers; a cell that cannot be turned becomes null, which is found later."""
    lazy = scan(given, dict.fromkeys(wanted, pl.String))
    types = lazy.collect_schema()
    numeric = [n for n in ("user", "item") if types[names[n]].is_numeric() and types[names[n]] != pl.UInt64]
    lazy = lazy.with_columns(_whole(names[n]) for n in numeric if types[names[n]].is_float())
    columns = _columns(given, names, numeric, types[names["time"]] if "time" in names else None)
    if given.file.drop:
        columns.append(_dropped(given.file.drop))
    frame = collect(given, lazy.select(columns))
    return frame.with_columns(slim(frame["user"]), slim(frame["item"]))


def slim(ids: pl.Series) -> pl.Series:
    """Ids as numbers where every one is a plain number: half the memory of text."""
    if ids.dtype != pl.String or not ids.to_frame().select(_is_plain(ids.name).all()).item():
        return ids
    numbers = ids.cast(pl.Int64, strict=False)
    return numbers if numbers.null_count() == ids.null_count() else ids


def _columns(given: Given, names: dict[str, str], numeric: list[str], time: pl.DataType | None) -> list[pl.Expr]:
    """The columns of an event out of the file's; ``time`` is the type of the column of times, if there is one."""
    columns = [
        pl.col(names[n]).cast(pl.Int64 if n in numeric else pl.String, strict=False).alias(n) for n in ("user", "item")
    ]
    value = pl.col(names["value"]).cast(pl.Float32, strict=False) if "value" in names else pl.lit(1.0, pl.Float32)
    moment = pl.lit(None, pl.Int64) if time is None else _moment(given, pl.col(names["time"]), time)
    columns += [value.alias("value"), moment.alias("time")]
    if "official" in names:
        columns.append(pl.col(names["official"]).cast(pl.String).alias("official"))
    return columns


def _whole(name: str) -> pl.Expr:
    """Ids that the file holds as floats: null where one is no whole number, for 3.7 is not 3."""
    return pl.when(pl.col(name) == pl.col(name).floor()).then(pl.col(name)).alias(name)


def _moment(given: Given, column: pl.Expr, type: pl.DataType) -> pl.Expr:
    """Seconds since 1970; a fraction is cut off."""
    if type.is_temporal():
        return column.cast(pl.Datetime("us")).dt.epoch("s")
    unit = PER_SECOND.get(given.file.time_format)
    if unit is None:
        form = given.file.time_format.replace("%z", "%#z")  # which also takes "Z"
        return column.cast(pl.String).str.to_datetime(form, strict=False).dt.epoch("s")
    number = column if type.is_integer() else column.cast(pl.Float64, strict=False).floor()
    return (number // unit if unit > 1 else number).cast(pl.Int64, strict=False)


def _is_plain(name: str) -> pl.Expr:
    """Whether an id is a number in its only spelling: "7", not "007" or "+7", which are other ids."""
    text = pl.col(name)
    return (text == "0") | ~(text.str.starts_with("0") | text.str.starts_with("+") | text.str.starts_with("-"))


def _dropped(rules: tuple[RowRule, ...]) -> pl.Expr:
    """Null where a row is an event, else the first rule that says that it is none, in words."""
    words = pl.lit(None, pl.String)
    for rule in reversed(rules):
        words = pl.when(matches(rule)).then(pl.lit(rule.words)).otherwise(words)
    return words.alias("dropped")


def matches(rule: RowRule) -> pl.Expr:
    """Whether a row is one that a rule of the card leaves out."""
    text, number = pl.col(rule.column).cast(pl.String), pl.col(rule.column).cast(pl.Float64, strict=False)
    if rule.empty:
        return text.fill_null("") == ""
    if rule.below is not None:
        return (number < rule.below).fill_null(False)
    if rule.above is not None:
        return (number > rule.above).fill_null(False)
    if rule.equals:
        return text.is_in(list(rule.equals)).fill_null(False)
    return pl.any_horizontal([text.str.starts_with(start).fill_null(False) for start in rule.starts_with])


def _checked(given: Given, names: dict[str, str], frame: pl.DataFrame, *, times_read: bool) -> pl.DataFrame:
    """The same events, blank lines left out, if every one is whole. ``times_read``: a time is null only where its cell
    is empty; else the cells are looked at again."""
    frame, rows = _without_blank_lines(given, names, frame)

    def refuse(wrong: pl.Series, ours: str, expected: str) -> None:
        if "dropped" in frame.columns:
            wrong &= frame["dropped"].is_null()
        if wrong.any():
            at = int(wrong.arg_true()[0])
            row = at if rows is None else int(rows[at])
            cell = _cells(given, [names[ours]], row)[0]
            found = f"{names[ours]!r} is {cell!r}, " if cell else f"{names[ours]!r} is empty; "
            raise given.fault(found + expected, line_of(given, row))

    for ours, article in (("user", "a"), ("item", "an")):
        ids = frame[ours]
        nothing = ids.is_null() | (ids == "").fill_null(False) if ids.dtype == pl.String else ids.is_null()
        refuse(nothing, ours, f"every event needs {article} {ours}")
    if "value" in names:
        refuse(~frame["value"].is_finite().fill_null(False), "value", "expected a number, neither NaN nor infinite")
    if "time" in names:
        cells = None
        if frame["time"].null_count() and not times_read:
            text = pl.col(names["time"]).cast(pl.String)
            cells = collect(given, scan(given, {names["time"]: pl.String}).select(text)).to_series()
            cells = cells if rows is None else cells[rows]
        _check_times(given.file.time_format, frame["time"], cells, refuse)
    return frame


def _check_times(
    form: str, time: pl.Series, cells: pl.Series | None, refuse: Callable[[pl.Series, str, str], None]
) -> None:
    """Every time lies between 1970 and 2100, or its cell is empty; ``cells`` are the file's, if a time is null."""
    if cells is not None:
        expected = f"a time as in {form!r}"
        if form in PER_SECOND:
            expected = f'a number of {form}; where times are written out, say how: time_format = "%Y-%m-%d %H:%M:%S"'
        refuse(time.is_null() & (cells.fill_null("") != ""), "time", f"expected {expected}")
    refuse(
        (time < 0).fill_null(False), "time",
        "expected a moment from 1970 on; leave such rows out with a 'drop' rule of the card",
    )  # fmt: skip
    finer = {"seconds": "milliseconds", "milliseconds": "microseconds"}.get(form, "seconds")
    refuse(
        (time > LATEST).fill_null(False), "time",
        f"in {form if form in PER_SECOND else 'seconds'} that is after the year 2100; if it is in {finer}, add "
        f'time_format = "{finer}" to the file in the card',
    )  # fmt: skip


def _without_blank_lines(
    given: Given, names: dict[str, str], frame: pl.DataFrame
) -> tuple[pl.DataFrame, pl.Series | None]:
    """Lines without any cell are no events. Also each event's row in the file, if that is no longer its place."""
    if not frame["user"].null_count() or not frame["item"].null_count():
        return frame, None
    cells = collect(given, scan(given, dict.fromkeys(names.values(), pl.String)).select(list(names.values())))
    blank = cells.select(pl.all_horizontal(pl.all().is_null())).to_series()
    return frame.filter(~blank), (~blank).arg_true()


def _cells(given: Given, columns: list[str], row: int) -> list[str]:
    """What stands in a row of the file."""
    lazy = scan(given, dict.fromkeys(columns, pl.String)).select(pl.col(columns).cast(pl.String))
    return [cell or "" for cell in collect(given, lazy.slice(row, 1)).row(0)]
