"""Requests made by rule: words, labels and their votes, both halves, parts, tables, the generator's fingerprint."""

from types import SimpleNamespace

import polars as pl
import pytest
from pydantic import ValidationError

from llmrec.content import content_root
from llmrec.data import load
from llmrec.data.requests import RequestRule, fingerprint, make_requests, readable
from llmrec.data.requests import tables as tables_module
from llmrec.data.requests.labels import read_labels, votes
from llmrec.data.requests.make import OTHER, SAME, part_of
from llmrec.data.requests.tables import read_table
from llmrec.data.requests.words import content_words, share_a_word, words
from llmrec.errors import UserError
from llmrec.records import Protocol
from llmrec.split import make_split

MADE = ["ml-latest-small", "hetrec2011-lastfm-2k", "ml-100k", "mind-mini", "mind-mini-zh"]
"""Datasets whose cards have requests made."""


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("robots", "a robotic arm"), ("Sci-Fi", "sci fi"), ("rock", "rockabilly"), ("pop", "synthpop night"),
        ("Children's", "children"), ("comedy", "a comedian"), ("體育", "體操"), ("café", "Café society"),
    ],
)  # fmt: skip
def test_shared_words(a, b):
    assert share_a_word(a, b) and share_a_word(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("psychology", "psychedelic"),
        ("something for me", "for you, something"),
        ("我想看體育", "我想看天氣"),
        ("war", ""),
    ],
)
def test_no_shared_words(a, b):
    assert not share_a_word(a, b)


def test_words_of_a_text():
    assert words("Film-Noir: the 1940s, Rock\u2019n\u2019Roll") == ["film", "noir", "the", "1940", "rocknroll"]
    assert content_words("a film about 太空") == ["film", "太", "空"]


def tags(*rows):
    return pl.DataFrame(rows, schema={"user": pl.Int32, "item": pl.Int32, "text": pl.String}, orient="row")


def rule(**more):
    return RequestRule(**{"rule": "neighbours", "min_items": 2, "max_share": 1.0, **more})


def test_a_user_has_one_vote_in_whatever_spelling():
    given = tags(
        (1, 0, "Hip-Hop"), (1, 0, "hip hop "), (2, 0, "hip hop"), (1, 1, "hip hop"), (3, 1, "!!!"), (3, 2, "of the")
    )
    once = read_labels(rule(), 3, votes(rule(), 3, given, None))
    assert {name: items.tolist() for name, items in once.items.items()} == {"hip hop": [0, 1]}
    assert once.said == {"hip hop": "hip hop"} and once.labelled.tolist() == [True, True, False]
    twice = read_labels(rule(min_votes=2), 3, votes(rule(), 3, given, None))
    assert twice.items["hip hop"].tolist() == [0]


def test_labels_that_are_too_rare_too_common_or_ignored():
    given = tags(*((1, item, "everywhere") for item in range(10)), (1, 0, "once"), (1, 1, "mine"), (1, 2, "mine"))
    chosen = rule(max_share=0.9, ignore=["Mine"])
    labels = read_labels(chosen, 12, votes(chosen, 12, given, None))
    assert labels.asked_for(chosen) == [] and set(labels.items) == {"everywhere", "once"}
    assert read_labels(rule(), 12, votes(rule(), 12, given, None)).asked_for(rule()) == ["everywhere", "mine"]


GROUPS = [["noir", "private eye", "shadows"], ["space", "planets", "astronaut"], ["wedding", "bride", "veil"],
          ["boxing", "gloves", "ring"], ["chess", "knight", "pawn"], ["whale", "harpoon", "ocean"]]  # fmt: skip


def in_groups():
    """Six groups of five items; everything in a group carries the group's three labels."""
    rows = [
        (user, 5 * g + i, word) for g, group in enumerate(GROUPS) for word in group for i in range(5) for user in (1, 2)
    ]
    return tags(*rows), 30


def test_neighbours_stand_for_a_label():
    given, n = in_groups()
    made = make_requests("by-hand", rule(templates=["films: {}", "a film with {}"]), n, given, None)
    of = {(row["label"], row["kind"]): row for row in made.to_dicts()}
    assert len(made) == 36 and made["text"].n_unique() == 36
    assert {"planet", "astronaut"} == set(words(of["space", OTHER]["text"])) - {"film", "with", "a"}
    assert of["space", SAME]["text"] in ("films: space", "a film with space")
    assert of["space", SAME]["items"] == of["space", OTHER]["items"] == [5, 6, 7, 8, 9]


