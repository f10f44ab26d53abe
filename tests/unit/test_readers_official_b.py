"""Official formats of data that stay at their public home: small files with invented content, nasty lines included."""

import gzip
import json

import polars as pl
import pytest

from llmrec.data.readers import amazon, goodbooks, goodreads, mind, steam
from llmrec.data.readers.given import Given
from llmrec.data.sources import DataFile
from llmrec.errors import UserError


def given(folder, name, text, *, also=None, **file):
    """A file in the folder, gzipped if its name says so, as a reader is given it."""
    path = folder / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") and data[:2] != b"\x1f\x8b" else data)
    return Given(DataFile(path=name, **file), path, also or {})


def json_lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def literals(*records):
    return "".join(repr(record) + "\n" for record in records)


# --- Amazon ---

REVIEW = {
    "reviewerID": "A1", "asin": "B00X", "reviewerName": "Zoë", "helpful": [0, 1],
    "reviewText": 'He said "asin": "B9"', "overall": 4.0, "summary": "ok",
    "unixReviewTime": 1393545600, "reviewTime": "02 28, 2014",
}  # fmt: skip


def test_amazon_reviews_keep_their_order_and_repeats(tmp_path):
    text = json_lines(REVIEW, REVIEW, {**REVIEW, "reviewerID": "A0", "asin": "0000013714", "overall": 1}) + "\n"
    events = amazon.interactions(given(tmp_path, "reviews_Beauty_5.json.gz", text))
    assert events.rows() == [
        ("A1", "B00X", 4.0, 1393545600), ("A1", "B00X", 4.0, 1393545600), ("A0", "0000013714", 1.0, 1393545600),
    ]  # fmt: skip
    assert events.schema == {"user": pl.String, "item": pl.String, "value": pl.Float32, "time": pl.Int64}


def test_amazon_2014_products_are_python_literals(tmp_path):
    text = literals(
        {
            "asin": "B00X", "title": "Scrubs &amp; Beyond <b>Gel</b>,\n  8\" 'Größe'", "price": 12.99, "imUrl": "http://x",
            "salesRank": {"Beauty": 7}, "brand": "Crème & Co", "related": {"also_bought": ["B01", "B02"]},
            "categories": [["Beauty", "Hair Care", "Gel"], ["Beauty", "Men&#39;s"]],
            "description": "Soft.<br />Very soft.<script>alert('x')</script>",
        },
        {"asin": "B01", "categories": [["Beauty"]]},  # most have no title, no price, no brand
        {"asin": "B02", "title": None, "price": None},
    )  # fmt: skip
    products = amazon.items(given(tmp_path, "meta_Beauty.json.gz", text))
    assert products.rows(named=True)[0] == {
        "raw_id": "B00X", "title": "Scrubs & Beyond Gel , 8\" 'Größe'", "brand": "Crème & Co",
        "description": "Soft. Very soft.", "features": "", "price": "12.99",
        "categories": ["Beauty", "Hair Care", "Gel", "Men's"],
    }  # fmt: skip
    assert products["title"].to_list()[1:] == ["", ""]
    assert products["categories"].to_list()[1:] == [["Beauty"], []]


def test_amazon_2018_products_twice_page_scripts_and_prices(tmp_path):
    product = {
        "category": ["Gift Cards", "Gift Cards", "</span></span>"], "description": ["<div>One.</div>", "Two"],
        "feature": ["A", "B &amp; C"], "title": "Card", "brand": "by\n    \n    Amazon", "price": "$1,012.50",
        "asin": "B1",
    }  # fmt: skip
    text = json_lines(
        product,
        {**product, "title": "Card again"},
        {**product, "asin": "B2", "title": "var aPageStart = (new Date()).getTime();", "price": "$5.00 - $12.00"},
        {**product, "asin": "B3", "title": "", "price": ".a-box-inner{background-color:#fff}", "category": []},
    )
    products = amazon.items(given(tmp_path, "meta_Gift_Cards.json.gz", text))
    assert products["raw_id"].to_list() == ["B1", "B2", "B3"]
    assert products["title"].to_list() == ["Card", "", ""]
    assert products["price"].to_list() == ["1012.50", "", ""]
    assert products["categories"].to_list() == [["Gift Cards"], ["Gift Cards"], []]
    assert products.row(0, named=True)["brand"] == "by Amazon"
    assert products.row(0, named=True)["description"] == "One. Two"
    assert products.row(0, named=True)["features"] == "A B & C"


