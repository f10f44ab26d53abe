"""Cards: what is read, what is refused and with which words, and that the ones in datasets/ are whole."""

import pytest

from llmrec import cardfiles
from llmrec.data import card, dataset_names
from llmrec.data.cards import ADMITS, read_card
from llmrec.errors import UserError

GOOD = """
title = "Small"
scenario = "movies"
language = "en"
home = "https://example.org"
licence = "CC0"
commercial = true
redistributable = true
citation = "@misc{small}"
time = "exact"
protocols = ["temporal", "leave-one-out"]
statistics = { users = 1, items = 1, interactions = 1, tags = 7 }

[[sources]]
address = "mirror"
interactions = { path = "a.tsv", sha256 = "SUM", columns = { user = "u", item = "i", time = "t" } }
items = { path = "b.jsonl", sha256 = "SUM", columns = { raw_id = "id", title = "name" } }
""".replace("SUM", "0" * 64)

FIVE_LINES = """
title = "Our shop"
time = "exact"
[[sources]]
interactions = { path = "orders.csv", columns = { user = "customer", item = "sku", time = "when" } }
items = { path = "../shop/products.csv", columns = { raw_id = "sku", title = "name" } }
"""

FAMILY = """
title = "Reviews of {kind}"
time = "order"
parameter = "kind"
values = ["Toys", "Pet_Food"]
item_text = ["{title}", "{kind}"]
sources = [{ address = "https://example.org/", interactions = { path = "{kind}.csv", sha256 = "unpublished" } }]
[each.Toys]
statistics = { users = 3 }
"""


def written(folder, text, name="small"):
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def test_a_card_is_read(tmp_path):
    small = read_card(written(tmp_path, GOOD))
    assert (small.name, small.time, small.statistics.users) == ("small", "exact", 1)
    assert small.statistics.stated() == {"users": 1, "items": 1, "interactions": 1, "tags": 7}
    (interactions,) = small.sources[0].interactions
    assert interactions.columns == {"user": "u", "item": "i", "time": "t"} and interactions.reader == "table"


def test_a_private_card_needs_five_lines(tmp_path):
    shop = read_card(written(tmp_path, FIVE_LINES))
    assert shop.licence == shop.scenario == "not stated" and shop.commercial is None and not shop.statistics.stated()
    assert shop.protocols == ("temporal", "leave-one-out", "ratio", "random", "user-holdout")
    assert shop.sources[0].kind == "local" and shop.folder == tmp_path


def test_several_files_archives_and_a_reader_for_all(tmp_path):
    text = f"""{GOOD.split("[[")[0]}
[[sources]]
address = "mirror:elsewhere"
reader = "sequences"
checksums = {{ "x.zip" = "{"1" * 64}", "y.zip" = "md5:{"2" * 32}" }}
[[sources.interactions]]
archive = "x.zip"
path = "data.txt"
official = "train"
[[sources.interactions]]
archive = "y.zip"
path = "data.txt"
official = "test"
[sources.items]
path = "items.csv"
sha256 = "unpublished"
reader = "table"
also = {{ words = {{ path = "words.csv", sha256 = "{"3" * 64}" }} }}
"""
    (source,) = read_card(written(tmp_path, text.replace('protocols = ["temporal", "leave-one-out"]\n', ""))).sources
    assert [file.where for file in source.files()] == ["x.zip!data.txt", "y.zip!data.txt", "items.csv", "words.csv"]
    assert [file.reader for file in source.files()] == ["sequences", "sequences", "table", "table"]
    assert source.checksum("y.zip") == f"md5:{'2' * 32}" and source.checksum("items.csv") == "unpublished"
    assert "official" in read_card(written(tmp_path, text.replace('["temporal", "leave-one-out"]', "[]"))).protocols


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Small"\n', "", "key 'title': it is missing"),
        ('licence = "CC0"', 'lisence = "CC0"', "key 'lisence'.*Did you mean 'licence'"),
        ('scenario = "movies"', 'scenario = "films"', "key 'scenario'"),
        ("users = 1", 'users = "many"', "key 'statistics.users'"),
        ('time = "exact"', 'time = "days"', "key 'time'"),
        ('time = "exact"', 'time = "order"', "time = 'order' admits only leave-one-out, .*, not 'temporal'"),
        ('"a.tsv"', '"../a.tsv"', "relative path"),
        ('"a.tsv"', '"/etc/passwd"', "relative path"),
        ('path = "a.tsv"', 'archive = "../a.zip", path = "a.tsv"', "relative path"),
        ('path = "a.tsv"', 'reader = "tables", path = "a.tsv"', "no reader 'tables'. Did you mean 'table'"),
        ('path = "a.tsv"', 'pfad = "a.tsv"', "Did you mean 'path'"),
        ("0" * 64, "0" * 63, "sources.0.interactions.0.sha256"),
        (f'sha256 = "{"0" * 64}", ', "", "'a.tsv' has no checksum: give its sha256, or 'unpublished'"),
        ('"mirror"', '"https://example.org/a.zip"', "needs the archive's sha256"),
        ('"mirror"', '"ftp://example.org/a.zip"', "sources.0.address"),
        ('"mirror"', '"ftp://example.org/a.zip"', 'expected "local", "mirror", .* not .ftp://example.org/a.zip.'),
        ('path = "a.tsv"', 'encoding = "latin-42", path = "a.tsv"', "no encoding 'latin-42'; for example utf-8"),
        ('path = "a.tsv"', 'separator = "·", path = "a.tsv"', "separator': expected one or more ASCII characters"),
        ('path = "a.tsv"', 'quote = "«»", path = "a.tsv"', "quote': expected one ASCII character"),
        ('path = "a.tsv"', 'time_format = "milisecond", path = "a.tsv"', "Did you mean 'milliseconds'"),
        ('title = "Small"', 'title = "Small"\nitem_text = ["{title"]', "item_text.0': '{title' is no template"),
        ('title = "Small"', 'title = "Small"\nitem_text = "{}"', "name the field between the braces"),
        ('title = "Small"', 'title = "Small"\nrequests = { fields = "tags" }', "Did you mean 'field'"),
        ('"temporal", "leave-one-out"', '"official"', "'official' is impossible: no source has the files"),
        ('path = "a.tsv"', 'drop = [{ column = "u" }], path = "a.tsv"', "give one of starts_with, equals"),
        ('title = "Small"', 'title = "Small', "not valid TOML"),
    ],
)
def test_a_wrong_card_is_refused_by_file_and_key(tmp_path, old, new, said):
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError, match=said.replace("'", "['\"]")) as error:
        read_card(path)
    assert str(path) in str(error.value)


