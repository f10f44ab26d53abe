"""The table of published figures: what is shipped is good, and what a mistake in it says."""

import pytest

from llmrec.errors import UserError
from llmrec.literature import load_published, published_folder, read_source
from llmrec.records import Protocol
from llmrec.suite import load_suite

SOURCE = """
paper = "A paper"
where = "https://example.org"
mark = "read"
[[tables]]
table = "Table 1"
dataset = "ml-100k"
protocol = "leave-one-out"
fields = { name = "leave-one-out", mask_history = false }
not_stated = ["ties"]
differs = "half of the users there"
[[tables.rows]]
id = "a"
method = "A"
metrics = { "ndcg@10" = 0.1 }
[[tables.rows]]
id = "b"
method = "B"
metrics = { "recall@10" = 0.2 }
runs = 5
"""

SUITE = """
datasets = ["ml-100k", "amazon2014-beauty"]
seeds = [0]
[[methods]]
name = "popularity"
published = ["mine/a"]
[[methods]]
name = "ease"
datasets = ["amazon2014-beauty"]
"""


@pytest.fixture
def read(tmp_path):
    def read(text=SOURCE):
        path = tmp_path / "source.toml"
        path.write_text(text)
        return read_source(path)

    return read


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "published").mkdir()

    def load(text=SUITE, source=SOURCE):
        (tmp_path / "published" / "mine.toml").write_text(source)
        (tmp_path / "suite.toml").write_text(text)
        return load_suite(tmp_path / "suite.toml")

    return load


def test_what_is_shipped():
    found = load_published()
    assert len(found) > 90
    for path in published_folder().glob("*.toml"):
        assert any(name.startswith(f"{path.stem}/") for name in found)
    for row in found.values():
        assert row.where and all(0 < value < 2 for value in row.metrics.values()), row.name
        assert row.dataset or row.elsewhere


def test_a_row_and_how_its_protocol_differs(read):
    a, b = read()
    assert (a.name, a.data, a.runs, b.runs, a.metrics) == ("source/a", "ml-100k", 1, 5, {"ndcg@10": 0.1})
    assert a.differences(Protocol()) == [
        "mask_history = false there, true here",
        "ties is not stated there",
        "half of the users there",
    ]
    assert a.differences(Protocol(mask_history=False))[0] == "ties is not stated there"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('paper = "A paper"', "", "key 'paper' is missing: authors, title"),
        ('mark = "read"', 'mark = "heard"', "key 'mark': expected 'read', 'computed' or 'memory', found 'heard'."),
        ('method = "A"', 'metod = "A"', "unknown key 'metod' in 'tables[1].rows[1]'. Did you mean 'method'?"),
        ('id = "a"', 'id = "A row"', "key 'tables[1].rows[1].id': expected a short name"),
        ('id = "b"', 'id = "a"', "two rows have the id 'a'"),
        ("0.1 }", "'high' }", "key 'tables[1].rows[1].metrics.ndcg@10': expected a table of metrics"),
        ("ndcg@10", "ndgc@10", "row 'a': the task 'topn' has no metric 'ndgc@10'. Did you mean 'ndcg@10'?"),
        ('"ml-100k"', '"ml-100"', "key 'dataset': unknown dataset 'ml-100'. Did you mean 'ml-100k'?"),
        ('dataset = "ml-100k"', "", "give either 'dataset' (a card's name) or 'elsewhere'"),
        ("mask_history = false", "mask = false", "key 'fields': no protocol option 'mask'."),
        ("mask_history = false", "mask_history = 1", "key 'fields.mask_history': Input should be a valid boolean"),
        ('["ties"]', '["tie"]', "key 'not_stated': no protocol option 'tie'. Did you mean 'ties'?"),
        ('["ties"]', '["name"]', "'name' stands in 'fields' and in 'not_stated'"),
        ('table = "Table 1"', 'table = "Table 1', "not valid TOML"),
    ],
)  # fmt: skip
def test_mistakes_name_the_file_the_key_and_what_was_expected(read, old, new, expected):
    assert old in SOURCE
    with pytest.raises(UserError) as caught:
        read(SOURCE.replace(old, new, 1))
    assert expected in str(caught.value) and "source.toml" in str(caught.value)


def test_a_suite_names_published_rows_and_the_datasets_of_a_row(suite):
    loaded = suite()
    assert [row.name for row in loaded.published("ml-100k")["popularity"]] == ["mine/a"]
    assert loaded.published("amazon2014-beauty") == {}
    planned = [(run.label, run.spec.dataset) for run in loaded.runs()]
    assert planned == [("popularity", "ml-100k"), ("popularity", "amazon2014-beauty"), ("ease", "amazon2014-beauty")]


@pytest.mark.parametrize(
    ("old", "new", "source", "expected"),
    [
        ('"mine/a"', '"mine/c"', SOURCE, "methods[1] ('popularity'): key 'published': no published row 'mine/c'."),
        ('"mine/a"', '"mine/a"', SOURCE.replace('"read"', '"memory"'), "'mine/a' is from memory, so it is no target"),
        ('name = "popularity"', 'name = "popularity"\ndatasets = ["amazon2014-beauty"]', SOURCE, "ml-100k, this row"),
        ('datasets = ["amazon2014-beauty"]', 'datasets = ["ml-1m"]', SOURCE, "the suite has no dataset 'ml-1m'"),
    ],
)  # fmt: skip
def test_mistakes_in_what_a_suite_names(suite, old, new, source, expected):
    assert old in SUITE
    with pytest.raises(UserError) as caught:
        suite(SUITE.replace(old, new), source)
    assert expected in str(caught.value) and "suite.toml" in str(caught.value)


def test_a_source_beside_a_suite_does_not_hide_one_that_is_shipped(suite, tmp_path):
    suite()
    (tmp_path / "published" / "anchors.toml").write_text(SOURCE.replace('"a"', '"beauty-markov"'))
    with pytest.raises(UserError, match="'anchors/beauty-markov' is published already"):
        load_suite(tmp_path / "suite.toml")
    shipped = (published_folder() / "anchors.toml").read_text("utf-8")
    (tmp_path / "published" / "anchors.toml").write_text(shipped)  # the same rows, as an archive brings them along
    assert load_suite(tmp_path / "suite.toml")
