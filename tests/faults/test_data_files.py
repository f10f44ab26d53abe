"""Files that are not what a card says: one clear message with the file, the line or row, the column and what to do; and
nothing half-written is left in the cache."""

import gzip
import zipfile

import polars as pl
import pytest

from llmrec.data import load
from llmrec.errors import UserError

COLUMNS = 'columns = { user = "u", item = "i", value = "v", time = "t" }'
CARD = f"""
title = "Shop"
time = "exact"
[[sources]]
interactions = {{ path = "FILE", {COLUMNS} }}
"""
HEAD = "u,i,v,t\n"
GOOD = "a,x,1,10\n"


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """A function that loads a private dataset from files and gives back the message with which it is refused."""
    cards = tmp_path / "cards"
    cards.mkdir()
    monkeypatch.setenv("LLMREC_DATASETS", str(cards))
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))

    def make(content, name="orders.csv", card=CARD, **files):
        for file, data in {name: content, **files}.items():
            if isinstance(data, pl.DataFrame):
                data.write_parquet(cards / file)
            else:
                (cards / file).write_bytes(data if isinstance(data, bytes) else data.encode())
        (cards / "shop.toml").write_text(card.replace("FILE", name))
        with pytest.raises(UserError) as error:
            load("shop")
        assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
        return str(error.value).replace(str(cards), "CARDS")

    return make


