"""Reading files: what is kept, by every generic reader."""

import gzip
import json

import polars as pl
import pytest

from llmrec.data.readers import Given, read, reader_names
from llmrec.data.sources import DataFile
from llmrec.errors import UserError

TABLE = {"user": "u", "item": "i", "value": "v", "time": "t"}


@pytest.fixture
def given(tmp_path):
    """A function that writes a file and describes it."""

    def make(content, name="data.tsv", *, also=None, **options):
        path = tmp_path / name
        if isinstance(content, pl.DataFrame):
            content.write_parquet(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Given(DataFile(**{"path": name, "columns": TABLE, **options}), path, also or {})

    return make


def test_a_table_keeps_its_order_and_ids(given):
    events = read("interactions", given("u\ti\tv\tt\nb\t007\t3\t881250949\na\t7\t4.5\t5\n"))
    assert events.rows() == [("b", "007", 3.0, 881250949), ("a", "7", 4.5, 5)]


def test_plain_numbers_are_numbers_and_others_text(given):
    events = read("interactions", given("u\ti\tv\tt\n7\t10\t1\t2\n8\t+9\t1\t2\n"))
    assert events.schema["user"] == pl.Int64 and events["user"].to_list() == [7, 8]
    assert events["item"].to_list() == ["10", "+9"]
    late = "".join(f"{n}\t1\t1\t2\n" for n in range(2000)) + "07\t1\t1\t2\n"  # the odd one is not among the first rows
    events = read("interactions", given("u\ti\tv\tt\n" + late))
    assert events["user"].to_list()[-2:] == ["1999", "07"] and events["item"].dtype == pl.Int64


@pytest.mark.parametrize("odd", ["B00X", "99999999999999999999", "1 "])
def test_an_id_behind_a_thousand_numbers_may_be_text(given, odd):
    rows = "".join(f"{n}\t{n}\t1\t2\n" for n in range(2000)) + f"{odd}\t{odd}\t1\t2\n"
    events = read("interactions", given("u\ti\tv\tt\n" + rows))
    assert events["user"].to_list()[-2:] == ["1999", odd] and events["item"].to_list()[-1] == odd


def test_ids_of_parquet_that_are_no_small_integers(given):
    rest = {"i": ["x", "y"], "v": [1, 1], "t": [10, 20]}
    whole = pl.DataFrame({"u": [1.0, 2.0], **rest})
    assert read("interactions", given(whole, "a.parquet"))["user"].to_list() == [1, 2]
    huge = pl.DataFrame({"u": pl.Series([2**63 + 5, 7], dtype=pl.UInt64), **rest})
    assert read("interactions", given(huge, "b.parquet"))["user"].to_list() == [str(2**63 + 5), "7"]
    broken = pl.DataFrame({"u": [1.0, 1.5], **rest})
    with pytest.raises(UserError, match=r"row 2: 'u' is '1\.5', every event needs a user"):
        read("interactions", given(broken, "c.parquet"))


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz"])
def test_a_table_without_header_value_or_some_times(given, name):
    text = b'1,2,\n1,"3",9\n\n'
    columns = {"user": "a", "item": "b", "time": "c"}
    made = given(gzip.compress(text) if name.endswith("gz") else text, name, names=("a", "b", "c"), columns=columns)
    assert read("interactions", made).rows() == [(1, 2, 1.0, None), (1, 3, 1.0, 9)]


def test_json_lines_and_parquet_give_the_same_as_csv(given):
    rows = [("x", 1, 4.5, 10), ("y", 2, 3.0, 20)]
    records = [dict(zip("uivt", row, strict=True)) for row in rows]
    lines = "".join(json.dumps({**record, "more": [1, {"z": 2}]}) + "\n" for record in records)
    csv = "u,i,v,t\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    found = [
        read("interactions", given(lines, "a.jsonl")),
        read("interactions", given(gzip.compress(lines.encode()), "a.json.gz")),
        read("interactions", given(csv, "a.csv")),
        read("interactions", given(csv.encode("utf-16"), "b.csv", encoding="utf-16")),
        read("interactions", given(pl.DataFrame(records), "a.parquet")),
        read("interactions", given(csv.replace(",", "::"), "a.dat", separator="::")),
    ]
    assert all(frame.rows() == rows for frame in found)
    assert all(frame.schema["item"] == pl.Int64 for frame in found)


def test_units_and_patterns_of_time(given):
    def times(cells, form):
        text = "u\ti\tt\n" + "".join(f"1\t1\t{cell}\n" for cell in cells)
        columns = {"user": "u", "item": "i", "time": "t"}
        return read("interactions", given(text, columns=columns, time_format=form))["time"].to_list()

    assert times(["1000000000"], "seconds") == times(["1000000000123"], "milliseconds") == [1_000_000_000]
    assert times(["1000000000.9", "1e9"], "seconds") == [1_000_000_000, 1_000_000_000]
    assert times(["2001-09-09 01:46:40", ""], "%Y-%m-%d %H:%M:%S") == [1_000_000_000, None]
    frame = pl.DataFrame({"u": [1], "i": [1], "t": pl.Series([1_000_000_000_000], dtype=pl.Datetime("ms"))})
    assert read("interactions", given(frame, "a.parquet", columns={**TABLE, "value": "i"}))["time"].to_list() == [10**9]


