"""Official and research formats: small files with invented content in exactly the published form, and what is said of
files that are not."""

import csv
import gzip
import io
import json

import polars as pl
import pytest

from llmrec.data import card, catalogue, parse
from llmrec.data.readers import Given, caserec, coco, hetrec, keyed, mind_mini, movielens_csv, recprompt
from llmrec.data.sources import DataFile
from llmrec.errors import UserError


def given(folder, name, text, *, also=None, **file):
    """A file in the folder as a reader is given it."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Given(DataFile(path=name, **file), path, also or {})


# --- MovieLens: "::" between columns, and CSV ---

DAT = {"names": ["user", "item", "rating", "time"], "separator": "::"}
RATED = {"user": "user", "item": "item", "value": "rating", "time": "time"}
MOVIES = {"names": ["item", "title", "genres"], "separator": "::", "encoding": "latin-1"}
FILMS = {"raw_id": "item", "title": "title", "categories": "genres"}


def test_ratings_of_movielens_1m(tmp_path):
    file = given(tmp_path, "ratings.dat", "1::1193::5::978300760\n6040::1::3::956704746\n", columns=RATED, **DAT)
    assert movielens_csv.interactions(file).rows() == [(1, 1193, 5.0, 978300760), (6040, 1, 3.0, 956704746)]


def test_movies_of_movielens_1m_are_latin_1_and_have_their_year_in_the_title(tmp_path):
    text = "1::Toys: A Story (1995)::Animation|Children's\n2::Fée, La (2011)::Comedy\n3::Nothing::Drama\n"
    file = given(tmp_path, "movies.dat", text.encode("latin-1"), columns=FILMS, **MOVIES)
    rows = movielens_csv.items(file).select("raw_id", "title", "year", "categories").rows()
    assert rows == [
        ("1", "Toys: A Story", "1995", ["Animation", "Children's"]),
        ("2", "Fée, La", "2011", ["Comedy"]),
        ("3", "Nothing", "", ["Drama"]),
    ]


def test_the_card_of_movielens_1m_reads_the_official_files(tmp_path):
    this = card("ml-1m")
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ratings.dat").write_text("2::10::4::978298413\n1::20::5::978300760\n1::10::3::978302109\n")
    movies = "10::Élan (1999)::Drama|War\n20::Sea (1950)::Adventure\n30::Unseen (2000)::Comedy\n"
    (tmp_path / "ml-1m" / "movies.dat").write_bytes(movies.encode("latin-1"))
    data = parse(this, this.sources[0], tmp_path)
    assert data.users == ["1", "2"]
    assert data.items.titles == ["Élan (1999)", "Sea (1950)", "Unseen (2000)"]
    assert data.items.texts[0] == "Élan. 1999. Genres: Drama, War"
    assert data.interactions.frame.select("user", "item", "value").rows() == [(0, 1, 5.0), (0, 0, 3.0), (1, 0, 4.0)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1::1193::five::978300760\n", "'rating' is 'five'"),
        ("1::1193::5::978300760\n1::7::nan::978300760\n", "line 2: 'rating' is"),
        ("1::1193::5::978300760000\n", "milliseconds"),
        ("1::1193::5::-978300760\n", "1970"),
        ("1::::5::978300760\n", "'item' is empty"),
        ("", "empty"),
    ],
)
def test_faults_in_ratings_of_movielens_1m_are_named(tmp_path, text, said):
    file = given(tmp_path, "ratings.dat", text, columns=RATED, **DAT)
    with pytest.raises(UserError, match=said) as error:
        movielens_csv.interactions(file)
    assert str(file.path) in str(error.value)


def test_movies_in_another_encoding_are_named(tmp_path):
    file = given(
        tmp_path,
        "movies.dat",
        "1::Fée (2011)::Comedy\n".encode("latin-1"),
        columns=FILMS,
        **{**MOVIES, "encoding": "utf-8"},
    )
    with pytest.raises(UserError, match="utf-8; correct 'encoding'"):
        movielens_csv.items(file)


def test_movielens_latest(tmp_path):
    text = 'movieId,title,genres\n1,"Cat, The (""Tom"") (1995)",Comedy|Drama\n2,Series (2006-2007),(no genres listed)\n'
    columns = {"raw_id": "movieId", "title": "title", "categories": "genres"}
    rows = movielens_csv.items(given(tmp_path, "movies.csv", text, columns=columns)).rows(named=True)
    assert [(r["title"], r["year"], r["categories"]) for r in rows] == [
        ('Cat, The ("Tom")', "1995", ["Comedy", "Drama"]),
        ("Series (2006-2007)", "", []),
    ]


def test_tags_of_movielens_latest(tmp_path):
    text = 'userId,movieId,tag,timestamp\n2,60756,"funny, very",1445714994\n'
    columns = {"user": "userId", "item": "movieId", "text": "tag", "time": "timestamp"}
    tags = movielens_csv.tags(given(tmp_path, "tags.csv", text, columns=columns))
    assert tags.rows() == [("2", "60756", "funny, very", 1445714994)]


# --- HetRec 2011 Last.fm ---

WORDS = "tagID\ttagValue\r\n1\tmetal\r\n2\ttropicália\r\n".encode("latin-1")
TAGGED = "userID\tartistID\ttagID\tday\tmonth\tyear\r\n"


def hetrec_tags(folder, rows):
    words = given(folder, "tags.dat", WORDS, encoding="latin-1")
    return given(folder, "user_taggedartists.dat", TAGGED + rows, also={"words": words})


def test_hetrec_tags_with_a_day_or_an_impossible_year(tmp_path):
    file = hetrec_tags(tmp_path, "2\t52\t2\t1\t4\t2009\r\n3\t52\t1\t1\t6\t1956\r\n")
    assert hetrec.tags(file).rows() == [("2", "52", "tropicália", 1238544000), ("3", "52", "metal", None)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("2\t52\t9\t1\t4\t2009\n", "line 2: 'tagID' '9' has no word"),
        ("2\t52\t1\t1\tMay\t2009\n", "line 2: 'month' 'May'"),
    ],
)
def test_faults_in_hetrec_tags_are_named(tmp_path, rows, said):
    with pytest.raises(UserError, match=said):
        hetrec.tags(hetrec_tags(tmp_path, rows))


def test_a_missing_column_of_hetrec_is_named(tmp_path):
    words = given(tmp_path, "tags.dat", "tagID\tvalue\n1\tmetal\n")
    file = given(tmp_path, "tagged.dat", TAGGED + "2\t52\t1\t1\t4\t2009\n", also={"words": words})
    with pytest.raises(UserError, match=r"tags\.dat: line 1: no column 'tagValue'"):
        hetrec.tags(file)


# --- CaseRecommender's tables ---

BOOKS = "Book_ID\tISBN\tBook-Title\tBook-Author\tPublisher\tURL\n"
BOOK = {"raw_id": "Book_ID", "title": "Book-Title", "author": "Book-Author", "publisher": "Publisher"}


def test_cut_cells_of_caserec_are_joined(tmp_path):
    rows = "1\t0X\tWar\tA. B\tNorton &amp\t Co\thttp://x\t\n2\t1X\tMedea\t Fedra\t Vol. 2\tSeneca\tRizzoli\thttp://y\t\n3\t2X\tO&#039;Neill\n"
    frame = caserec.items(given(tmp_path, "items_info.dat", BOOKS + rows, columns=BOOK))
    assert frame.select("raw_id", "title", "author", "publisher").rows() == [
        ("1", "War", "A. B", "Norton & Co"),
        ("2", "Medea; Fedra; Vol. 2", "Seneca", "Rizzoli"),
        ("3", "O'Neill", "", ""),
    ]


def test_genres_of_caserec(tmp_path):
    text = "anime_ids\tname\tgenre\n7\tGintama&#039;\tAction, Sci-Fi\n8\tNone\t\n"
    columns = {"raw_id": "anime_ids", "title": "name", "categories": "genre"}
    frame = caserec.items(given(tmp_path, "anime_info.dat", text, columns=columns, list_separator=", "))
    assert frame["categories"].to_list() == [["Action", "Sci-Fi"], []]
    assert frame["title"][0] == "Gintama'"


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"raw_id": "Book_ID", "isbn": "ISBN"}, "line 2: 7 cells, but the first line has 6"),
        ({"raw_id": "Book"}, "no column 'Book'"),
    ],
)
def test_faults_in_a_table_of_caserec_are_named(tmp_path, columns, said):
    with pytest.raises(UserError, match=said):
        caserec.items(given(tmp_path, "items_info.dat", BOOKS + "1\t2\t3\t4\t5\t6\t7\n", columns=columns))


# --- JSON by id ---


def test_json_by_id(tmp_path):
    users = given(tmp_path, "inter.json", json.dumps({"9": [3, 1, 3], "10": [1]}))
    assert keyed.interactions(users).select("user", "item").rows() == [("9", "3"), ("9", "1"), ("9", "3"), ("10", "1")]
    things = {"1": {"title": " Relay. ", "kinds": "Tools,Relays"}, "3": {"title": None, "kinds": ""}}
    columns = {"title": "title", "categories": "kinds"}
    file = given(tmp_path, "item.json", json.dumps(things), columns=columns, list_separator=",")
    assert keyed.items(file).rows() == [("1", "Relay.", ["Tools", "Relays"]), ("3", "", [])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"1": [2', "line 1"),
        ("[1, 2]", "found a list"),
        ('{"1": {"a": 2}}', "user '1': expected a list"),
        ('{"1": []}', "user '1': expected a list of at least one"),
    ],
)
def test_faults_in_lists_by_user_are_named(tmp_path, text, said):
    with pytest.raises(UserError, match=said):
        keyed.interactions(given(tmp_path, "inter.json", text))


def test_an_item_without_a_field_is_named(tmp_path):
    file = given(tmp_path, "item.json", '{"1": {"titel": "x"}}', columns={"title": "title"})
    with pytest.raises(UserError, match=r"item '1' has no 'title'\. Did you mean 'titel'"):
        keyed.items(file)


# --- COCO ---


def test_courses_with_what_the_graph_knows(tmp_path):
    facts = "entity_head\trelation\tentity_tail\n0\t0\t2\n0\t0\t3\n0\t1\t4\n0\t2\t5\n0\t3\t6\n0\t4\t7\n"
    names = ["a-course", "other", "office", "data-and-analytics", "Pivot table", "beginner", "german", "Clerks"]
    table = "eid\tname\tentity\n" + "".join(f"{n}\t{name}\t{name}\n" for n, name in enumerate(names))
    also = {"facts": given(tmp_path, "kg_final.txt", facts), "names": given(tmp_path, "e_map.txt", table)}
    courses = "eid\tpid\tname\tentity\n0\t501\ta-course\t501\n1\t502\tother\t502\n"
    rows = coco.items(given(tmp_path, "i2kg_map.txt", courses, also=also)).rows(named=True)
    assert rows[0] == {
        "raw_id": "501", "title": "a course", "concepts": "Pivot table", "level": "beginner", "taught_in": "german",
        "categories": ["office", "data and analytics"],
    }  # fmt: skip
    assert rows[1]["title"] == "other" and rows[1]["categories"] == []


# --- MIND in one language, RecPrompt ---

LOG = (
    "1\tU1\t11/12/2019 2:14:46 PM\tN1 N2 N1\tN3-0 N4-1 N9-0\n"  # N9 has no title
    "2\tU1\t11/12/2019 3:00:00 AM\tN1 N2 N1\tN3-1\n"  # no choice
    "3\tU2\t11/13/2019 12:00:00 AM\t\tN9-1 N3-0 N4-1\n"
)
NEWS = "".join(f"N{n}\tsports\tsoccer\tTitle {n}\t\thttp://x\t[]\t[]\n" for n in (1, 2, 3)) + (
    'N4\tnews\tnews\tTitle "4"\tAbstract\thttp://x\t[]\t[]\n'
)


def prompts(*rows):
    """RecPrompt's CSV: (impression, history ids, candidate ids, label)."""
    text = io.StringIO()
    fields = ("news_id", "title", "category", "subvert", "abstract")
    names = [f"{which}_{field}" for which in ("history", "candidate") for field in fields]
    out = csv.DictWriter(text, ["impression_id", "history", "candidate", "label", *names])
    out.writeheader()
    for impression, history, candidates, label in rows:
        row = {"impression_id": impression, "history": "H1: ...", "candidate": "C1: ...", "label": label}
        for which, ids in (("history", history), ("candidate", candidates)):
            for field in fields:
                row[f"{which}_{field}"] = "\n".join(i if field == "news_id" else f"{field} of {i}" for i in ids)
        out.writerow(row)
    return text.getvalue()