MISTAKES = {
    "text for a value": (GOOD + "b,y,five,10\n", "line 3: 'v' is 'five', expected a number"),
    "no value": (GOOD + "b,y,,10\n", "line 3: 'v' is empty; expected a number"),
    "NaN": (GOOD + "b,y,nan,10\n", "line 3: 'v' is 'nan', expected a number, neither NaN nor infinite"),
    "infinite": (GOOD + "b,y,-inf,10\n", "line 3: 'v' is '-inf', expected a number, neither NaN nor infinite"),
    "too large": (GOOD + "b,y,1e60,10\n", "line 3: 'v' is '1e60', expected a number, neither NaN nor infinite"),
    "text for a time": (GOOD * 3 + "b,y,1,yesterday\n", "line 5: 't' is 'yesterday', expected a number of seconds"),
    "negative time": (GOOD + "b,y,1,-5\n", "line 3: 't' is '-5', expected a moment from 1970 on; leave such rows out"),
    "milliseconds": (
        GOOD + "b,y,1,1500000000000\n",
        "line 3: 't' is '1500000000000', in seconds that is after the year",
    ),
    "no user": (GOOD + ",y,1,10\n", "line 3: 'u' is empty; every event needs a user"),
    "no item": (GOOD + "b,,1,10\n", "line 3: 'i' is empty; every event needs an item"),
    "too many columns": (GOOD + "b,y,1,10,7\n", "line 3: 5 columns, expected 4"),
    "too few columns": (GOOD + "b,y\n", "line 3: 'v' is empty"),
    "an open quotation mark": (GOOD + 'b,"y,1,10\nc,z,1,10\n', "cannot be read as a table"),
    "only a head": ("", "no interactions in this file"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_row_is_named(refused, mistake):
    rows, said = MISTAKES[mistake]
    message = refused(HEAD + rows)
    assert message.startswith("CARDS/orders.csv: ") and said in message and "\n" not in message


def test_the_remedy_for_milliseconds_is_one(refused):
    assert 'add time_format = "milliseconds" to the file in the card' in refused(HEAD + "a,x,1,1500000000000\n")
    pattern = CARD.replace('"FILE",', '"FILE", time_format = "%d.%m.%Y",')
    assert "line 3: 't' is '10', expected a time as in '%d.%m.%Y'" in refused(
        HEAD + "a,x,1,24.12.2020\na,y,1,10\n", card=pattern
    )


def test_lines_are_counted_behind_blank_ones(refused):
    assert "line 4: 'v' is 'five'" in refused(HEAD + GOOD + "\n" + "b,y,five,10\n")


@pytest.mark.parametrize("suffix", ["jsonl", "json.gz"])
def test_a_wrong_line_of_json_is_named(refused, suffix):
    def packed(text):
        return gzip.compress(text.encode()) if suffix.endswith("gz") else text

    good = '{"u": "a", "i": "x", "v": 1, "t": 10}\n'
    name = f"orders.{suffix}"
    assert "line 2: not a JSON object" in refused(packed(good + '{"u": \n'), name)
    assert "line 2: 'v' is 'five', expected a number" in refused(
        packed(good + '{"u": "a", "i": "x", "v": "five", "t": 10}\n'), name
    )
    assert "line 2: 'u' is empty" in refused(packed(good + '{"i": "x", "v": 1, "t": 10}\n'), name)
    assert "no column 't' (the card's 'time')" in refused(packed('{"u": "a", "i": "x", "v": 1}\n'), name)


def test_a_wrong_row_of_parquet_is_named(refused):
    frame = pl.DataFrame({"u": ["a", "b"], "i": ["x", "y"], "v": [1.0, float("nan")], "t": [10, 20]})
    assert "row 2: 'v' is 'NaN'" in refused(frame, "orders.parquet")
    assert "cannot be read as Parquet" in refused("no Parquet", "orders.parquet")


def test_a_missing_column_names_the_nearest(refused):
    message = refused("u,i,v,tt\n" + GOOD)
    assert message == "CARDS/orders.csv: no column 't' (the card's 'time'). Did you mean 'tt'?"


def test_an_audit_that_cannot_be_written_is_not_begun(tmp_path):
    from llmrec.cli.auditing import audit

    with pytest.raises(UserError, match=r"x\.json: expected a file in a folder that exists"):
        audit("ml-100k", protocol="", fold=None, candidates="all", out=tmp_path / "none" / "x.json")
    with pytest.raises(UserError, match="whose card says time = 'none', does not admit it"):
        audit("anime", protocol="temporal", fold=None, candidates="all")


def test_a_line_is_the_files_line(refused):
    cell = HEAD + 'a,"x\ny",1,10\nb,z,bad,20\n'  # a cell that goes on over two lines
    assert "line 4: 'v' is 'bad'" in refused(cell)
    blank = '{"u": "a", "i": "x", "v": 1, "t": 10}\n\n{"u": "b", "i": "x", "v": "bad", "t": 10}\n'
    assert "line 3: 'v' is 'bad'" in refused(blank, "orders.jsonl")


def test_other_separators_and_formats_are_recognised(refused):
    message = refused("u;i;v;t\na;x;1;10\n")
    assert "no column 'u'" in message and 'add separator = ";" to the file in the card.' in message
    assert "zip archive or an Excel workbook" in refused(b"PK\x03\x04", "orders.xlsx")
    assert 'add encoding = "utf-16"' in refused((HEAD + GOOD).encode("utf-16"))
    assert 'add format = "parquet"' in refused(b"PAR1....")


def test_json_that_is_no_json(refused):
    good = '{"u": "a", "i": "x", "v": 1, "t": 10}\n'
    nan = refused(good + good.replace("1,", "NaN,"), "o.jsonl")
    assert "line 2: not a JSON object on one line (NaN is no number" in nan
    assert "line 1: not a JSON object on one line" in refused('[{"u": 1},\n', "o.jsonl")


def test_a_slip_in_columns_loses_no_column(refused):
    message = refused(HEAD + GOOD, card=CARD.replace('value = "v"', 'vlaue = "v"'))
    assert "the card's 'columns' name 'vlaue', which is none of ours. Did you mean 'value'?" in message


def test_items_whose_ids_are_written_otherwise(refused):
    message = refused(HEAD + "1,7,1,10\n", card=CARD + ITEMS, **{"goods.csv": "id,name\nP007,Tea\n"})
    assert "no item that is interacted with is listed here: ids are like 'P007' here, and like '7' in" in message


def test_names_that_are_not_as_many_as_columns(refused):
    card = CARD.replace('"FILE",', '"FILE", names = ["u", "i", "v"],')
    assert "cannot be read as a table of the 3 columns u, i, v; it has another number" in refused(GOOD, card=card)


def test_an_empty_file(refused):
    assert refused("") == "CARDS/orders.csv: is empty."
    assert "is empty" in refused(gzip.compress(b""), "orders.csv.gz")


def test_another_encoding_names_the_line(refused):
    message = refused((HEAD + GOOD + "é,y,1,10\n").encode("latin-1"))
    assert message == "CARDS/orders.csv: line 3: byte 0xe9 is not utf-8; correct 'encoding' in the card."


def test_truncated_archives(refused, tmp_path):
    packed = gzip.compress((HEAD + GOOD * 1000).encode())
    assert "orders.csv.gz: not a whole gzip file" in refused(packed[:-20], "orders.csv.gz")
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        archive.writestr("orders.csv", HEAD + GOOD * 1000)
    whole = (tmp_path / "whole.zip").read_bytes()
    inside = CARD.replace('path = "FILE"', 'archive = "orders.zip", path = "orders.csv"')
    assert "orders.zip" in refused(whole[: len(whole) // 2], "orders.zip", card=inside)


ITEMS = 'items = { path = "goods.csv", columns = { raw_id = "id", title = "name" } }\n'


def test_items_that_are_listed_twice_name_both_rows(refused):
    message = refused(HEAD + GOOD, card=CARD + ITEMS, **{"goods.csv": "id,name\nx,1\ny,2\nx,3\n"})
    assert "goods.csv: items 1 and 3 have the same id 'x'" in message and 'duplicates = "first"' in message


def test_items_without_an_id(refused):
    message = refused(HEAD + GOOD, card=CARD + ITEMS, **{"goods.csv": "id,name\nx,1\n,2\n"})
    assert message == "CARDS/goods.csv: line 3: 'id' is empty; every item needs an id."


def test_nothing_left_says_which_filter_took_what(refused):
    filtered = CARD.replace("[[", "filters = { min_value = 2, since = 1970-01-01, core = 3 }\n[[", 1)
    message = refused(HEAD + GOOD + "b,y,3,10\n", card=filtered)
    assert message == (
        "shop: nothing is left after filtering. Interactions by step: as read: 2 left; dates 1970-01-01 to ...: 2 "
        "left; value >= 2: 1 left; core of 3 a user and 3 an item: 0 left. Loosen that filter."
    )


def test_times_that_are_missing(refused):
    message = refused(HEAD + GOOD + "b,y,3,\n")
    assert "time = 'exact', but 1 events have none" in message and "time = 'order'" in message


def test_a_file_that_is_not_there(refused):
    message = refused(HEAD + GOOD, card=CARD + ITEMS)
    assert "goods.csv" in message
