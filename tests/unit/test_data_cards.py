"""Cards: what is refused, and with which words; and that the ones in datasets/ are whole."""

import pytest

from llmrec.data import card, dataset_names
from llmrec.data.cards import ADMITS, read_card
from llmrec.errors import UserError

GOOD = """
title = "Small"
scenario = "test"
language = "en"
home = "https://example.org"
licence = "CC0"
commercial = true
redistributable = true
citation = "@misc{small}"
time = "exact"
protocols = ["temporal", "leave-one-out"]
statistics = { users = 1, items = 1, interactions = 1 }

[[sources]]
address = "mirror"
interactions = { path = "a.tsv", sha256 = "SUM", format = "table", columns = { user = "u", item = "i", time = "t" } }
items = { path = "b.jsonl", sha256 = "SUM", format = "jsonl", columns = { raw_id = "id", title = "name" } }
""".replace("SUM", "0" * 64)


def written(folder, text):
    path = folder / "small.toml"
    path.write_text(text)
    return path


def test_a_card_is_read(tmp_path):
    small = read_card(written(tmp_path, GOOD))
    assert (small.name, small.time, small.statistics.users) == ("small", "exact", 1)
    assert small.sources[0].interactions.columns == {"user": "u", "item": "i", "time": "t"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('title = "Small"\n', "", "key 'title': Field required"),
        ('licence = "CC0"', 'lisence = "CC0"', "licence"),
        ("users = 1", 'users = "many"', "key 'statistics.users'"),
        ('time = "exact"', 'time = "days"', "key 'time'"),
        ('time = "exact"', 'time = "order"', "admits only leave-one-out, official, not 'temporal'"),
        ('"a.tsv"', '"../a.tsv"', "relative path"),
        ('"a.tsv"', '"/etc/passwd"', "relative path"),
        ("0" * 64, "0" * 63, "sources.0.interactions.sha256"),
        ('"mirror"', '"https://example.org/a.zip"', "needs the archive's sha256"),
        ('"mirror"', '"ftp://example.org/a.zip"', "sources.0.address"),
        ('title = "Small"', 'title = "Small', "not valid TOML"),
    ],
)
def test_a_wrong_card_is_refused_by_file_and_key(tmp_path, old, new, said):
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError, match=said.replace("'", "['\"]")) as error:
        read_card(path)
    assert str(path) in str(error.value)


def test_an_unknown_dataset_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'ml-100k'"):
        card("ml-10k")


@pytest.mark.parametrize("path", ["../pyproject", "ml-100k/../ml-100k", ""])
def test_a_dataset_name_is_no_path(path):
    with pytest.raises(UserError, match="No dataset"):
        card(path)


@pytest.mark.parametrize("name", dataset_names())
def test_every_card_is_whole(name):
    this = card(name)
    assert this.protocols and set(this.protocols) <= set(ADMITS[this.time])
    assert this.citation.strip().startswith("@") and this.licence and this.home.startswith("https://")
    for source in this.sources:
        # A registry's host never stands in a card: packages come through pip, with the user's own index.
        assert source.address == "mirror" or source.address.startswith(("pypi:", "https://"))
        assert "pypi" not in source.address.removeprefix("pypi:")