def test_clicks_of_mind_in_one_language(tmp_path):
    also = {"news": given(tmp_path, "news.tsv", NEWS)}
    log = given(tmp_path, "behaviors.tsv", LOG, also=also, options={"fewest": 3})
    assert mind_mini.interactions(log).rows() == [("U1", i, 1.0, None) for i in ("N1", "N2", "N1")]
    none = given(tmp_path, "behaviors.tsv", LOG, also=also)
    assert mind_mini.interactions(none).is_empty()  # nobody has five
    shown = mind_mini.impressions(log)
    assert shown.select("user", "time", "history", "shown", "clicked").rows() == [
        ("U1", 1573568086, ["N1", "N2", "N1"], ["N3", "N4"], [False, True]),
        ("U2", 1573603200, [], ["N3", "N4"], [False, True]),
    ]
    assert mind_mini.items(also["news"])["categories"].to_list() == [["sports", "soccer"]] * 3 + [["news"]]


def test_a_table_of_translations_says_which_news_count(tmp_path):
    text = 'nid\ttitle\tabstract\nN3\t"標題,""三"""\t\nN4\t標題四\t摘要\n'
    also = {"zh": given(tmp_path, "xmind.tsv", text, quote='"', columns={"raw_id": "nid", "title": "title"})}
    shown = mind_mini.impressions(given(tmp_path, "behaviors.tsv", LOG, also=also))
    assert shown["shown"].to_list() == [["N3", "N4"], ["N3", "N4"]]
    assert shown["history"].to_list() == [[], []]


