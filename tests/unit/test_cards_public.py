"""Cards of data that only their public home has: each is whole, and each is read end to end from small official files.

The files lie in a mirror that the test builds. Their checksums cannot be the published ones, so the cards are read from
copies in which every published sum is "unpublished"; nothing else of a card is changed.
"""

import gzip
import io
import json
import re
import zipfile

import numpy as np
import pytest

from llmrec import cardfiles
from llmrec.cardfiles import dataset_names
from llmrec.content import content_root
from llmrec.data import load
from llmrec.data.cards import card
from llmrec.data.sources import UNPUBLISHED
from llmrec.records import Protocol
from llmrec.split import make_split

FAMILIES = ("amazon2014", "amazon2018", "amazon2023", "goodreads")
SINGLE = (
    "ml-20m", "ml-32m", "goodbooks-10k", "mind-small", "mind-large", "steam-mcauley", "steam-australian",
)  # fmt: skip
PUBLIC = [name for name in dataset_names() if name in SINGLE or name.partition(":")[0] in FAMILIES]


def test_every_category_has_a_card():
    counts = {family: sum(name.startswith(f"{family}:") for name in PUBLIC) for family in FAMILIES}
    assert counts == {"amazon2014": 24, "amazon2018": 29, "amazon2023": 33, "goodreads": 8}
    assert set(SINGLE) <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_card_says_everything(name):
    this = card(name)
    assert this.home.startswith("https://")
    assert this.size
    assert this.licence != "not stated"
    assert this.commercial is not None
    assert this.redistributable is not None
    assert re.search(r"@\w+\{\w+,", this.citation)
    assert this.notes
    assert this.scenario != "not stated"
    assert this.language == "en"
    assert "{category}" not in f"{this.title}{this.sources}"
    assert "{genre}" not in f"{this.title}{this.sources}"
    for source in this.sources:
        assert source.address.startswith("https://")
        sums = [source.sha256, source.md5, *(source.checksum(file.archive or file.path) for file in source.files())]
        assert any(sums)
        assert source.kind != "folder" or all(source.checksum(f.archive or f.path) for f in source.files())


def test_a_sum_of_one_member_of_a_family_is_not_that_of_another():
    gifts, games = card("amazon2018:Gift_Cards").sources[0], card("amazon2018:Video_Games").sources[0]
    assert gifts.checksum("categoryFilesSmall/Gift_Cards_5.json.gz") != UNPUBLISHED
    assert games.checksum("categoryFilesSmall/Video_Games_5.json.gz") == UNPUBLISHED


# --- From official files to a dataset ---


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The folder of a mirror; the suite's cards without published sums."""
    cards = tmp_path / "cards"
    cards.mkdir()
    for path in (content_root() / "datasets").glob("*.toml"):
        text = re.sub(r'md5 = "[0-9a-f]{32}"', f'sha256 = "{UNPUBLISHED}"', path.read_text("utf-8"))
        (cards / path.name).write_text(re.sub(r'"[0-9a-f]{64}"', f'"{UNPUBLISHED}"', text), "utf-8")
    monkeypatch.setattr(cardfiles, "card_folders", lambda: [cards])
    monkeypatch.setenv("LLMREC_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "mirror"


def put(folder, path, text):
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(text.encode()) if path.endswith(".gz") else text.encode())


def put_zip(folder, path, members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data.getvalue())


def json_lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def sequences(dataset):
    """Raw user -> raw items, oldest first."""
    ids, frame = dataset.items.frame["raw_id"].to_list(), dataset.interactions.frame.sort("user", "order")
    return {
        name: [ids[i] for i in frame.filter(user=user)["item"]] for user, name in enumerate(dataset.users)
    }  # fmt: skip


def texts(dataset):
    return dict(zip(dataset.items.frame["raw_id"], dataset.items.texts, strict=True))


@pytest.mark.parametrize("name", ["ml-20m", "ml-32m"])
def test_movielens(mirror, name):
    put_zip(
        mirror / name,
        f"{name}.zip",
        {
            f"{name}/ratings.csv": "userId,movieId,rating,timestamp\n"
            "1,2,3.5,1112486027\n1,10,0.5,1112486000\n2,2,5.0,9\n",
            f"{name}/movies.csv": 'movieId,title,genres\n2,"Loups, ""Les"" (1995)",Drama|Sci-Fi\n'
            "10,Untitled,(no genres listed)\n11,Amélie (2001),Comedy\n",
            f"{name}/tags.csv": 'userId,movieId,tag,timestamp\n1,2,"dark, slow",1240597180\n2,10,Kubrick,1240597181\n',
        },
    )
    dataset = load(name)
    assert sequences(dataset) == {"1": ["10", "2"], "2": ["2"]}
    assert dataset.interactions.frame["value"].to_list() == [0.5, 3.5, 5.0]
    assert texts(dataset) == {
        "2": 'Loups, "Les". 1995. Genres: Drama, Sci-Fi', "10": "Untitled", "11": "Amélie. 2001. Genres: Comedy",
    }  # fmt: skip
    assert dataset.items.titles[0] == 'Loups, "Les" (1995)'
    assert dataset.tags["text"].to_list() == ["dark, slow", "Kubrick"]


