"""Impressions from files in MIND's own format to the table, through the real command line, and what goes wrong."""

import json

import numpy as np
import polars as pl
import pytest

CARD = """
title = "Two kinds of news"
language = "en"
time = "order"
item_text = ["{title}"]
[[sources]]
reader = "mind"
interactions = { path = "train.tsv" }
impressions = [{ path = "train.tsv" }, { path = "dev.tsv", official = "test" }]
items = { path = "news.tsv" }
"""
SUITE = """
task = "impressions"
datasets = ["paper"]
seeds = [0]
[[methods]]
name = "popularity"
[[methods]]
name = "tfidf"
[[methods]]
name = "first-shown"
control = true
"""
BROKEN = """
from dataclasses import dataclass
import numpy as np

@dataclass
class Broken:
    \"\"\"Has no number for some of what was shown.\"\"\"

    def fit(self, split, ctx):
        ctx.rng("sampling")

    def rerank(self, users, candidates):
        scores = np.zeros(len(candidates.items))
        scores[9] = np.nan
        return scores
"""
USERS, ITEMS = 30, 60
TITLES = ("bread soup and cake for the oven", "goals in the match of the league")


@pytest.fixture
def paper(llmrec):
    """A command line that knows a newspaper: even users read even news; what is shown is new every day."""
    cards = llmrec.folder / "cards"
    cards.mkdir()
    rng = np.random.default_rng(0)

    def rows(days, user_step):
        for number, (day, user) in enumerate((day, user) for day in days for user in range(0, USERS, user_step)):
            history = " ".join(f"N{i}" for i in range(user % 2, 12, 2))
            today = np.arange(12 + 4 * (day - 9), 16 + 4 * (day - 9))
            shown = " ".join(f"N{i}-{int(i % 2 == user % 2)}" for i in rng.permutation(today))
            yield f"{number}\tU{user}\t11/{day}/2019 9:{user % 60:02d}:00 AM\t{history}\t{shown}\n"

    news = (f"N{i}\tnews\tlocal\t{TITLES[i % 2]} {i}\t\thttps://example.org\t[]\t[]\n" for i in range(ITEMS))
    files = {"train.tsv": rows(range(9, 15), 3), "dev.tsv": rows([15], 1), "news.tsv": news, "paper.toml": [CARD]}
    for name, lines in files.items():
        (cards / name).write_text("".join(lines))
    llmrec.environment |= {"LLMREC_DATASETS": str(cards), "LLMREC_CACHE": str(llmrec.folder / "cache")}
    (llmrec.folder / "news.toml").write_text(SUITE)
    return llmrec


def test_from_the_log_to_the_table_and_measured_again(paper):
    done = paper("run", "news.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    folders = {json.loads(f.read_text())["spec"]["method"]: f.parent for f in paper.results.rglob("record.json")}
    records = {name: json.loads((folder / "record.json").read_text()) for name, folder in folders.items()}
    for record in records.values():
        assert record["spec"]["task"] == "impressions" and set(record["metrics"]) == {
            "auc", "mrr", "ndcg@5", "ndcg@10", "valid/auc",
        }  # fmt: skip
        assert record["counts"]["impressions"] == USERS and record["slices"]["items:cold"]["impressions"] == USERS
    assert records["tfidf"]["metrics"]["auc"] == 1.0  # news that nobody clicked before, known by their titles
    assert records["popularity"]["metrics"]["auc"] == 0.5 and records["popularity"]["metrics"]["ndcg@5"] < 0.7
    assert 0.2 < records["first-shown"]["metrics"]["auc"] < 0.8
    assert records["tfidf"]["metrics"]["valid/auc"] == 1.0
    units = pl.read_parquet(folders["tfidf"] / "units.parquet")
    assert units["user"].to_list() == list(range(USERS)) and set(units["shown"]) == {4}

    (folders["tfidf"] / "units.parquet").unlink()
    damaged = records["tfidf"] | {"metrics": {"auc": 0.0}, "slices": {}}
    (folders["tfidf"] / "record.json").write_text(json.dumps(damaged))
    again = paper("reeval", "news.toml")
    assert again.returncode == 0, again.stdout + again.stderr
    mended = json.loads((folders["tfidf"] / "record.json").read_text())
    assert {**mended["metrics"], "valid/auc": 1.0} == records["tfidf"]["metrics"]
    assert mended["slices"] == records["tfidf"]["slices"]
    assert pl.read_parquet(folders["tfidf"] / "units.parquet").equals(units)


def test_a_method_that_gives_no_number_is_told_where(paper):
    (paper.folder / "mine").mkdir()
    (paper.folder / "mine" / "broken.py").write_text(BROKEN)
    (paper.folder / "news.toml").write_text(SUITE + '[[methods]]\nname = "broken"\n')
    done = paper("run", "news.toml", "--methods", "mine", "-m", "broken", "-m", "popularity")
    assert done.returncode == 1
    records = [json.loads(file.read_text()) for file in paper.results.rglob("record.json")]
    by_method = {record["spec"]["method"]: record for record in records}
    assert by_method["popularity"]["status"] == "ok" and by_method["broken"]["status"] == "failed"
    assert "in impression 2 (user " in by_method["broken"]["error"]
    assert "in impression 2 (user " in done.stdout  # the row says why it has no figures


def test_another_task_or_protocol_is_refused_in_one_message(paper):
    suite = paper.folder / "news.toml"
    suite.write_text(SUITE.replace('name = "tfidf"', 'name = "global-mean"'))
    paper.refuses("run", suite, says=["global-mean", "impressions", "rerank or score"])
    suite.write_text(SUITE + '[protocol]\nname = "leave-one-out"\n')
    paper.refuses("run", suite, says=["leave-one-out", "impressions"])