def test_amazon_2023_products_and_only_those_that_were_reviewed(tmp_path):
    text = json_lines(
        {
            "main_category": "Video Games", "title": "Möbius", "features": ["fast"], "description": [], "price": "—",
            "store": "Studio", "categories": ["Video Games", "PC"], "details": {"asin": "no"}, "parent_asin": "B1",
        },
        {"title": "Nobody bought it", "price": 9.5, "categories": [], "parent_asin": "B2"},
        {"title": "日本語", "price": "from 9.99", "categories": None, "store": None, "parent_asin": "B3"},
    )  # fmt: skip
    columns = {"user": "user_id", "item": "parent_asin", "value": "rating", "time": "timestamp"}
    csv = "user_id,parent_asin,rating,timestamp\nA,B1,5.0,1634275259292\nB,B3,1.0,1634275259293\n"
    events = given(tmp_path, "Video_Games.csv.gz", csv, columns=columns, time_format="milliseconds")
    products = amazon.items(given(tmp_path, "meta_Video_Games.jsonl.gz", text, also={"events": events}))
    assert products.rows() == [
        ("B1", "Möbius", "Studio", "", "fast", "", ["Video Games", "PC"]), ("B3", "日本語", "", "", "", "", []),
    ]  # fmt: skip


def test_amazon_2014_products_that_were_reviewed(tmp_path):
    events = given(tmp_path, "reviews_Beauty_5.json.gz", json_lines({**REVIEW, "asin": "B01"}))
    text = literals({"asin": "B00", "related": {"also_viewed": ["B01"]}}, {"title": "x's", "asin": "B01"})
    assert amazon.items(given(tmp_path, "meta.json.gz", text, also={"events": events}))["raw_id"].to_list() == ["B01"]


# --- MIND ---

BEHAVIORS = (
    "1\tU2\t11/9/2019 2:14:46 PM\tN1 N2 N1\tN3-1 N4-0\n"
    "2\tU1\t11/10/2019 12:00:01 AM\t\tN5-0 N3-0 N4-1\n"
    "3\tU2\t11/9/2019 1:00:00 AM\tN1 N2 N1\tN5-1 N1-0\n"
    "4\tU2\t11/11/2019 12:30:00 PM\tN1 N2 N1\tN4-1 N3-0\n"
)


def test_mind_training_week_its_last_day_validates(tmp_path):
    seen = mind.impressions(given(tmp_path, "behaviors.tsv", BEHAVIORS))
    assert seen["part"].to_list() == ["fit", "fit", "fit", "valid"]
    assert seen.row(0) == ("fit", "U2", 1573308886, ["N1", "N2", "N1"], ["N3", "N4"], [True, False])
    assert seen.row(1) == ("fit", "U1", 1573344001, [], ["N5", "N3", "N4"], [False, False, True])
    assert seen["time"][3] == 1573475400  # half past twelve at noon


def test_mind_development_set_tests(tmp_path):
    seen = mind.impressions(given(tmp_path, "behaviors.tsv", BEHAVIORS, official="test"))
    assert seen["part"].unique().to_list() == ["test"]


def test_mind_interactions_are_what_was_clicked_before_the_day_that_validates(tmp_path):
    events = mind.interactions(given(tmp_path, "behaviors.tsv", BEHAVIORS))
    by_user = {u: events.filter(user=u)["item"].to_list() for u in ("U1", "U2")}
    assert by_user == {"U2": ["N1", "N2", "N1", "N5", "N3"], "U1": ["N4"]}  # history once, then clicks in order of time
    assert events["time"].null_count() == len(events)


def test_mind_news(tmp_path):
    text = (
        'N1\tnews\tnewspolitics\tThe "Best" of 2019\tIt\'s\there\t\thttps://x\t[]\t[]\n'.replace(
            "\there\t\t", " here\t"
        )
        + "N2\tsports\tmore_sports\tÇa va ?\t\thttps://y\t[]\t[]\n"
    )
    news = mind.items(given(tmp_path, "news.tsv", text))
    assert news.rows() == [
        ("N1", 'The "Best" of 2019', "It's here", "newspolitics", ["news"]),
        ("N2", "Ça va ?", "", "more_sports", ["sports"]),
    ]


