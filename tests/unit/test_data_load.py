"""From a card to a dataset: canonical ids, filters, the cache; on a small dataset in a mirror and on private cards."""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import polars as pl
import pytest

import llmrec.data
from llmrec.data import load, obtainable, parse
from llmrec.data.cards import Card, card, read_card
from llmrec.errors import ChecksumError, UserError

EVENTS = "u\ti\tt\n2\t30\t5\n10\t4\t5\n2\t4\t9\n2\t4\t1\n"
ITEMS = '{"id": 4, "name": "four"}\n{"id": 30, "name": "thirty"}\n{"id": 100, "name": "nobody had it"}\n'


def sha256(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


SMALL = f"""
title = "Small"
home = "https://example.org"
time = "exact"
item_text = ["Title: {{title}}", "Kinds: {{categories}}"]
statistics = {{ users = 2, items = 3, interactions = 4 }}

[[sources]]
address = "mirror"
checksums = {{ "plain/events.tsv" = "{sha256(EVENTS)}" }}
interactions = {{ path = "plain/events.tsv", columns = {{ user = "u", item = "i", time = "t" }} }}
items = {{ path = "plain/items.jsonl", sha256 = "{sha256(ITEMS)}", columns = {{ raw_id = "id", title = "name" }} }}
"""


def small_card(folder: Path, **replaced: str) -> Card:
    text = SMALL
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "small.toml").write_text(text)
    return read_card(folder / "small.toml")


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """A folder of cards of one's own, an empty cache, no mirror."""
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setenv("LLMREC_DATASETS", str(folder))
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LLMREC_MIRROR", raising=False)
    return folder


@pytest.fixture
def mirrored(cards, tmp_path, monkeypatch):
    """The small dataset's files in a mirror."""
    small_card(cards)
    plain = tmp_path / "mirror" / "small" / "plain"
    plain.mkdir(parents=True)
    (plain / "events.tsv").write_text(EVENTS)
    (plain / "items.jsonl").write_text(ITEMS)
    monkeypatch.setenv("LLMREC_MIRROR", str(tmp_path / "mirror"))
    return plain


@pytest.fixture
def private(cards):
    """A function that writes a private card with its files and loads it."""

    def make(card_text: str, **files: str):
        for name, text in files.items():
            (cards / name.replace("_", ".")).write_text(text)
        (cards / "shop.toml").write_text('title = "Shop"\n' + card_text)
        return load("shop")

    return make


def test_canonical_tables(mirrored):
    data = load("small")
    assert data.users == ["2", "10"]  # by number, not as text
    assert data.items.frame["raw_id"].to_list() == ["4", "30", "100"]
    rows = data.interactions.frame.select("user", "item", "time", "order").rows()
    assert rows == [(0, 0, 1, 0), (0, 1, 5, 1), (0, 0, 9, 2), (1, 0, 5, 0)]
    assert data.items.texts == ["Title: four", "Title: thirty", "Title: nobody had it"]  # no empty "Kinds: "
    dtypes = dict(data.interactions.frame.schema)
    assert dtypes == {"user": pl.Int32, "item": pl.Int32, "value": pl.Float32, "time": pl.Int64, "order": pl.Int32}
    assert data.steps.rows() == [("as read", 2, 2, 4)]
    assert data.fields.columns == ["raw_id", "title", "categories"]


def test_ids_and_fingerprint_do_not_depend_on_the_files_order(cards, tmp_path):
    this = small_card(cards)
    first, *rest = EVENTS.splitlines()
    fingerprints = set()
    for name, lines in {"as-is": rest, "turned": rest[::-1]}.items():
        folder = tmp_path / name / "plain"
        folder.mkdir(parents=True)
        (folder / "events.tsv").write_text("\n".join([first, *lines]) + "\n")
        (folder / "items.jsonl").write_text("\n".join(sorted(ITEMS.splitlines(), reverse=name == "turned")) + "\n")
        fingerprints.add(parse(this, this.sources[0], tmp_path / name).fingerprint)
    assert len(fingerprints) == 1