def test_goodbooks(mirror):
    books = (
        "book_id,goodreads_book_id,best_book_id,work_id,books_count,isbn,isbn13,authors,original_publication_year,"
        "original_title,title,language_code\n"
        '1,2767052,2,2,272,4,9.7E+12,"A. Autor, Zoë B",2008.0,Games,"The Games, #1",eng\n'
        "2,3,3,4,1,,,Plato,-380.0,,Πολιτεία,\n"
    )
    put_zip(
        mirror / "goodbooks-10k",
        "goodbooks-10k.zip",
        {
            "ratings.csv": "user_id,book_id,rating\n1,2,5\n2,1,4\n1,1,3\n",
            "books.csv": books,
            "book_tags.csv": "goodreads_book_id,tag_id,count\n2767052,1,900\n2767052,2,5\n",
            "tags.csv": "tag_id,tag_name\n1,to-read\n2,dystopia\n",
        },
    )
    dataset = load("goodbooks-10k")
    assert sequences(dataset) == {"1": ["2", "1"], "2": ["1"]}  # in the file's order: it has no times
    assert texts(dataset) == {
        "1": "The Games, #1. By A. Autor, Zoë B. 2008. Tags: dystopia", "2": "Πολιτεία. By Plato. -380",
    }  # fmt: skip


def review(user, asin, stars, time):
    return {"reviewerID": user, "asin": asin, "overall": stars, "unixReviewTime": time, "reviewText": "…"}


def test_amazon_2014(mirror):
    folder = mirror / "amazon2014-Beauty"
    put(
        folder,
        "reviews_Beauty_5.json.gz",
        json_lines(review("B", "B02", 5.0, 86400 * 3), review("A", "B01", 1.0, 86400), review("B", "B01", 2.0, 86400)),
    )
    put(
        folder,
        "meta_Beauty.json.gz",
        "{'asin': 'B01', 'title': \"Gel &amp; it's\", 'categories': [['Beauty', 'Hair']], 'brand': 'X'}\n"
        "{'asin': 'B02', 'categories': [['Beauty']]}\n{'asin': 'B03', 'title': 'nobody', 'categories': [['Beauty']]}\n",
    )
    dataset = load("amazon2014:Beauty")
    assert sequences(dataset) == {"A": ["B01"], "B": ["B01", "B02"]}
    assert texts(dataset) == {"B01": "Gel & it's. Brand: X. Categories: Beauty, Hair", "B02": "Categories: Beauty"}


def test_amazon_2018(mirror):
    folder = mirror / "amazon2018-Software"
    twice = review("A", "B01", 4.0, 86400)
    put(folder, "categoryFilesSmall/Software_5.json.gz", json_lines(twice, twice, review("B", "B01", 2.0, 0)))
    put(
        folder,
        "metaFiles2/meta_Software.json.gz",
        json_lines(
            {"category": ["Software"], "title": "Œdit <i>3</i>", "price": "$9", "asin": "B01", "brand": ""},
            {"category": ["Software"], "title": "the same again", "asin": "B01"},
        ),
    )
    dataset = load("amazon2018:Software")
    assert sequences(dataset) == {"A": ["B01", "B01"], "B": ["B01"]}
    assert texts(dataset) == {"B01": "Œdit 3. Categories: Software"}


def test_amazon_2023(mirror):
    folder = mirror / "amazon2023-Video_Games"
    put(
        folder,
        "benchmark/5core/rating_only/Video_Games.csv.gz",
        "user_id,parent_asin,rating,timestamp\nAE2,B07,5.0,1609459200500\nAE1,B08,1.0,1609459200499\nAE2,B08,3.0,1508459200000\n",
    )
    put(
        folder,
        "raw/meta_categories/meta_Video_Games.jsonl.gz",
        json_lines(
            {"title": "Möbius", "store": "S", "categories": ["Video Games", "PC"], "price": 1.5, "parent_asin": "B07"},
            {"title": None, "store": None, "categories": [], "parent_asin": "B08"},
            {"title": "nobody", "store": None, "categories": [], "parent_asin": "B09"},
        ),
    )
    dataset = load("amazon2023:Video_Games")
    assert sequences(dataset) == {"AE1": ["B08"], "AE2": ["B08", "B07"]}
    assert dataset.interactions.frame["time"].to_list() == [1609459200, 1508459200, 1609459200]
    assert texts(dataset) == {"B07": "Möbius. Store: S. Categories: Video Games, PC", "B08": ""}