# --- Steam ---


def test_steam_reviews_are_printed_by_python_2(tmp_path):
    text = (
        "{u'username': u'Chaos \\u2665 Syren', u'hours': 0.1, u'products': 41, u'product_id': u'725280', "
        "u'date': u'2017-12-17', u'text': u\"It's {u'date': u'1999'} \\n fun\", u'early_access': False, u'page': 1}\n"
        "{u'username': u'x', u'product_id': u'10', u'date': u'2010-10-15', u'text': u'', u'user_id': u'7656'}\n"
    )
    assert steam.interactions(given(tmp_path, "steam_reviews.json.gz", text)).rows() == [
        ("Chaos ♥ Syren", "725280", pytest.approx(0.1), 1513468800), ("x", "10", 0.0, 1287100800),
    ]  # fmt: skip


LIBRARIES = (
    "{'user_id': 'js41637', 'items_count': 2, 'steam_id': '1', 'user_url': 'u', 'items': [{'item_id': '10', "
    "'item_name': 'Counter-Strike', 'playtime_forever': 6, 'playtime_2weeks': 0}, {'item_id': '20', "
    "'item_name': \"Tom's &amp; Co\", 'playtime_forever': 0, 'playtime_2weeks': 0}]}\n"
    "{'user_id': 'empty', 'items_count': 0, 'steam_id': '2', 'user_url': 'u', 'items': []}\n"
    "{'user_id': 'js41637', 'items_count': 1, 'steam_id': '1', 'user_url': 'u', 'items': [{'item_id': '30', "
    "'item_name': 'Other', 'playtime_forever': 9, 'playtime_2weeks': 0}]}\n"
)


def test_steam_libraries(tmp_path):
    owned = given(tmp_path, "australian_users_items.json.gz", LIBRARIES, options={"what": "libraries"})
    assert steam.interactions(owned).rows() == [("js41637", "10", 6.0, None), ("js41637", "20", 0.0, None)]
    assert steam.items(owned).select("raw_id", "title").rows() == [
        ("10", "Counter-Strike"), ("20", "Tom's & Co"), ("30", "Other"),
    ]  # fmt: skip


def test_steam_games_without_id_or_title_and_twice(tmp_path):
    text = (
        "{u'publisher': u'K', u'genres': [u'Action', u'Indie'], u'app_name': u'Lost Summoner', u'release_date': "
        "u'2018-01-04', u'tags': [u'Strategy', u'Indie'], u'price': 4.99, u'id': u'761140', u'developer': u'Kot'}\n"
        "{u'app_name': u'no id', u'price': u'Free To Play'}\n"
        "{u'title': u'Twice', u'app_name': u'T', u'id': u'612880', u'release_date': u'Soon..'}\n"
        "{u'title': u'Twice 2', u'id': u'612880'}\n"
    )
    assert steam.items(given(tmp_path, "steam_games.json.gz", text)).rows() == [
        ("761140", "Lost Summoner", "Kot", "2018-01-04", "Strategy, Indie", ["Action", "Indie"]),
        ("612880", "Twice", "", "Soon..", "", []),
    ]


# --- Goodreads and goodbooks ---

SHELVED = {
    "user_id": "8842281e", "book_id": "6565837", "review_id": "c6c8", "is_read": False, "rating": 0,
    "review_text_incomplete": "", "date_added": "Thu Aug 17 15:15:28 -0700 2017", "date_updated": "", "read_at": "",
    "started_at": "",
}  # fmt: skip


@pytest.mark.parametrize(("keep", "books"), [("all", ["6565837", "1", "2"]), ("read", ["1", "2"]), ("rated", ["2"])])
def test_goodreads_shelves(tmp_path, keep, books):
    text = json_lines(
        SHELVED,
        {**SHELVED, "book_id": "1", "is_read": True},
        {**SHELVED, "book_id": "2", "is_read": True, "rating": 5, "date_added": "Tue Nov 15 11:29:22 -0800 2016"},
    )
    file = given(tmp_path, "goodreads_interactions_poetry.json.gz", text, options={"keep": keep})
    events = goodreads.interactions(file)
    assert events["item"].to_list() == books
    assert events.rows()[-1] == ("8842281e", "2", 5.0, 1479238162)