def test_the_cache_serves_the_same_dataset_without_the_files(mirrored, monkeypatch):
    first = load("small")
    monkeypatch.delenv("LLMREC_MIRROR")
    again = load("small")
    assert again.fingerprint == first.fingerprint
    assert again.interactions.frame.equals(first.interactions.frame)
    assert again.items.frame.equals(first.items.frame) and again.users == first.users
    assert again.steps.equals(first.steps) and again.fields.equals(first.fields)


@pytest.mark.parametrize("name", ["interactions.parquet", "items.parquet", "users.parquet", "note.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_a_damaged_cache_is_noticed_and_rebuilt(mirrored, tmp_path, name, harm):
    first = load("small")
    (folder,) = (tmp_path / "cache" / "datasets").glob("small-*")
    good = {path.name: path.read_bytes() for path in folder.iterdir()}
    data, middle = good[name], len(good[name]) // 2
    was = (folder / name).stat()
    if harm == "gone":
        (folder / name).unlink()
    else:
        turned = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        (folder / name).write_bytes(data[:middle] if harm == "cut" else turned)
        os.utime(folder / name, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert load("small").fingerprint == first.fingerprint
    mended = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {n: data for n, data in mended.items() if n != "note.json"} == {
        n: data for n, data in good.items() if n != "note.json"
    }


def test_a_copied_cache_is_good(mirrored, tmp_path, monkeypatch):
    first = load("small")
    shutil.copytree(tmp_path / "cache", tmp_path / "copy")
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "copy"))
    monkeypatch.delenv("LLMREC_MIRROR")
    assert load("small").fingerprint == first.fingerprint


def test_two_processes_parse_once(mirrored, tmp_path):
    code = """
import sys, time
from llmrec.data import load, readers, parsing
import llmrec.data
parsed = llmrec.data.parse
def slowly(*given):
    print("parses", flush=True)
    time.sleep(1)
    return parsed(*given)
llmrec.data.parse = slowly
print(load("small").fingerprint)
"""
    runs = [subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [run.communicate(timeout=60)[0].split() for run in runs]
    assert sorted(map(len, said)) == [1, 2]  # one of them parses, and both have the tables
    assert said[0][-1] == said[1][-1] == load("small").fingerprint


def test_what_only_describes_does_not_parse_again_and_what_shapes_does(mirrored, cards, tmp_path):
    load("small")
    small_card(cards, **{'title = "Small"': 'title = "Smaller"\nlicence = "CC0"'})
    assert load("small").card.title == "Smaller"
    assert len(list((tmp_path / "cache" / "datasets").glob("small-*"))) == 1
    small_card(cards, **{"Title: {title}": "{title}"})
    assert load("small").items.texts[0] == "four"


def test_a_changed_file_is_refused_with_both_sums(mirrored):
    (mirrored / "events.tsv").write_text(EVENTS + "3\t4\t5\n")
    with pytest.raises(ChecksumError) as error:
        load("small")
    message = str(error.value)
    assert str(mirrored / "events.tsv") in message
    assert sha256(EVENTS) in message and sha256(EVENTS + "3\t4\t5\n") in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Kinds: {categories}", "Kinds: {kinds}", "names 'kinds'; known: raw_id, title, categories"),
        (', time = "t"', "", "time = 'exact', but"),
    ],
)
def test_a_card_that_does_not_fit_its_data(mirrored, cards, tmp_path, old, new, said):
    small_card(cards, **{old: new})
    with pytest.raises(UserError, match=said):
        load("small")
    assert not [path for path in (tmp_path / "cache" / "datasets").iterdir() if path.is_dir()]


def test_other_statistics_do_not_refuse_the_data(mirrored, cards):
    small_card(cards, **{"users = 2": "users = 3"})
    assert len(load("small").users) == 2


@pytest.mark.parametrize(
    ("filters", "users", "items", "interactions"),
    [
        ("catalogue = 'interacted'", 2, 2, 4),
        ("min_value = 5", 2, 3, 3),  # the event at time 1 goes
        ("core = 2", 1, 3, 2),  # user 10 and item 30 go; user 2 keeps two events with item 4
        ("core = 2\ncatalogue = 'interacted'", 1, 1, 2),
        ("user_core = 2", 1, 3, 3),
        ("item_core = 2", 2, 3, 3),
        ("since = 1970-01-01T00:00:05", 2, 3, 3),
        ("until = 1970-01-01T00:00:05Z", 1, 3, 1),
        ("since = 1970-01-01\nuntil = 1970-01-02", 2, 3, 4),
    ],
)
def test_filters(mirrored, cards, filters, users, items, interactions):
    small_card(cards, **{"[[sources]]": f"[filters]\n{filters}\n[[sources]]", 'time = "t"': 'time = "t", value = "t"'})
    data = load("small")
    assert (len(data.users), len(data.items), len(data.interactions)) == (users, items, interactions)
    assert data.steps.row(-1)[-1] == interactions