def test_impressions_of_recprompt(tmp_path):
    text = prompts((33744, ["N1", "N2"], ["N3", "N4", "N5"], "C2"), (7, [], ["N5", "N6"], "C1"))
    file = given(tmp_path, "MIND_valid.csv", text, official="valid")
    assert recprompt.impressions(file).rows() == [
        ("valid", "dev-33744", None, ["N1", "N2"], ["N3", "N4", "N5"], [False, True, False]),
        ("valid", "dev-7", None, [], ["N5", "N6"], [True, False]),
    ]
    news = recprompt.items(file)
    assert news["raw_id"].to_list() == ["N1", "N2", "N3", "N4", "N5", "N6"]
    assert news.row(0) == ("N1", "title of N1", "abstract of N1", ["category of N1", "subvert of N1"])
    assert recprompt.crosscheck(file).row(0) == ("N1", "title of N1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (prompts((1, ["N1"], ["N2", "N3"], "C3")), "row 1: label 'C3' names none of the 2 candidates"),
        (prompts((1, ["N1"], ["N2"], "2")).replace("label", "answer", 1), "no column 'label'"),
        (prompts((1, ["N1"], ["N2", "N3"], "C1")).replace("title of N3", ""), None),
        (
            prompts((1, ["N1"], ["N2", "N3"], "C1")).replace("\ntitle of N3", ""),
            "row 1: the lists of news are not of one",
        ),
    ],
)
def test_faults_in_recprompt_are_named(tmp_path, text, said):
    file = given(tmp_path, "MIND_test.csv", text)
    if said is None:  # an empty title is no fault
        assert recprompt.items(file).filter(pl.col("title") == "")["raw_id"].to_list() == ["N3"]
        return
    with pytest.raises(UserError, match=said):
        recprompt.items(file)
        recprompt.impressions(file)


