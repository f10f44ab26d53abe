"""Finding, checking, parsing and caching: one small dataset with a mirror, a package and a web address."""

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import polars as pl
import pytest

import llmrec.data
from llmrec.data import fetch, load, parse
from llmrec.data.cards import Card, card, read_card
from llmrec.errors import UserError

EVENTS = "u\ti\tt\n2\t30\t5\n10\t4\t5\n2\t4\t9\n2\t4\t1\n"
ITEMS = '{"id": 4, "name": "four"}\n{"id": 30, "name": "thirty"}\n{"id": 100, "name": "nobody had it"}\n'
ADDRESS = "https://example.org/small.zip"


def sha256(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def archive(*extra: tuple[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as members:
        for path, text in [("pkg/events.tsv", EVENTS), ("pkg/items.jsonl", ITEMS), *extra]:
            members.writestr(zipfile.ZipInfo(path), text)
    return packed.getvalue()


def source(address: str, folder: str, checksum: str = "") -> str:
    return f"""
[[sources]]
address = "{address}"
{checksum}

[sources.interactions]
path = "{folder}/events.tsv"
sha256 = "{sha256(EVENTS)}"
format = "table"
columns = {{ user = "u", item = "i", time = "t" }}

[sources.items]
path = "{folder}/items.jsonl"
sha256 = "{sha256(ITEMS)}"
format = "jsonl"
columns = {{ raw_id = "id", title = "name" }}
"""


def small_card(folder: Path, **replaced: str) -> Card:
    text = """
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
item_text = ["Title: {title}", "Kinds: {categories}"]
statistics = { users = 2, items = 3, interactions = 4 }
"""
    text += source("mirror", "plain") + source("pypi:small==1.0", "pkg", f'sha256 = "{sha256(archive())}"')
    text += source(ADDRESS, "pkg", f'sha256 = "{sha256(archive())}"')
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "small.toml").write_text(text)
    return read_card(folder / "small.toml")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A card in a datasets folder of its own, an empty cache, no mirror, and neither package nor network."""
    (tmp_path / "datasets").mkdir()
    monkeypatch.setattr(sys.modules["llmrec.data.cards"], "cards_folder", lambda: tmp_path / "datasets")
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LLMREC_MIRROR", raising=False)

    def unreachable(*_, **__):
        raise UserError("no network in this test")

    monkeypatch.setattr(fetch, "pip_download", unreachable)
    monkeypatch.setattr(fetch, "download", unreachable)
    return small_card(tmp_path / "datasets")


@pytest.fixture
def mirrored(small, tmp_path, monkeypatch):
    plain = tmp_path / "mirror" / "small" / "plain"
    plain.mkdir(parents=True)
    (plain / "events.tsv").write_text(EVENTS)
    (plain / "items.jsonl").write_text(ITEMS)
    monkeypatch.setenv("LLMREC_MIRROR", str(tmp_path / "mirror"))
    return plain


def test_canonical_tables(mirrored):
    data = load("small")
    assert data.users == ["2", "10"]  # by number, not as text
    assert data.items.frame["raw_id"].to_list() == ["4", "30", "100"]
    rows = data.interactions.frame.select("user", "item", "time", "order").rows()
    assert rows == [(0, 0, 1, 0), (0, 1, 5, 1), (0, 0, 9, 2), (1, 0, 5, 0)]
    assert data.items.texts == ["Title: four", "Title: thirty", "Title: nobody had it"]  # no empty "Kinds: "
    dtypes = dict(data.interactions.frame.schema)
    assert dtypes == {"user": pl.Int32, "item": pl.Int32, "value": pl.Float32, "time": pl.Int64, "order": pl.Int32}


def test_ids_and_fingerprint_do_not_depend_on_the_files_order(small, tmp_path):
    first, *rest = EVENTS.splitlines()
    fingerprints = set()
    for name, lines in {"as-is": rest, "turned": rest[::-1]}.items():
        folder = tmp_path / name / "plain"
        folder.mkdir(parents=True)
        (folder / "events.tsv").write_text("\n".join([first, *lines]) + "\n")
        (folder / "items.jsonl").write_text("\n".join(sorted(ITEMS.splitlines(), reverse=name == "turned")) + "\n")
        fingerprints.add(parse(small, small.sources[0], tmp_path / name).fingerprint)
    assert len(fingerprints) == 1


def test_the_cache_serves_the_same_tables_without_the_files(mirrored, monkeypatch):
    first = load("small")
    monkeypatch.delenv("LLMREC_MIRROR")
    again = load("small")
    assert again.fingerprint == first.fingerprint
    assert again.interactions.frame.equals(first.interactions.frame)
    assert again.items.frame.equals(first.items.frame) and again.users == first.users


@pytest.mark.parametrize("name", ["interactions.parquet", "items.parquet", "users.parquet", "sums.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_a_damaged_cache_is_noticed_and_rebuilt(mirrored, tmp_path, name, harm):
    first = load("small")
    (folder,) = (tmp_path / "cache" / "datasets").iterdir()
    data = (folder / name).read_bytes()
    if harm == "gone":
        (folder / name).unlink()
    else:
        middle = len(data) // 2
        turned = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        (folder / name).write_bytes(data[:middle] if harm == "cut" else turned)
    assert load("small").fingerprint == first.fingerprint
    sums = json.loads((folder / "sums.json").read_text())
    assert sums["interactions"] == sha256((folder / "interactions.parquet").read_bytes())


def test_another_card_is_parsed_anew(mirrored, tmp_path):
    load("small")
    small_card(tmp_path / "datasets", **{"Title: {title}": "{title}"})
    assert load("small").items.texts[0] == "four"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("users = 2", "users = 3", "2 users after the card's filters, but the card's statistics say 3"),
        ("interactions = 4", "interactions = 5", "4 interactions"),
        ("Kinds: {categories}", "Kinds: {kinds}", "names 'kinds'; known: raw_id, title, categories"),
        ('time = "t"', 'value = "t"', "time = 'exact', but 4 events have none"),
    ],
)
def test_a_card_that_does_not_fit_its_data(mirrored, tmp_path, old, new, said):
    small_card(tmp_path / "datasets", **{old: new})
    with pytest.raises(UserError, match=said):
        load("small")
    assert not (tmp_path / "cache" / "datasets").exists()


STATISTICS = "statistics = { users = 2, items = 3, interactions = 4 }"


@pytest.mark.parametrize(
    ("filters", "users", "items", "interactions"),
    [
        ("catalogue = 'interacted'", 2, 2, 4),
        ("min_value = 5", 2, 3, 3),  # the event at time 1 goes
        ("core = 2", 1, 3, 2),  # user 10 and item 30 go; user 2 keeps two events with item 4
        ("core = 2\ncatalogue = 'interacted'", 1, 1, 2),
    ],
)
def test_filters(mirrored, tmp_path, filters, users, items, interactions):
    counted = f"statistics = {{ users = {users}, items = {items}, interactions = {interactions} }}"
    replaced = {STATISTICS: f"{counted}\n[filters]\n{filters}\n", 'time = "t"': 'time = "t", value = "t"'}
    small_card(tmp_path / "datasets", **replaced)
    data = load("small")
    assert (len(data.users), len(data.items), len(data.interactions)) == (users, items, interactions)


def test_the_official_files_and_recboles_copy_are_the_same_dataset(mirror):
    this = card("ml-100k")
    if fetch._installed(this.sources[1]) is None or not (mirror / "ml-100k").is_dir():
        pytest.skip("needs both the official files and RecBole's package")
    official = parse(this, this.sources[0], mirror / "ml-100k")
    packaged = parse(this, this.sources[1], fetch._installed(this.sources[1]))
    assert official.fingerprint == packaged.fingerprint
    assert official.items.titles[0] == "Toy Story (1995)"
    assert official.items.texts[0] == "Toy Story. 1995. Genres: Animation, Children's, Comedy"


def test_the_public_name_is_the_function():
    assert llmrec.data.card is card