PRIVATE = """
time = "exact"
[[sources]]
interactions = { path = "orders.csv", columns = { user = "customer", item = "sku", time = "when" } }
"""


def test_a_private_dataset_in_five_lines(private, cards):
    orders = "customer,sku,when\nAnn,7,100\nBob,x,50\nAnn,x,20\n"
    data = private(PRIVATE, orders_csv=orders)
    assert data.users == ["Ann", "Bob"] and data.items.titles == ["7", "x"]  # no item table: the ids are the titles
    named = PRIVATE + 'items = { path = "goods.csv", columns = { raw_id = "sku", title = "name" } }\n'
    data = private(named, goods_csv='sku,name\n7,"Tea, green"\n9,Cake\n')
    assert data.items.titles == ["Tea, green", "Cake", "x"]
    (cards / "orders.csv").write_text(orders + "Cid,9,70\n")  # no checksum: a changed file is read anew
    assert load("shop").users == ["Ann", "Bob", "Cid"]


def test_item_tables_are_joined_and_fields_can_be_withheld(private):
    data = private(
        """
time = "order"
item_title = ["{title}", "{title_zh}"]
item_text = ["{title} / {title_zh}", "{title}", "Kinds: {categories}"]
[[sources]]
interactions = { path = "e.csv", columns = { user = "u", item = "i" } }
[[sources.items]]
path = "en.csv"
columns = { raw_id = "id", title = "name", categories = "kinds" }
[[sources.items]]
path = "zh.csv"
columns = { raw_id = "id", title_zh = "name", categories = "kinds" }
""",
        e_csv="u,i\n1,A\n1,B\n1,C\n",
        en_csv="id,name,kinds\nA,Tea,drink|hot\nB,Cake,\n",
        zh_csv="id,name,kinds\nB,蛋糕,food\nC,水,\n",
    )
    assert data.items.titles == ["Tea", "Cake", "水"] and data.items.categories == [["drink", "hot"], ["food"], []]
    assert data.items.texts == ["Tea. Kinds: drink, hot", "Cake / 蛋糕. Cake. Kinds: food", ""]
    without = data.items_without("categories")
    assert without.texts == ["Tea", "Cake / 蛋糕. Cake", ""] and without.categories == [[], [], []]
    assert data.items_without("title").titles == ["A", "蛋糕", "水"]
    with pytest.raises(UserError, match="no field 'genre'"):
        data.items_without("genre")


def test_the_official_split_by_files_by_column_and_by_marks(private):
    parts = """
time = "order"
[[sources]]
[[sources.interactions]]
path = "a.csv"
official = "train"
columns = { user = "u", item = "i" }
[[sources.interactions]]
path = "b.csv"
official = "test"
columns = { user = "u", item = "i" }
"""
    data = private(parts, a_csv="u,i\n2,5\n1,7\n", b_csv="u,i\n1,x\n")
    rows = [*zip(*data.interactions.frame.select("user", "item"), data.official, strict=True)]
    assert rows == [(0, 1, "train"), (0, 2, "test"), (1, 0, "train")]
    assert load("shop").official.equals(data.official)
    column = '[[sources]]\ninteractions = { path = "c.csv", columns = { user = "u", item = "i", official = "part" } }'
    data = private(f'time = "order"\n{column}', c_csv="u,i,part\n2,5,train\n1,7,train\n1,x,test\n")
    assert data.official.to_list() == ["train", "test", "train"] and "official" in data.card.protocols
    marks = """
time = "exact"
[[sources]]
interactions = { path = "all.csv", columns = { user = "u", item = "i", time = "t" } }
[[sources.official]]
path = "one.csv"
official = "1"
columns = { user = "u", item = "i", time = "t" }
[[sources.official]]
path = "two.csv"
official = "2"
columns = { user = "u", item = "i", time = "t" }
"""
    every = {"all_csv": "u,i,t\n1,1,5\n1,1,6\n1,2,4\n", "one_csv": "u,i,t\n1,1,6\n"}
    assert private(marks, **every, two_csv="u,i,t\n1,2,4\n1,1,5\n").official.to_list() == ["2", "2", "1"]
    with pytest.raises(UserError, match="official files hold 2 events, but 1 of them are interactions"):
        private(marks, **every, two_csv="u,i,t\n9,2,4\n")
    with pytest.raises(UserError, match="1 interactions are in no official file"):
        private(marks, **every, two_csv="u,i,t\n1,2,4\n")