# --- Cards end to end on invented files in the official form ---


def test_the_card_of_gift_cards_reads_the_official_pair(tmp_path):
    review = {"reviewerID": "A1", "asin": "B00X", "overall": 5.0, "unixReviewTime": 1529193600, "reviewText": "ok"}
    reviews = [review, {**review, "unixReviewTime": 1528934400}, {**review, "reviewerID": "A2", "asin": "B00Y"}]
    product = {"brand": "", "category": ["Gift Cards"], "description": ["For &amp; from you."]}
    products = [{"asin": asin, "title": f"Card {asin}", **product} for asin in ("B00X", "B00Y", "B00Z")]
    (tmp_path / "original").mkdir()
    for name, records in (("Gift_Cards_5", reviews), ("meta_Gift_Cards", products)):
        text = "".join(json.dumps(record) + "\n" for record in records)
        (tmp_path / "original" / f"{name}.json.gz").write_bytes(gzip.compress(text.encode()))
    this = card("amazon2018-giftcards")
    data = parse(this, this.sources[0], tmp_path)
    assert data.items.titles == ["Card B00X", "Card B00Y"]  # nobody bought B00Z
    assert data.items.texts[0] == "Card B00X. For & from you."
    assert data.interactions.frame["time"].to_list() == [1528934400, 1529193600, 1529193600]