def test_an_unknown_dataset_names_the_nearest():
    with pytest.raises(UserError, match="unknown dataset 'ml-10k'\\. Did you mean 'ml-100k'"):
        card("ml-10k")


@pytest.mark.parametrize("path", ["../pyproject", "ml-100k/../ml-100k", "", "fingerprints"])
def test_a_dataset_name_is_no_path(path):
    with pytest.raises(UserError, match="unknown dataset"):
        card(path)


def test_a_family_has_a_card_for_each_member(tmp_path, monkeypatch):
    written(tmp_path, FAMILY, "reviews")
    monkeypatch.setenv("LLMREC_DATASETS", str(tmp_path))
    assert [name for name in dataset_names() if name.startswith("reviews")] == ["reviews:Pet_Food", "reviews:Toys"]
    toys, food = card("reviews:Toys"), card("reviews:Pet_Food")
    assert (toys.name, toys.title, toys.statistics.users) == ("reviews:Toys", "Reviews of Toys", 3)
    assert toys.item_text == ("{title}", "{kind}")  # a template's braces are its own
    assert food.sources[0].interactions[0].path == "Pet_Food.csv" and food.statistics.users is None
    for name, said in {
        "reviews:Toy": "Did you mean 'Toys'",
        "reviews": "wants a kind",
        "reviews:../x": "unknown dataset",
        "ml-100k:Toys": "has no parameter",
    }.items():
        with pytest.raises(UserError, match=said):
            card(name)


def test_cards_of_ones_own_do_not_hide_the_suites(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_DATASETS", str(tmp_path))
    written(tmp_path, FIVE_LINES, "shop")
    assert "shop" in dataset_names() and card("shop").title == "Our shop"
    written(tmp_path, FIVE_LINES, "ml-100k")
    with pytest.raises(UserError, match="a dataset 'ml-100k' exists already"):
        dataset_names()
    monkeypatch.setenv("LLMREC_DATASETS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="no such folder of dataset cards"):
        card("shop")


def test_readers_are_found_without_reading_the_card(tmp_path):
    raw = {"sources": [{"reader": "mind", "items": {"also": {"x": {"reader": "hetrec"}}}}, {"items": [{"path": "a"}]}]}
    assert cardfiles.readers(raw) == {"mind", "hetrec"}


@pytest.mark.parametrize("name", dataset_names())
def test_every_card_is_whole(name):
    this = card(name)
    assert this.protocols and set(this.protocols) <= set(ADMITS[this.time])
    assert this.citation.strip().startswith("@") and this.licence and this.home.startswith("http")
    for source in this.sources:
        # A registry's host never stands in a card: packages come through pip, with the user's own index.
        assert source.address.startswith(("mirror", "pypi:", "https://"))
        assert "pypi" not in source.address.removeprefix("pypi:")
