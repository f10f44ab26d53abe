"""Reading files: what is kept, and that every fault is named by file and line."""

import gzip

import pytest

from llmrec.data.cards import DataFile
from llmrec.data.readers import read_interactions, read_items
from llmrec.errors import UserError

TABLE = {"user": "u", "item": "i", "value": "v", "time": "t"}


def file(name="data.tsv", **options) -> DataFile:
    return DataFile(**{"path": name, "sha256": "0" * 64, "format": "table", "columns": TABLE, **options})


def write(folder, text, name="data.tsv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_table_keeps_its_order_and_ids(tmp_path):
    path = write(tmp_path, "u\ti\tv\tt\nb\t007\t3\t881250949\na\t7\t4.5\t5\n")
    assert read_interactions(path, file()).rows() == [("b", "007", 3.0, 881250949), ("a", "7", 4.5, 5)]


def test_a_compressed_table_without_header_value_or_some_times(tmp_path):
    path = write(tmp_path, gzip.compress(b"1,2,\n1,3,9\n"), "data.csv.gz")
    described = file(
        "data.csv.gz", names=["a", "b", "c"], separator=",", columns={"user": "a", "item": "b", "time": "c"}
    )
    assert read_interactions(path, described).rows() == [("1", "2", 1.0, None), ("1", "3", 1.0, 9)]


def test_quotation_marks_in_titles_have_no_meaning(tmp_path):
    path = write(tmp_path, 'id\tname\tkind\n1\tThe "Best\tA|B\n2\tX"\t\n')
    described = file(columns={"raw_id": "id", "title": "name", "categories": "kind"})
    assert read_items(path, described).rows() == [("1", 'The "Best', ["A", "B"]), ("2", 'X"', [])]


def test_sequences(tmp_path):
    path = write(tmp_path, "7 3 1 2\n8 1\n")
    events = read_interactions(path, file(format="sequences", columns={}))
    assert events.select("user", "item").rows() == [("7", "3"), ("7", "1"), ("7", "2"), ("8", "1")]


def test_json_lines_with_category_paths(tmp_path):
    text = '{"id": 0, "name": null, "kinds": [["a", "b"], ["a", "c"]]}\n{"id": 1, "name": "é", "kinds": "d"}\n'
    described = file(format="jsonl", columns={"raw_id": "id", "title": "name", "categories": "kinds"})
    assert read_items(write(tmp_path, text), described).rows() == [("0", "", ["a", "b", "c"]), ("1", "é", ["d"])]


def test_movielens_items(tmp_path):
    flags = "|".join("1" if place in (5, 8) else "0" for place in range(19))
    nothing = "|".join("1" if place == 0 else "0" for place in range(19))
    text = f"1|Misérables, Les (1995)|01-Jan-1995||x|{flags}\n267|unknown||||{nothing}\n"
    described = file(format="movielens-items", encoding="latin-1", columns={})
    rows = read_items(write(tmp_path, text.encode("latin-1")), described).rows()
    assert rows == [("1", "Misérables, Les", "1995", ["Comedy", "Drama"]), ("267", "", "", [])]


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("u\ti\tv\tt\na\tb\t1\t2\na\tb\tfive\t2\n", {}, "line 3: 'v' is 'five', expected a number"),
        ("u\ti\tv\tt\na\tb\t1\tyesterday\n", {}, "line 2: 't' is 'yesterday', expected a number"),
        ("u\ti\tv\tt\na\tb\tnan\t2\n", {}, "line 2: 'v' is 'nan', expected a number"),
        ("u\ti\tv\tt\n\tb\t1\t2\n", {}, "line 2: 'u' is empty"),
        ("u\ti\tv\tt\na\n", {}, "line 2"),
        ("u\ti\tv\ttime\na\tb\t1\t2\n", {}, "no column 't'.*card's 'time'"),
        ("u\ti\tv\tt\na\tb\t1\t2\t9\t9\n", {}, "columns"),
        ("1 2\n3\n", {"format": "sequences", "columns": {}}, "line 2: expected a user and at least one item"),
        (b"u\ti\tv\tt\n\xff\tb\t1\t2\n", {}, "not utf-8"),
        ("", {}, "not a table"),
    ],
)
def test_wrong_interactions_are_named(tmp_path, text, options, said):
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=said) as error:
        read_interactions(path, file(**options))
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ('{"id": 1, "name": "x"}\n{"id": 2}\n', {}, "line 2: no key 'name'"),
        ('{"id": 1, "name": "x"}\n{"id": \n', {}, "line 2: not a JSON object"),
        ('{"id": 1, "name": "x"}\n{"id": 1, "name": "y"}\n', {}, "item '1' is listed twice"),
        ("1|a|b\n", {"format": "movielens-items", "columns": {}}, "line 1: 3 columns, expected 24"),
    ],
)
def test_wrong_items_are_named(tmp_path, text, options, said):
    path = write(tmp_path, text, "items.jsonl")
    described = file(**{"format": "jsonl", "columns": {"raw_id": "id", "title": "name"}, **options})
    with pytest.raises(UserError, match=said) as error:
        read_items(path, described)
    assert str(path) in str(error.value)


def test_a_broken_gzip_file_is_named(tmp_path):
    path = write(tmp_path, gzip.compress(b"u\ti\n" * 1000)[:-20], "data.tsv.gz")
    with pytest.raises(UserError, match="not a whole gzip file"):
        read_interactions(path, file("data.tsv.gz"))
