"""`llmrec datasets` and `datasets show`: data that are here, data that are not, cards with a mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmrec import inventory
from llmrec.cli import main

EVENTS = "user,item,stars,when\n" + "".join(
    f"u{u},{i},{1 + (u + i) % 5},{1000 + i}\n" for u in range(8) for i in range(6)
)
ITEMS = "id,name,kind\n0,太空船,science\n1,Мир,war|peace\n" + "".join(f"{i},Book {i},novel\n" for i in range(2, 7))
CARD = """
title = "Our books"
scenario = "books"
language = "en, zh, ru"
licence = "ours"
commercial = true
time = "exact"
citation = "@misc{ours, title = {Ours}}"
notes = "Made up."
item_text = ["{title}", "Kinds: {categories}"]
filters = { min_value = 2 }
statistics = { users = 8, items = 7, interactions = 39, loans = 4 }
[[sources]]
interactions = { path = "events.csv", columns = { user = "user", item = "item", value = "stars", time = "when" } }
items = { path = "items.csv", columns = { raw_id = "id", title = "name", categories = "kind" } }
"""
ELSEWHERE = f"""
title = "Elsewhere"
time = "order"
home = "https://example.org/elsewhere"
statistics = {{ users = 5 }}
[[sources]]
address = "mirror"
interactions = {{ path = "plain/events.tsv", sha256 = "{"0" * 64}" }}
"""
FAMILY = """
parameter = "kind"
values = ["a", "b", "c"]
title = "Family, {kind}"
time = "order"
[[sources]]
address = "http://127.0.0.1:9/{kind}.csv"
sha256 = "unpublished"
interactions = { path = "{kind}.csv" }
[each.b]
statistics = { users = 7 }
"""


class Shown:
    def __init__(self, cards: Path, monkeypatch, capsys) -> None:
        self.cards, self.monkeypatch, self.capsys = cards, monkeypatch, capsys

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        """What the command prints, in this process; with ``fails`` its one message."""
        self.monkeypatch.setattr(sys, "argv", ["llmrec", *arguments])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self.capsys.readouterr()
        assert (end.value.code or 0) == (2 if fails else 0), err
        if fails:
            assert err.startswith("error: ") and err.count("\n") == 1 and out == ""
        return err if fails else out

    def json(self, *arguments: str):
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    cards = tmp_path / "cards"
    cards.mkdir()
    for name, text in {
        "books.toml": CARD, "events.csv": EVENTS, "items.csv": ITEMS, "elsewhere.toml": ELSEWHERE,
        "family.toml": FAMILY, "wrong.toml": CARD.replace("licence", "license"),
    }.items():  # fmt: skip
        (cards / name).write_text(text)
    monkeypatch.setenv("LLMREC_DATASETS", str(cards))
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LLMREC_MIRROR", raising=False)
    monkeypatch.chdir(cards)
    return Shown(cards, monkeypatch, capsys)


def row(output: str, name: str) -> str:
    (line,) = (line for line in output.splitlines() if line.split()[:1] == [name])
    return re.sub(" {2,}", "|", line)


def test_the_list(shown):
    output = shown("datasets")
    assert row(output, "books") == "books|8|7|39|books|exact|beside|ours|temporal, leave-one-out"
    assert row(output, "elsewhere").startswith("elsewhere|5|not stated|order|no|")
    assert "download" in row(output, "family:...") and "family:... (3)" in output
    assert "wrong.toml: key 'license'" in row(output, "wrong") and "Did you mean 'licence'" in row(output, "wrong")
    assert row(output, "ml-100k").startswith("ml-100k|943|1,682|100,000|movies|exact|")
    assert shown("list", "datasets") == output
    assert shown.json("datasets")[0].keys() >= {"name", "here", "licence", "users", "protocols"}


def test_members_of_a_family(shown, tmp_path, monkeypatch):
    assert "family:b  7" in re.sub(" {2,}", "  ", shown("datasets", "--all"))
    (tmp_path / "mirror" / "family-c").mkdir(parents=True)
    (tmp_path / "mirror" / "family-c" / "c.csv").write_text("user,item\n1,2\n")
    monkeypatch.setenv("LLMREC_MIRROR", str(tmp_path / "mirror"))
    output = shown("datasets")
    assert "mirror" in row(output, "family:c") and "family:... (2)" in output
    assert "Family, b" in shown("datasets", "show", "family:b")


def test_measured_beside_published(shown):
    found = shown.json("datasets", "show", "books")
    rows = {row["name"]: row for row in found["statistics"]}
    kept = sum(1 + (u + i) % 5 >= 2 for u in range(8) for i in range(6))
    assert rows["interactions"] == {
        "name": "interactions", "published": 39, "measured": kept, "agrees": kept == 39,
    } and kept != 39  # fmt: skip
    assert rows["users"]["agrees"] is True and rows["items"]["agrees"] is True
    assert rows["loans"] == {"name": "loans", "published": 4, "measured": None, "agrees": None}
    assert (rows["clicked"]["measured"], rows["categories"]["measured"]) == (6, 4)
    assert [step["interactions"] for step in found["steps"]] == [48, kept]
    assert found["times"]["first"] == "1970-01-01 00:16:40" and re.fullmatch("[0-9a-f]{64}", found["fingerprint"])
    assert found["texts"]["scripts"].keys() == {"Latin", "Han", "Cyrillic"}
    assert len(found["examples"]) == 5 and found["examples"][1]["text"] == "Book 2. Kinds: novel"
    assert found["examples"][0] == {
        "raw_id": "0", "title": "太空船", "text": "太空船. Kinds: science", "categories": ["science"],
    }  # fmt: skip


def test_the_sheet_in_words(shown):
    output = shown("datasets", "show", "books")
    for said in (
        "commercial use         allowed", "passing copies on      not stated", "filters                min_value = 2.0",
        "≠ differs by -1", "not measured", "Book 6", "@misc{ours", "Made up.", "1970-01-01 00:16:40 to",
        "local (events.csv, items.csv; here: beside its card)",
    ):  # fmt: skip
        assert said in output, output
    assert re.search(r"users +8 +8 +=", output)


def test_what_is_not_here_is_shown_without_measurement(shown, tmp_path):
    output = shown("datasets", "show", "elsewhere")
    assert "Set LLMREC_MIRROR to a folder that holds elsewhere/plain/events.tsv" in output
    assert re.search(r"users +5 +not measured", output)
    found = shown.json("datasets", "show", "elsewhere")
    assert found["fingerprint"] is found["examples"] is None and found["here"] == "nowhere"
    output = shown("datasets", "show", "family:a")
    assert "`llmrec fetch family:a` gets them" in output and "no checksum is published for a.csv" in output
    assert not (tmp_path / "cache").exists(), "nothing was downloaded, nothing was written"


def test_what_was_parsed_is_shown_though_its_files_are_gone(shown, monkeypatch, tmp_path):
    plain = tmp_path / "mirror" / "elsewhere" / "plain"
    plain.mkdir(parents=True)
    (plain / "events.tsv").write_text("user\titem\n1\t2\n1\t3\n")
    card = shown.cards / "elsewhere.toml"
    card.write_text(
        ELSEWHERE.replace('sha256 = "' + "0" * 64, 'columns = { user = "user", item = "item" }, sha256 = "unpublished')
    )
    monkeypatch.setenv("LLMREC_MIRROR", str(tmp_path / "mirror"))
    here = shown.json("datasets", "show", "elsewhere")
    (plain / "events.tsv").unlink()
    gone = shown.json("datasets", "show", "elsewhere")
    assert here["fingerprint"] and gone["fingerprint"] == here["fingerprint"] and gone["here"] == "nowhere"


def test_mistakes(shown):
    assert "Did you mean 'books'?" in shown("datasets", "show", "bookz", fails=True)
    assert "a, b, c" in shown("datasets", "show", "family", fails=True)
    assert "key 'license'" in shown("datasets", "show", "wrong", fails=True)
    (shown.cards / "events.csv").write_text(EVENTS.replace(",1000\n", ",soon\n", 1))
    message = shown("datasets", "show", "books", fails=True)
    assert "events.csv" in message and "'soon'" in message and "number" in message
    assert "no such folder" in shown("datasets", "--datasets", "nowhere", fails=True)


def test_a_folder_of_cards_by_option(shown, monkeypatch):
    monkeypatch.setenv("LLMREC_DATASETS", "")
    assert "Our books" in shown("datasets", "show", "books", "--datasets", str(shown.cards))


@pytest.mark.parametrize("command", [["datasets"], ["datasets", "show"], ["fetch"]])
def test_help_teaches_by_example(shown, command):
    assert f"`llmrec {' '.join(command)}" in re.sub(r"\s+", " ", shown(*command, "--help"))


def test_every_card_can_be_listed_and_shown_without_its_data(shown):
    """Cards of the suite itself; a family is shown by its first member."""
    problems = [facts for facts in inventory.dataset_facts(every=True) if "problem" in facts]
    assert [facts["name"] for facts in problems] == ["wrong"], problems


def test_help_starts_at_once():
    """Nothing heavy is imported for it. In CPU seconds, the best of three, for the machine may be busy."""
    code = "import sys, llmrec.cli; llmrec.cli.app(); print(*{'polars', 'requests', 'rich'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-P", "-m", "llmrec", "--help"], check=True, capture_output=True)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.5, seconds