def test_goodreads_books(tmp_path):
    shelves = [{"count": "9", "name": "to-read"}, {"count": "5", "name": "poetry"}, {"count": "2", "name": "ducks"}]
    text = json_lines(
        {
            "book_id": "27036533", "title": "Jump, Little Wood Ducks", "description": "", "publisher": "Adventurekeen",
            "publication_year": "2016", "popular_shelves": shelves, "authors": [{"author_id": "1", "role": ""}],
        },
        {"book_id": "1", "title": "", "title_without_series": "Œuvres", "popular_shelves": []},
    )  # fmt: skip
    assert goodreads.items(given(tmp_path, "goodreads_books_poetry.json.gz", text)).rows() == [
        ("27036533", "Jump, Little Wood Ducks", "", "Adventurekeen", "2016", ["poetry", "ducks"]),
        ("1", "Œuvres", "", "", "", []),
    ]


BOOKS = (
    "book_id,goodreads_book_id,best_book_id,work_id,books_count,isbn,isbn13,authors,original_publication_year,"
    "original_title,title,language_code\n"
    '1,2767052,2,2,272,439023483,9.78E+12,"A. Autor, Zoë ""Z"" B",2008.0,The Games,"The Games (Games, #1)",eng\n'
    "2,3,3,4,1,,,Plato,-380.0,Πολιτεία,,\n"
)
BOOK_TAGS = "goodreads_book_id,tag_id,count\n2767052,1,900\n2767052,2,50\n2767052,3,50\n2767052,2,1\n3,3,-1\n99,1,1\n"
TAGS = "tag_id,tag_name\n1,to-read\n2,young-adult\n3,dystopia\n"


def test_goodbooks_joins_tags_by_the_other_id(tmp_path):
    also = {"book_tags": given(tmp_path, "book_tags.csv", BOOK_TAGS), "tags": given(tmp_path, "tags.csv", TAGS)}
    assert goodbooks.items(given(tmp_path, "books.csv", BOOKS, also=also)).rows() == [
        ("1", "The Games (Games, #1)", "The Games", 'A. Autor, Zoë "Z" B', "2008", ["young-adult", "dystopia"]),
        ("2", "Πολιτεία", "Πολιτεία", "Plato", "-380", []),
    ]


# --- Faults: file and line ---


