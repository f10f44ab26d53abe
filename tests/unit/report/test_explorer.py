"""The explorer: histories, held-out items and lists as they are stored, and nothing of them where others might look."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from llmrec.cli.site import site as command
from llmrec.data import load
from llmrec.discover import import_method
from llmrec.errors import UserError
from llmrec.provenance import machine_class
from llmrec.records import Record, write_record
from llmrec.results import run_folder
from llmrec.site.catalogue import survey
from llmrec.site.explorer import cases, everyone, galleries
from llmrec.site.explorer_ratings import held_out, highest
from llmrec.split import make_split
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.suite import load_suite
from llmrec.tasks import implementation
from llmrec.types import NO_ITEM

TITLES = ["</script><b>", "A & B", '"quoted"', "语言的故事", "it's", "plain", "a\\b", "eight"]
CARD = """
title = "Odd shop"
time = "exact"
redistributable = {may}
[[sources]]
interactions = {{ path = "orders.csv", columns = {{ user = "u", item = "i", time = "t" }} }}
items = {{ path = "products.jsonl", columns = {{ raw_id = "id", title = "name" }} }}
"""
SUITE = """
datasets = ["odd"]
seeds = [0]
[[methods]]
name = "popularity"
[[methods]]
name = "markov"
[[methods]]
name = "ease"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of odd titles, and the records and answers of two of three rows."""
    tmp_path = tmp_path_factory.mktemp("made")
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "odd.toml").write_text(CARD.format(may="false"))
    events = [(u, (u + n) % 8, n) for u in range(12) for n in range(5)]
    (cards / "orders.csv").write_text("u,i,t\n" + "".join(f"u{u + 10},p{i},{1000 * u + n}\n" for u, i, n in events))
    items = [{"id": f"p{n}", "name": title} for n, title in enumerate(TITLES)]
    (cards / "products.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (tmp_path / "odd-suite.toml").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMREC_DATASETS", str(cards))
        patch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
        for planned in load_suite(tmp_path / "odd-suite.toml").runs(("popularity", "markov")):
            answer(planned, tmp_path / "results")
    return tmp_path


@pytest.fixture
def shop(made, tmp_path, monkeypatch):
    """A copy of it that a test may spoil."""
    folder = tmp_path / "shop"
    shutil.copytree(made, folder)
    monkeypatch.setenv("LLMREC_DATASETS", str(folder / "cards"))
    monkeypatch.setenv("LLMREC_CACHE", str(folder / "cache"))
    return folder


def answer(planned, root):
    """Do a run here and now, and store what a worker would."""
    dataset = load(planned.spec.dataset)
    split, items = make_split(dataset, planned.spec.protocol, "topn")
    method = import_method(planned.file)()
    method.fit(split, None)
    task = implementation("topn")
    answers = task.answer(method, split, "test")
    machine = machine_class(planned.file)
    folder = run_folder(planned.spec.run_id, machine, root)
    folder.mkdir(parents=True)
    prints = task.write(answers, split, folder)
    measures = task.measure(answers, split, items, None)
    code = code_fingerprint(planned.file, planned.spec.dataset)
    prints |= {"data": dataset.fingerprint, "split": split.fingerprint, "code": code}
    record = Record(
        run_id=planned.spec.run_id, machine_class=machine, spec=planned.spec, family=planned.file.family, status="ok",
        metrics=measures.metrics, fingerprints={**prints, "evaluation": evaluation_fingerprint()},
    )  # fmt: skip
    write_record(record, folder)


def gallery_of(shop):
    (found,), refused = galleries(survey([str(shop / "odd-suite.toml")], shop / "results").boards)
    assert refused == []
    return found


def explore(shop, users=2000):
    command([str(shop / "odd-suite.toml")], shop / "web", True, users, None, None, shop / "results")


def data_of(folder, name):
    """What one of the scripts of data hands over."""
    text = (folder / name).read_text("utf-8")
    return json.loads(re.fullmatch(r"explorer\.\w+\((.*?)(, \d+)?\);\n", text).group(1))


def test_cases_are_what_is_stored(shop):
    gallery = gallery_of(shop)
    split, _ = make_split(load("odd"), gallery.board.protocol, "topn")
    assert gallery.questions.names == [f"user u{n + 10}" for n in range(12)]
    targets, known = split.targets("test"), split.known("test").histories
    shown = list(cases(gallery, everyone(gallery, 100)))
    for row, case in enumerate(shown):
        assert case["h"] == known[targets.users[row]][::-1].tolist() and case["n"] == 4
        assert case["t"] == targets.items[targets.indptr[row] : targets.indptr[row + 1]].tolist()
        for listed, one in zip(case["l"], gallery.answered, strict=True):
            assert not set(listed) & set(case["h"])  # the history is masked
            place = listed.index(case["t"][0]) + 1 if case["t"][0] in listed else 0
            assert place <= one.best[row]  # ties count against the target, so its rank may be worse than its place
    assert sorted(gallery.titles) == sorted(TITLES)
    assert [one.name for one in gallery.missing] == ["ease"]
    assert "llmrec run" in gallery.missing[0].command and "--results my-results" in gallery.missing[0].command


def test_ratings_are_shown_beside_predictions():
    users, items = np.array([3, 3, 3, 7], np.int32), np.array([5, 1, 2, 0], np.int32)
    given = np.array([2.0, 5.0, 5.0, 3.0])
    who, relevant, ratings = held_out(users, items, given, 8)
    assert who.tolist() == [3, 7] and [relevant[0].tolist(), relevant[1].tolist()] == [[1, 2, 5], [0]]
    assert ratings == [[5.0, 5.0, 2.0], [3.0]]
    found = highest(users, items, given, np.array([4.0, 3.0, 4.5, 3.0]), 2)
    assert found.items.tolist() == [[2, 5], [0, NO_ITEM]] and found.values.tolist() == [[4.5, 4.0], [3.0, 0.0]]
    assert found.off.tolist() == [pytest.approx(((4 + 4 + 0.25) / 3) ** 0.5), 0.0]


def test_what_may_not_be_passed_on_lies_apart_and_says_so(shop, capsys):
    explore(shop)
    assert "local only, do not publish" in capsys.readouterr().out
    assert not (shop / "web-explorer").exists() and not (shop / "web").exists()
    for page in (shop / "web-local").rglob("*.html"):
        assert "Local only, do not publish" in page.read_text("utf-8")
    card = shop / "cards" / "odd.toml"
    card.write_text(card.read_text().replace("redistributable = false", "redistributable = true"))
    explore(shop)
    for page in (shop / "web-explorer").rglob("*.html"):
        assert "do not publish" not in page.read_text("utf-8")


def test_a_part_of_the_users_is_evenly_spread(shop):
    explore(shop, users=3)
    folder = next(path for path in (shop / "web-local").iterdir() if path.name.startswith("topn"))
    overview = data_of(folder, "overview.js")
    assert overview["names"] == ["user u10", "user u16", "user u21"]
    assert "3 of 12 users" in (folder / "index.html").read_text("utf-8")
    titles = data_of(folder, "items.js")
    assert set(titles) <= set(TITLES) and "<" not in (folder / "items.js").read_text("utf-8")
    assert len(data_of(folder, "part-0.js")) == 3


def test_without_answers_it_says_what_makes_them(shop):
    for path in (shop / "results").rglob("answers.parquet"):
        path.unlink()
    with pytest.raises(
        UserError, match=r"nothing to explore.*no answers are here.*llmrec run .*-m popularity.*my-results"
    ):
        explore(shop)
    assert not (shop / "web-local").exists()


def test_answers_of_another_run_are_not_shown(shop):
    first, second = sorted((shop / "results").rglob("answers.parquet"))
    first.write_bytes(second.read_bytes())
    gallery = gallery_of(shop)
    assert len(gallery.answered) == 1
    assert any("not those of its record" in one.why for one in gallery.missing)


def test_in_a_browser_a_user_is_picked_and_hits_are_marked(shop, browser):
    explore(shop)
    folder = next(path for path in (shop / "web-local").iterdir() if path.name.startswith("topn"))
    overview, titles = data_of(folder, "overview.js"), data_of(folder, "items.js")
    page, wrong = browser.quiet_page()
    page.goto((folder / "index.html").as_uri())
    page.locator("#case").wait_for()
    assert page.locator("#name").text_content() == "user u10"
    page.get_by_label("User").fill("u17")
    page.keyboard.press("Enter")
    assert page.locator("#name").text_content() == "user u17"
    case = data_of(folder, "part-0.js")[7]
    assert page.locator("#history li").all_text_contents() == [titles[item] for item in case["h"]]
    hits = page.locator("#lists .hit").all_text_contents()
    assert hits == [f"✓ {titles[item]}" for some in case["l"] for item in some if item in case["t"]]
    page.get_by_label("Hit by").select_option("1")
    page.get_by_label("Missed by").select_option("0")
    wanted = sum(hits[1] == "1" and hits[0] == "0" for hits in overview["hits"])
    assert page.locator("#count").text_content() == f"{wanted} of 12"
    assert wrong == []


def test_the_real_data_are_explored_without_copies_in_the_checkout():
    ignored = (Path(__file__).resolve().parents[3] / ".gitignore").read_text().splitlines()
    assert {"/site/", "/site-local/", "/site-explorer/"} <= set(ignored)
