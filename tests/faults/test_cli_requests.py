"""Requests made of tags, and requests from a file, to the table through the real command line; and what goes wrong."""

import json

import polars as pl
import pytest

CARD = """
title = "Tools and animals"
language = "en"
time = "order"
item_text = ["{title}", "Kind: {kind}"]

[requests]
rule = "neighbours"
field = "FIELD"
min_items = 3
max_share = 0.6
templates = ["looking for {}"]

[[sources]]
interactions = { path = "events.csv", separator = ",", columns = { user = "user", item = "item" } }
items = { path = "items.csv", separator = ",", columns = { raw_id = "item", title = "title", kind = "kind" } }
tags = { path = "tags.csv", separator = ",", columns = { user = "user", item = "item", text = "tag" } }
"""
SUITE = """
task = "request"
datasets = ["shop"]
seeds = [0]
[protocol]
name = "requests"
[[methods]]
name = "popularity"
[[methods]]
name = "tfidf"
[[methods]]
name = "tfidf"
label = "leak"
control = true
protocol = { withhold = false }
"""
GROUPS = [["heavy", "iron", "workshop"], ["furry", "purring", "whiskers"], ["sharp", "blade", "kitchen"],
          ["barking", "leash", "loyal"], ["wooden", "handle", "carpenter"], ["feathered", "beak", "wings"]]  # fmt: skip
BROKEN = """
from dataclasses import dataclass
import numpy as np

@dataclass
class Broken:
    \"\"\"Finds the same item twice.\"\"\"

    def fit(self, split, ctx):
        ctx.rng("sampling")
        self.item = int(np.flatnonzero(split.candidates)[0])

    def search(self, texts, k):
        return np.full((len(texts), 2), self.item), np.zeros((len(texts), 2))
"""


@pytest.fixture
def shop(llmrec):
    """Six groups of five items with three tags each; five more items have none."""
    cards = llmrec.folder / "cards"
    cards.mkdir()
    items = [f"i{n},thing number {n},{'tool' if n // 5 % 2 == 0 else 'animal'}" for n in range(35)]
    events = [f"u{user},i{(user * 7 + step) % 35}" for user in range(12) for step in range(5)]
    tags = [
        f"u{u},i{5 * g + n},{tag}" for g, group in enumerate(GROUPS) for tag in group for n in range(5) for u in (1, 2)
    ]
    write = {
        "items.csv": ["item,title,kind", *items],
        "events.csv": ["user,item", *events],
        "tags.csv": ["user,item,tag", *tags],
    }
    for name, lines in write.items():
        (cards / name).write_text("\n".join(lines) + "\n")
    (cards / "shop.toml").write_text(CARD.replace("FIELD", "tags"))
    llmrec.environment |= {"LLMREC_DATASETS": str(cards), "LLMREC_CACHE": str(llmrec.folder / "cache")}
    (llmrec.folder / "ask.toml").write_text(SUITE)
    return llmrec


def records(results):
    found = [json.loads(file.read_text()) | {"folder": file.parent} for file in results.rglob("record.json")]
    return {("leak" if not r["spec"]["protocol"]["withhold"] else r["spec"]["method"]): r for r in found}