@pytest.mark.parametrize(("name", "archive"), [("mind-small", "MINDsmall"), ("mind-large", "MINDlarge")])
def test_mind(mirror, name, archive):
    news = "{0}\tnews\tnewsus\tTitle {0}\t\thttps://x\t[]\t[]\n"
    train = (
        "1\tU1\t11/13/2019 9:00:00 AM\tN1 N2\tN3-1 N4-0\n2\tU1\t11/14/2019 9:00:00 AM\tN1 N2\tN4-1 N3-0\n"
        "3\tU2\t11/14/2019 11:59:59 PM\t\tN4-0 N2-1\n"
    )
    dev = "1\tU3\t11/15/2019 12:00:00 AM\tN5\tN1-0 N5-0 N2-1\n"
    put_zip(
        mirror / name,
        f"{archive}_train.zip",
        {"behaviors.tsv": train, "news.tsv": "".join(news.format(n) for n in ("N1", "N2", "N3", "N4"))},
    )
    put_zip(
        mirror / name, f"{archive}_dev.zip", {"behaviors.tsv": dev, "news.tsv": news.format("N5") + news.format("N1")}
    )
    dataset = load(name)
    assert dataset.items.frame["raw_id"].to_list() == ["N1", "N2", "N3", "N4", "N5"]
    assert texts(dataset)["N5"] == "Title N5. Category: news, newsus"
    assert {user: items for user, items in sequences(dataset).items() if items} == {"U1": ["N1", "N2", "N3"]}
    seen = dataset.impressions
    assert seen["part"].to_list() == ["fit", "valid", "valid", "test"]
    ids = np.array(dataset.items.frame["raw_id"].to_list())
    last = seen.filter(part="test").row(0, named=True)
    assert (ids[last["history"]].tolist(), ids[last["shown"]].tolist()) == (["N5"], ["N1", "N5", "N2"])
    assert last["clicked"] == [False, False, True]
    assert last["time"] == 1573776000
    assert dataset.users[last["user"]] == "U3"
    split, _ = make_split(dataset, Protocol(name="impressions"), "impressions")
    assert {part: len(split.impressions[part]) for part in split.impressions} == {"fit": 1, "valid": 2, "test": 1}


GAMES = (
    "{u'genres': [u'Action'], u'title': u'Half-Life \\u2665', u'id': u'70', u'tags': [u'FPS', u'Classic']}\n"
    "{u'app_name': u'Nobody', u'id': u'71'}\n"
)


def test_steam_reviews(mirror):
    put(
        mirror / "steam-mcauley",
        "steam_reviews.json.gz",
        "{u'username': u'Zo\\xeb', u'hours': 0.1, u'product_id': u'70', u'date': u'2017-12-17', u'text': u\"it's\"}\n"
        "{u'username': u'Zo\\xeb', u'product_id': u'80', u'date': u'2011-01-02', u'text': u'ok'}\n",
    )
    put(mirror / "steam-mcauley", "steam_games.json.gz", GAMES)
    dataset = load("steam-mcauley")
    assert sequences(dataset) == {"Zoë": ["80", "70"]}
    assert texts(dataset) == {"70": "Half-Life ♥. Genres: Action. Tags: FPS, Classic", "80": ""}


def test_steam_libraries(mirror):
    put(
        mirror / "steam-australian",
        "australian_users_items.json.gz",
        "{'user_id': 'a', 'items_count': 3, 'items': [{'item_id': '70', 'item_name': 'HL', 'playtime_forever': 6}, "
        "{'item_id': '90', 'item_name': \"Gone's\", 'playtime_forever': 1}, "
        "{'item_id': '91', 'item_name': 'X', 'playtime_forever': 0}]}\n"
        "{'user_id': 'b', 'items_count': 0, 'items': []}\n",
    )
    put(mirror / "steam-australian", "steam_games.json.gz", GAMES)
    dataset = load("steam-australian")
    assert sequences(dataset) == {"a": ["70", "90"]}
    assert texts(dataset) == {"70": "Half-Life ♥. Genres: Action. Tags: FPS, Classic", "90": "Gone's"}


def test_goodreads(mirror):
    shelved = {"user_id": "u", "is_read": True, "review_text_incomplete": "", "read_at": "", "started_at": ""}
    put(
        mirror / "goodreads-poetry",
        "goodreads_interactions_poetry.json.gz",
        json_lines(
            {**shelved, "book_id": "7", "rating": 5, "date_added": "Thu Aug 17 15:15:28 -0700 2017"},
            {**shelved, "book_id": "8", "rating": 0, "date_added": "Thu Aug 17 15:15:28 -0700 2016"},
            {**shelved, "book_id": "9", "rating": 2, "date_added": "Wed Aug 17 15:15:28 -0700 2016"},
        ),
    )
    books = [
        {
            "book_id": n,
            "title": t,
            "description": "",
            "popular_shelves": [{"count": "9", "name": "to-read"}, {"name": "poetry"}],
        }
        for n, t in (("7", "Ärger"), ("8", "Unrated"), ("9", ""))
    ]
    put(mirror / "goodreads-poetry", "goodreads_books_poetry.json.gz", json_lines(*books))
    dataset = load("goodreads:poetry")
    assert sequences(dataset) == {"u": ["9", "7"]}
    assert texts(dataset) == {"7": "Ärger. Shelves: poetry", "8": "Unrated. Shelves: poetry", "9": "Shelves: poetry"}