def check_halves(made):
    """Half of the requests share no content word with the label, the others have all of its words (or its name's)."""
    halves = made.group_by("label").agg(pl.col("kind").sort(), pl.col("part").n_unique(), pl.col("items").n_unique())
    assert set(map(tuple, halves["kind"])) == {(OTHER, SAME)}
    assert halves["part"].unique().to_list() == [1] == halves["items"].unique().to_list()
    for row in made.filter(pl.col("kind") == OTHER).to_dicts():
        assert not share_a_word(row["text"], row["label"].replace("&", " ")), row
    single = {part: set() for part in ("valid", "test")}
    for row in made.to_dicts():
        single[row["part"]] |= set(row["label"].split(" & "))
    assert not single["valid"] & single["test"]


def test_halves_parts_and_order_of_rows():
    given, n = in_groups()
    made = make_requests("by-hand", rule(), n, given, None)
    check_halves(made)
    assert made.equals(make_requests("by-hand", rule(), n, given.sample(fraction=1, shuffle=True, seed=3), None))
    assert all(row["part"] == part_of((row["label"],)) for row in made.to_dicts())


def test_the_same_request_is_not_made_twice():
    twins = tags(*((u, item, word) for word in ("ship", "vessel") for item in range(4) for u in (1, 2)),
                 *((u, item, word) for word in ("sea", "wave") for item in range(4) for u in (1, 2)))  # fmt: skip
    made = make_requests("by-hand", rule(), 4, twins, None)
    assert made["text"].is_unique().all()
    check_halves(made)


@pytest.mark.parametrize("field", ["categories", "topic"])
def test_a_field_of_the_items_with_a_table_and_pairs(field):
    genres = [["Sci-Fi", "War"], ["Sci-Fi"], ["War", "Sci-Fi"], ["Western"], ["Western", "War"], ["Comedy"]] * 3
    of = pl.Series(genres, dtype=pl.List(pl.String)) if field == "categories" else pl.Series([g[0] for g in genres])
    fields = pl.DataFrame({"title": ["x"] * 18}).with_columns(of.alias(field))
    chosen = RequestRule(rule="table", field=field, words="film-genres", pairs=True, max_share=1.0, min_items=3)
    made = make_requests("by-hand", chosen, 18, None, fields)
    check_halves(made)
    asked = set(made["label"])
    assert {"comedy", "western", "sci fi"} <= asked and (field == "topic") == (not any("&" in label for label in asked))
    for row in made.to_dicts():  # both labels of a pair are on the items
        carried = [
            {" ".join(words(g)) for g in ([genres[i][0]] if field == "topic" else genres[i])} for i in row["items"]
        ]
        assert all(set(row["label"].split(" & ")) <= some for some in carried)
    names = " ".join(read_table(content_root() / "datasets" / "words" / "film-genres.toml").labels)
    for text in made.filter(pl.col("kind") == OTHER)["text"]:
        assert not share_a_word(text, names), "no word of the whole field"


def test_what_cannot_be_made():
    given, n = in_groups()
    with pytest.raises(UserError, match=r"by-hand: .*field 'genre', which its items do not have. Known: title, tags"):
        make_requests("by-hand", rule(field="genre"), n, given, pl.DataFrame({"title": ["x"] * n}))
    assert len(make_requests("by-hand", rule(min_items=6), n, given, None)) == 0  # the protocol has an error for it
    with pytest.raises(UserError, match=r"film-genre\.toml: no such table of words. Did you mean 'film-genres'"):
        make_requests("by-hand", rule(rule="table", words="film-genre"), n, given, None)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"rule": "table"}, "rule = 'table' needs words"), ({"words": "film-tags"}, "rule = 'table' needs words"),
        ({"pairs": True}, "pairs = true needs"), ({"templates": ["films"]}, "every template holds {} once"),
        ({"min_items": 0}, "greater than or equal to 1"), ({"rules": 1}, "Extra inputs"),
    ],
)  # fmt: skip
def test_rules_that_make_no_sense(more, said):
    with pytest.raises(ValidationError, match=said):
        rule(**more)