def test_from_tags_to_the_table_and_measured_again(shop):
    done = shop("run", "ask.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    by_row = records(shop.results)
    leak, withheld = by_row["leak"], by_row["tfidf"]
    assert leak["slices"]["requests:shares words"]["ndcg@10"] == 1.0  # whoever reads the labels copies them
    assert leak["slices"]["requests:shares no word"]["ndcg@10"] == 1.0  # neighbours stand on the same items
    assert withheld["metrics"]["ndcg@10"] == 0.0 and withheld["counts"]["unanswered"] == withheld["counts"]["requests"]
    assert leak["counts"]["candidates"] == 30
    halves = [by_row["leak"]["slices"][f"requests:{kind}"]["requests"] for kind in ("shares words", "shares no word")]
    assert halves[0] == halves[1] == leak["counts"]["requests"] / 2
    assert len(leak["fingerprints"]["generator"]) == 64
    assert withheld["fingerprints"]["split"] != leak["fingerprints"]["split"]
    assert withheld["fingerprints"]["data"] == leak["fingerprints"]["data"]
    assert set(leak["metrics"]) == {
        *(f"{name}@{k}" for name in ("ndcg", "precision", "recall") for k in (5, 10, 20)), "valid/ndcg@10",
    }  # fmt: skip
    units = pl.read_parquet(leak["folder"] / "units.parquet")
    assert units["kind"].n_unique() == 2 and set(units["targets"]) == {5}

    (leak["folder"] / "record.json").write_text(
        json.dumps({k: v for k, v in leak.items() if k != "folder"} | {"metrics": {"ndcg@10": 0.5}})
    )
    again = shop("reeval", "ask.toml")
    assert again.returncode == 0, again.stdout + again.stderr
    mended = records(shop.results)["leak"]["metrics"]
    assert mended == {name: value for name, value in leak["metrics"].items() if not name.startswith("valid/")}


def test_requests_from_a_file(shop):
    cards = shop.folder / "cards"
    asks = [
        ("a thing to build with", ["i0", "i1"], "valid"),
        ("thing number 7", ["i7"], "test"),
        ("pets", ["i5"], "test"),
    ]
    lines = [{"text": t, "items": i, "kind": "by hand", "field": "kind", "part": p} for t, i, p in asks]
    (cards / "asks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    columns = "columns = { text = 'text', items = 'items', kind = 'kind', field = 'field', part = 'part' }"
    (cards / "shop.toml").write_text(without_rule() + f'requests = {{ path = "asks.jsonl", {columns} }}\n')
    done = shop("run", "ask.toml", "-m", "tfidf")
    assert done.returncode == 0, done.stdout + done.stderr
    record = records(shop.results)["tfidf"]
    assert record["counts"]["requests"] == 2 and record["counts"]["candidates"] == 4
    assert record["slices"]["requests:by hand"]["recall@10"] == 0.5 and "generator" not in record["fingerprints"]


def test_what_goes_wrong_is_one_message(shop):
    card = shop.folder / "cards" / "shop.toml"
    (shop.folder / "mine").mkdir()
    (shop.folder / "mine" / "broken.py").write_text(BROKEN)
    (shop.folder / "broken.toml").write_text(SUITE + '[[methods]]\nname = "broken"\n')
    done = shop("run", "broken.toml", "--methods", "mine", "-m", "broken")
    assert done.returncode == 1 and "stands twice in the list" in records(shop.results)["broken"]["error"]
    assert "for the request 'looking for " in records(shop.results)["broken"]["error"]

    suite = shop.folder / "ask.toml"
    suite.write_text(SUITE.replace('name = "popularity"', 'name = "ease"'))
    shop.refuses("run", suite, says=["ease", "request", "search"])
    suite.write_text(SUITE)
    card.write_text(CARD.replace("FIELD", "tags").replace('rule = "neighbours"', 'rule = "table"'))
    shop.refuses("run", suite, says=["shop.toml", "requests", "rule = 'table' needs words"])
    card.write_text(CARD.replace("FIELD", "colour"))
    assert "makes labels of the field 'colour'" in said(shop("run", suite, "--retry", "-m", "popularity"))
    card.write_text(CARD.replace("FIELD", "tags").replace("min_items = 3", "min_items = 30"))
    assert "there are no requests in the part 'valid'. Lower min_votes" in said(
        shop("run", suite, "--retry", "-m", "popularity")
    )
    card.write_text(without_rule())
    assert "does not admit the protocol 'requests'" in said(shop("run", suite, "--retry", "-m", "popularity"))


def without_rule():
    before, rest = CARD.split("[requests]")
    return before + "[[sources]]" + rest.split("[[sources]]")[1]


def said(done):
    """What a run printed of data that cannot be had; its rows are skipped."""
    assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr
    return done.stdout + done.stderr