WRONG_REVIEWS = [
    (
        json_lines(REVIEW) + "{'reviewerID': __import__('os')}\n",
        "line 2: expected one record a line, JSON or a Python dict",
    ),
    (json_lines(REVIEW) + "\n[1, 2]\n", r"line 3: expected a record \{...\}, found '\[1, 2\]'"),
    (json_lines({**REVIEW, "overall": "five"}), "line 1: 'overall' is 'five', expected a number"),
    (json_lines({**REVIEW, "overall": None}), "line 1: 'overall' is None, expected a number"),
    ('{"reviewerID": "A", "asin": "B", "overall": NaN}', "line 1: 'overall' is nan, expected a number"),
    (
        json_lines({**REVIEW, "unixReviewTime": 1393545600000}),
        "line 1: 'unixReviewTime' is 1393545600000, expected sec",
    ),
    (json_lines({**REVIEW, "unixReviewTime": -1}), "line 1: 'unixReviewTime' is -1, expected seconds since 1970"),
    (json_lines({**REVIEW, "asin": ""}), "line 1: 'asin' is empty"),
    (json_lines({"reviewerId": "A"}), "line 1: no key 'reviewerID'. Did you mean 'reviewerId'"),
    (b'{"reviewerID": "\xff"}', "line 1: not utf-8"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_REVIEWS)
def test_faults_of_amazon_reviews_name_file_and_line(tmp_path, text, said):
    with pytest.raises(UserError, match=rf"reviews\.json: {said}"):
        amazon.interactions(given(tmp_path, "reviews.json", text))


def test_a_truncated_gzip_file(tmp_path):
    cut = gzip.compress(json_lines(*[REVIEW] * 999).encode())[:200]
    with pytest.raises(UserError, match=r"reviews\.json\.gz: .*not a whole gzip file"):
        amazon.interactions(given(tmp_path, "reviews.json.gz", cut))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{'asin': 'B1'}\n{'asin': 'B2', 'title': f'{1}'}\n", "line 2: expected one record"),
        ("{'asin': 'B1'}\n{'title': 'no id'}\n", "line 2: no key 'asin'"),
        ("(" * 5000, "line 1: expected one record"),
    ],
)
def test_faults_of_amazon_products(tmp_path, text, said):
    with pytest.raises(UserError, match=rf"meta\.json: {said}"):
        amazon.items(given(tmp_path, "meta.json", text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\tU\t2019-11-12\tN1\tN1-1\n", "line 1: 'time' is '2019-11-12', expected a time like 11/12/2019 2:14:46 PM"),
        (
            BEHAVIORS + "5\tU\t11/12/2019 2:14:46 PM\tN1\tN1 N2\n",
            "line 5: 'shown' is 'N1 N2', expected news with labels",
        ),
        (BEHAVIORS + "5\tU\t11/12/2019 2:14:46 PM\tN1\n", "line 5: 'shown' is None"),
        (BEHAVIORS + "5\t\t11/12/2019 2:14:46 PM\tN1\tN1-1\n", "line 5: 'user' is None, expected a user"),
    ],
)
def test_faults_of_mind_impressions(tmp_path, text, said):
    with pytest.raises(UserError, match=rf"behaviors\.tsv: {said}"):
        mind.impressions(given(tmp_path, "behaviors.tsv", text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("N1\tnews\tnewsus\n", "cannot be read as a table"),
        ("N1\tn\tn\tT\tA\tu\t[]\t[]\nN2\tn\tn\tT\n", "line 2: 'address' is None, expected a row of 8 columns"),
    ],
)
def test_faults_of_mind_news(tmp_path, text, said):
    with pytest.raises(UserError, match=rf"news\.tsv: {said}"):
        mind.items(given(tmp_path, "news.tsv", text))


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            "{u'username': u'a', u'product_id': u'1', u'date': u'once'}",
            {},
            "line 1: 'date' is 'once', expected a day like",
        ),
        ("{'username': 'a', 'product_id': '1', 'hours': 'x', 'date': '2010-01-01'}", {}, "line 1: 'hours' is 'x'"),
        ("{'user_id': 'a', 'items': 7}", {"what": "libraries"}, "line 1: 'items' is '7', expected a list of games"),
        ("{}", {"what": "friends"}, "option what = 'friends' of its card: expected 'reviews' or 'libraries'"),
    ],
)
def test_faults_of_steam(tmp_path, text, options, said):
    with pytest.raises(UserError, match=rf"steam\.json: {said}"):
        steam.interactions(given(tmp_path, "steam.json", text, options=options))


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"date_added": "2017"}, {}, "line 2: 'date_added' is '2017', expected a moment like"),
        ({"is_read": None, "rating": "3"}, {}, "line 2: 'rating' is '3', expected a number"),
        ({"user_id": ""}, {}, "line 2: 'user_id' is empty"),
        ({}, {"keep": "loved"}, "option keep = 'loved' of its card: expected 'all', 'read' or 'rated'"),
    ],
)
def test_faults_of_goodreads(tmp_path, changes, options, said):
    text = json_lines(SHELVED, {**SHELVED, **changes})
    with pytest.raises(UserError, match=rf"shelves\.json: {said}"):
        goodreads.interactions(given(tmp_path, "shelves.json", text, options=options))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("books.csv", BOOKS.replace("authors", "writers"), "books.csv: no column 'authors'"),
        ("book_tags.csv", BOOK_TAGS.replace("2767052,3,50", "2767052,3,many"), "line 4: 'count' is 'many'"),
        ("tags.csv", TAGS.replace("tag_name", "name"), "tags.csv: no column 'tag_name'"),
    ],
)
def test_faults_of_goodbooks(tmp_path, name, text, said):
    texts = {"books.csv": BOOKS, "book_tags.csv": BOOK_TAGS, "tags.csv": TAGS} | {name: text}
    files = {file: given(tmp_path, file, content) for file, content in texts.items()}
    also = {"book_tags": files["book_tags.csv"], "tags": files["tags.csv"]}
    with pytest.raises(UserError, match=said):
        goodbooks.items(Given(files["books.csv"].file, files["books.csv"].path, also))