def test_times_with_zones_in_either_spelling(given):
    rows = "a,x,1,2024-01-01T10:00:00+02:00\nb,x,1,2024-01-01T08:00:00Z\n"
    events = read("interactions", given("u,i,v,t\n" + rows, "a.csv", time_format="%Y-%m-%dT%H:%M:%S%z"))
    assert events["time"].to_list() == [1_704_096_000] * 2


def test_json_lines_with_a_mark_and_keys_that_come_later(given):
    lines = '\ufeff{"u": "a", "i": "x"}\r\n{"u": "b", "i": "y", "t": 5}\r\n'
    columns = {"user": "u", "item": "i", "time": "t"}
    events = read("interactions", given(lines, "a.jsonl", columns=columns))
    assert events.select("user", "time").rows() == [("a", None), ("b", 5)]


def test_rows_that_are_no_events_say_by_which_rule(given):
    text = "u,i,n,what\n,1,1,sale\n2,1,1,C5\n2,1,-3,sale\n2,2,9,sale\n"
    rules = [{"column": "u", "empty": True}, {"column": "what", "starts_with": "C"}, {"column": "n", "below": 0}]
    made = given(text, "a.csv", columns={"user": "u", "item": "i", "value": "n"}, drop=rules)
    assert read("interactions", made)["dropped"].to_list() == [
        "u is empty",
        "what starts with C",
        "n is below 0.0",
        None,
    ]
    goods = given(text, "b.csv", columns={"raw_id": "i", "title": "what"}, drop=rules)
    assert read("items", goods).rows() == [("2", "sale", [])]


def test_quotation_marks_have_no_meaning_but_in_csv(given):
    columns = {"raw_id": "id", "title": "name", "categories": "kind"}
    made = given('id\tname\tkind\n1\tThe "Best\tA|B\n2\tX"\t\n', columns=columns)
    assert read("items", made).rows() == [("1", 'The "Best', ["A", "B"]), ("2", 'X"', [])]
    made = given('id,name,kind\n1,"The ""Best"", twice","A|B"\n', "a.csv", columns=columns)
    assert read("items", made).rows() == [("1", 'The "Best", twice', ["A", "B"])]


def test_columns_that_are_flags(given):
    text = "id,name,kind,Fun,Work\n1,a,x,1,0\n2,b,,1,1.0\n3,c,,,0\n"
    columns = {"raw_id": "id", "title": "name", "categories": "kind"}
    assert read("items", given(text, "a.csv", columns=columns, flags=("Fun", "Work")))["categories"].to_list() == [
        ["x", "Fun"],
        ["Fun", "Work"],
        [],
    ]


def test_json_lines_with_category_paths(given):
    text = (
        '{"id": 0, "name": null, "kinds": [["a", "b"], ["a", "c"]]}\n{"id": 1, "name": "é", "kinds": "d"}\n{"id": 2}\n'
    )
    columns = {"raw_id": "id", "title": "name", "categories": "kinds"}
    rows = read("items", given(text, "a.jsonl", columns=columns)).rows()
    assert rows == [("0", "", ["a", "b", "c"]), ("1", "é", ["d"]), ("2", "", [])]


def test_tags_and_requests(given):
    made = given("u\ti\tw\n1\tA\tdark\n2\tA\t\n", columns={"user": "u", "item": "i", "text": "w"})
    assert read("tags", made).rows() == [("1", "A", "dark", None)]
    columns = {"text": "q", "items": "a", "kind": "k"}
    made = given("q\ta\tk\na dark film\tA|B\thard\n", columns=columns, official="valid")
    assert read("requests", made).rows() == [("a dark film", ["A", "B"], "hard", "", "valid")]


def test_sequences(given):
    events = read("interactions", given("7 3 1 2\n8 1\n", reader="sequences"))
    assert events.select("user", "item").rows() == [(7, 3), (7, 1), (7, 2), (8, 1)]
    part = read("interactions", given("7 3\n8\n", reader="sequences", official="valid"))
    assert part.select("user", "item").rows() == [(7, 3)]


def test_recboles_atomic_files(given):
    inter = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\t9\t4\t881250949\n"
    item = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n9\tToy Story\t1995\tA B\n"
    made = given(inter, "x.inter", reader="recbole", columns={})
    assert read("interactions", made).rows() == [("u1", 9, 4.0, 881250949)]
    made = given(item, "x.item", reader="recbole", columns={"year": "release_year"})
    row = read("items", made).row(0, named=True)
    assert row == {"raw_id": "9", "title": "Toy Story", "year": "1995", "categories": ["A", "B"]}
    few = given("item_id:token\tuser_id:token\n9\t8\n", "y.inter", reader="recbole", columns={})
    assert read("interactions", few).rows() == [(8, 9, 1.0, None)]


def test_movielens_items(given):
    flags = "|".join("1" if place in (5, 8) else "0" for place in range(19))
    nothing = "|".join("1" if place == 0 else "0" for place in range(19))
    text = f"1|Misérables, Les (1995)|01-Jan-1995||x|{flags}\n267|unknown||||{nothing}\n"
    made = given(text.encode("latin-1"), reader="movielens", encoding="latin-1", columns={})
    assert read("items", made).rows() == [("1", "Misérables, Les", "1995", ["Comedy", "Drama"]), ("267", "", "", [])]


def test_every_module_of_readers_is_imported_by_its_name():
    assert {"table", "recbole", "sequences", "movielens"} <= set(reader_names())
    assert not {"given", "scan", "events"} & set(reader_names())