TABLE = """
language = "en"
apart = "{apart}"
named = ["{{}} films"]
described = ["a film {{}}"]
and_named = " "
and_described = " and "
[labels]
"space".other = "set on another {word}"
"planets" = {{ name = "worlds", other = "about a spaceman" }}
"""


@pytest.mark.parametrize(
    ("apart", "word", "said"),
    [
        ("label", "spacecraft", r"labels.space.other': .* shares a word with the label 'space'"),
        ("field", "star", r"labels.planets.other': 'about a spaceman' shares a word with the label 'space'"),
        ("field", "world", r"labels.space.other': .* shares a word with the label 'planets' \('worlds'\)"),
        ("labels", "star", r"key 'apart'"),
        ("field", '"', "not valid TOML"),
    ],
)
def test_a_table_that_shares_words_with_labels_is_refused(tmp_path, apart, word, said):
    path = tmp_path / "words.toml"
    path.write_text(TABLE.format(apart=apart, word=word), "utf-8")
    with pytest.raises(UserError, match=said) as error:
        read_table(path)
    assert str(path) in str(error.value)


def test_tables_of_the_suite():
    found = sorted((content_root() / "datasets" / "words").glob("*.toml"))
    assert len(found) == 5
    for path in found:
        table = read_table(path)
        assert len(table.of()) == len({" ".join(words(label)) for label in table.labels}), f"{path}: a label twice"


def test_the_generators_fingerprint(tmp_path, monkeypatch):
    first = fingerprint(rule())
    assert first == fingerprint(rule()) != fingerprint(rule(min_items=3))
    (tmp_path / "datasets" / "words").mkdir(parents=True)
    monkeypatch.setattr(tables_module, "content_root", lambda: tmp_path)
    path = tmp_path / "datasets" / "words" / "small.toml"
    path.write_text(TABLE.format(apart="label", word="star"), "utf-8")
    before = fingerprint(rule(rule="table", words="small"))
    path.write_text(TABLE.format(apart="label", word="moon"), "utf-8")
    assert fingerprint(rule(rule="table", words="small")) != before


def test_labels_as_a_text_says_them():
    given = tags((1, 0, "Hip-Hop"), (1, 0, "jazz"), (1, 2, "Jazz"))
    dataset = SimpleNamespace(name="x", items=range(3), tags=given, fields=None, card=SimpleNamespace(requests=rule()))
    texts, labelled = readable(dataset)
    assert texts == ["hip-hop, jazz", "", "jazz"] and labelled.tolist() == [True, False, True]


@pytest.mark.parametrize("name", MADE)
def test_the_datasets_requests(mirror, name, monkeypatch):
    """Of the real data: exact halves without a shared word, no label in both parts, nothing of the withheld field in
    the texts that is not in other fields as well, and no request in other words that gives away one of its answers."""
    monkeypatch.setenv("LLMREC_MIRROR", str(mirror))
    dataset = load(name)
    made = dataset.requests
    check_halves(made)
    assert len(made.filter(pl.col("part") == "test")) >= 60
    titles = [f" {' '.join(words(title))} " for title in dataset.fields["title"]]
    for row in made.filter(pl.col("kind") == OTHER).to_dicts():
        text = f" {' '.join(words(row['text']))} "
        assert not [titles[i] for i in row["items"] if len(titles[i]) > 5 and titles[i] in text], row

    split, items = make_split(dataset, Protocol(name="requests"), "request")
    leaking, readable_items = make_split(dataset, Protocol(name="requests", withhold=False), "request")
    withheld = dataset.card.requests.withheld
    others = [field for field in dataset.fields.columns if field not in (*withheld, "raw_id")]
    rows = dataset.fields.select(others).to_dicts()
    labels = readable(dataset)[0]
    template = {word for part in dataset.card.item_text for word in words(part)}
    lone = 0
    for text, leak, canonical in zip(items.texts, readable_items.texts, split.canonical, strict=True):
        said = {
            word
            for value in rows[canonical].values()
            for word in words(value if isinstance(value, str) else ", ".join(value))
        }
        assert set(words(text)) <= said | template
        assert labels[canonical] in leak
        lone += len(set(words(labels[canonical])) - said)
    assert lone > 100  # the labels say something that no other field does
    assert leaking.fingerprint != split.fingerprint
    assert [bool(labels[canonical]) for canonical in split.canonical] == split.candidates.tolist()
    if "categories" in withheld:
        assert not any(items.categories)