def test_tags_requests_and_the_effect_of_filters_are_kept(private):
    data = private(
        """
time = "order"
filters = { categories = ["hot"], user_core = 2 }
[[sources]]
interactions = { path = "e.csv", columns = { user = "u", item = "i" }, drop = [{ column = "u", equals = "x" }] }
items = { path = "i.csv", columns = { raw_id = "id", categories = "kinds" } }
tags = { path = "t.csv", columns = { user = "u", item = "i", text = "w" } }
requests = { path = "r.csv", columns = { text = "q", items = "a" } }
""",
        e_csv="u,i\nx,1\n1,1\n1,2\n1,3\n2,1\n",
        i_csv="id,kinds\n1,hot\n2,hot|big\n3,big\n",
        t_csv="u,i,w\n1,1,nice\n9,2,new\n1,99,gone\n",
        r_csv='q,a\n"something, hot",1|2|99\n',
    )
    assert data.steps.rows() == [
        ("as read", 3, 3, 5),
        ("rows dropped: u is x", 2, 3, 4),
        ("items of the categories hot", 2, 2, 3),
        ("core of 2 a user and 0 an item", 1, 2, 2),
    ]
    assert data.tags.rows() == [(0, 0, "nice", None), (None, 1, "new", None)]
    assert data.requests.select("text", "items").rows() == [("something, hot", [0, 1])]
    assert data.items.titles == ["1", "2", "3"]
    again = load("shop")
    assert again.tags.equals(data.tags) and again.requests.equals(data.requests) and again.steps.equals(data.steps)


def test_a_better_source_that_comes_later_is_used(cards, tmp_path, monkeypatch):
    text = SMALL + '[[sources]]\ninteractions = { path = "e.csv", columns = { user = "u", item = "i", time = "t" } }\n'
    (cards / "small.toml").write_text(text)
    (cards / "e.csv").write_text("u,i,t\n1,1,1\n")
    assert len(load("small").interactions) == 1
    plain = tmp_path / "mirror" / "small" / "plain"
    plain.mkdir(parents=True)
    (plain / "events.tsv").write_text(EVENTS)
    (plain / "items.jsonl").write_text(ITEMS)
    monkeypatch.setenv("LLMREC_MIRROR", str(tmp_path / "mirror"))
    assert len(load("small").interactions) == 4


def test_without_any_copy_the_message_says_what_to_do(cards):
    this = small_card(cards)
    with pytest.raises(UserError) as error:
        load("small")
    for word in ("LLMREC_MIRROR", "https://example.org"):
        assert word in str(error.value) and word in str(obtainable(this))


def test_the_official_files_and_recboles_copy_are_the_same_dataset(mirror):
    this = card("ml-100k")
    try:
        site = Path(str(distribution("recbole").locate_file("")))
    except PackageNotFoundError:
        pytest.skip("needs RecBole's package")
    (official,) = (s for s in this.sources if s.kind == "mirror")
    (packaged,) = (s for s in this.sources if s.kind == "pypi")
    official, packaged = parse(this, official, mirror / "ml-100k"), parse(this, packaged, site)
    assert official.fingerprint == packaged.fingerprint
    assert official.items.titles[0] == "Toy Story (1995)"
    assert official.items.texts[0] == "Toy Story. 1995. Genres: Animation, Children's, Comedy"


def test_the_public_name_is_the_function():
    assert llmrec.data.card is card