def test_the_card_of_online_retail_leaves_out_cancellations_and_strangers(tmp_path):
    rows = {
        "Invoice": ["489434", "C489449", "489435", "489436"],
        "StockCode": ["85048", "85048", "22041", "85048"],
        "Description": [" GLASS BALL ", "GLASS BALL", "FRAME", "BALL OF GLASS"],
        "Quantity": [12, -2, 1, 1],
        "InvoiceDate": ["2009-12-01 07:45:00", "2009-12-01 10:33:00", "2009-12-01 07:46:00", "2010-12-01 09:06:00"],
        "Price": [6.95, 6.95, 2.1, 6.95],
        "Customer ID": [13085.0, 13085.0, None, 13078.0],
        "Country": ["United Kingdom"] * 4,
    }
    (tmp_path / "original").mkdir()
    pl.DataFrame(rows).write_parquet(tmp_path / "original" / "online_retail.parquet")
    this = card("uci-online-retail-ii")
    data = parse(this, this.sources[0], tmp_path)
    assert data.users == ["13078", "13085"]
    assert [title.strip() for title in data.items.titles] == ["GLASS BALL"]
    assert data.interactions.frame["time"].to_list() == [1291194360, 1259653500]


def test_the_card_of_steam_reads_names_with_quotation_marks(tmp_path):
    (tmp_path / "steam").mkdir()
    (tmp_path / "steam" / "game_purchase.dat").write_text(
        "User_ID\tGame_ID\tPurchase\n1\t1\t1.0\n1\t2\t1.0\n2\t1\t1.0\n"
    )
    (tmp_path / "steam" / "item_info.dat").write_text('Game_ID\tGame Name\n1\tA "Game"\n2\tOther\n')
    this = card("steam")
    data = parse(this, this.sources[1], tmp_path)
    assert data.items.titles == ['A "Game"', "Other"]
    assert len(data.interactions) == 3


# --- Text, whoever wrote it ---


def test_texts_lose_the_marks_of_the_web():
    fields = pl.DataFrame(
        {
            "raw_id": ["&amp; 1", "2"],
            "title": [" Soap &amp; Glory\n\t500ml &#8211; new ", "A & B; C"],
            "categories": [["Bath &amp; Body", "Men"], []],
        }
    )
    assert catalogue.tidied(fields).rows() == [
        ("&amp; 1", "Soap & Glory 500ml – new", ["Bath & Body", "Men"]),  # noqa: RUF001
        ("2", "A & B; C", []),
    ]
