"""Answers from a file meet the same masks, ties and metrics as the method that gave them."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from llmrec.context import Context
from llmrec.data import load
from llmrec.discover import load_method
from llmrec.errors import UserError
from llmrec.evaluate import answer, measure
from llmrec.records import Protocol, read_record
from llmrec.results import external_runs, load_results
from llmrec.scoring import score_file
from llmrec.split import make_split
from llmrec.suite import load_suite

pytestmark = pytest.mark.xdist_group("scoring")  # one process: the fixture that all share is dear

SUITE = """
datasets = ["ml-100k"]
seeds = [0]
[protocol]
name = "leave-one-out"
[[methods]]
name = "item-knn"
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "mine.toml"
    path.write_text(SUITE)
    return load_suite(path)


@pytest.fixture(scope="module")
def fitted():
    """Popularity (full of ties) and ml-100k: data, split, items, and all scores with raw ids."""
    data = load("ml-100k")
    split, items = make_split(data, Protocol())
    method = load_method("popularity")()
    method.fit(split, Context(seed=0, items=items))
    users, _ = next(split.batches("test", split.n_users))
    scores = np.asarray(method.score(users), np.float64)
    raw_users = np.array(data.users)[users.ids]
    raw_items = data.items.frame["raw_id"].to_numpy()[split.canonical]
    table = pl.DataFrame(
        {
            "user": np.repeat(raw_users, split.n_items),
            "item": np.tile(raw_items, len(users)),
            "score": scores.ravel(),
        }
    )
    return data, split, items, method, table


def test_a_full_file_gets_exactly_the_methods_figures(suite, fitted, tmp_path):
    _, split, items, method, table = fitted
    table.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(tmp_path / "all.parquet")  # the order says nothing
    record, folder = score_file(suite, tmp_path / "all.parquet", "mine", root=tmp_path)
    direct = measure(answer(method, split, "test", k=20), split, items)
    assert record.metrics["ndcg@10"] > 0
    assert {name: record.metrics[name] for name in direct.metrics} == pytest.approx(direct.metrics, abs=1e-12)
    assert record.slices == direct.slices
    assert record.family == "external" and record.counts["answered"] == len(split.asked["test"])
    assert read_record(folder) == record


def test_the_record_stands_in_the_suites_results(suite, fitted, tmp_path):
    _, _, _, _, table = fitted
    table.head(5000).write_csv(tmp_path / "some.csv")
    record, folder = score_file(suite, tmp_path / "some.csv", "mine", root=tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "answers.parquet", "ranks.parquet", "record.json", "users.parquet",
    ]  # fmt: skip
    (found,) = external_runs(suite, tmp_path)
    assert found.record == record and found.fresh and found.planned.label == "mine"
    rows = load_results(suite, root=tmp_path).filter(label="mine", metric="ndcg@10", slice="all")
    assert rows.select("family", "status", "value").rows() == [("external", "ok", record.metrics["ndcg@10"])]
    other = dataclasses.replace(suite, protocol=Protocol(mask_history=False))
    assert external_runs(other, tmp_path) == []


def test_the_newest_file_of_a_name_counts(suite, fitted, tmp_path):
    _, _, _, _, table = fitted
    table.head(2000).write_csv(tmp_path / "one.csv")
    table.head(3000).write_csv(tmp_path / "two.csv")
    first, _ = score_file(suite, tmp_path / "one.csv", "mine", root=tmp_path)
    second, _ = score_file(suite, tmp_path / "two.csv", "mine", root=tmp_path)
    assert first.run_id != second.run_id
    runs = external_runs(suite, tmp_path)
    assert len(runs) == 1 and runs[0].record.provenance.finished == max(
        first.provenance.finished, second.provenance.finished
    )


def test_missing_users_and_unlisted_targets_are_misses(suite, fitted, tmp_path):
    data, split, _, _, _ = fitted
    targets = split.targets("test")
    raw_item = data.items.frame["raw_id"].to_numpy()[split.canonical]
    users, items = targets.users[:100], targets.items[targets.indptr[:100]]
    pl.DataFrame({"user": np.array(data.users)[users], "item": raw_item[items], "rank": 1}).write_csv(
        tmp_path / "a.csv"
    )
    record, folder = score_file(suite, tmp_path / "a.csv", "right-for-100", root=tmp_path)
    assert record.metrics["hit@5"] == pytest.approx(100 / len(targets))
    assert record.counts["answered"] == 100 and record.counts["unranked_targets"] == len(targets) - 100
    lists = pl.read_parquet(folder / "answers.parquet")
    assert (lists["item"] >= 0).sum() == 100


def test_a_constant_score_is_worth_nothing(suite, fitted, tmp_path):
    _, _, _, _, table = fitted
    table.with_columns(score=pl.lit(1.0)).write_parquet(tmp_path / "flat.parquet")
    record, _ = score_file(suite, tmp_path / "flat.parquet", "flat", root=tmp_path)
    assert record.metrics["recall@20"] == 0


@pytest.mark.parametrize(
    ("user", "item", "expected"),
    [("1", "no-such", "line 3: item 'no-such' is not in dataset 'ml-100k'"), ("0", "1", "line 3: user '0' is not in")],
)
def test_unknown_ids_are_told_with_their_line_and_leave_nothing(suite, tmp_path, user, item, expected):
    path = tmp_path / "a.csv"
    path.write_text(f"user,item,score\n1,1,0.5\n{user},{item},0.5\n")
    with pytest.raises(UserError, match=expected):
        score_file(suite, path, "mine", root=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_names_that_would_mislead(suite, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user,item,score\n1,1,0.5\n")
    with pytest.raises(UserError, match="has a row of this name"):
        score_file(suite, path, "item-knn", root=tmp_path)
    with pytest.raises(UserError, match="use letters"):
        score_file(suite, path, "../up", root=tmp_path)
    with pytest.raises(UserError, match="no such dataset"):
        score_file(suite, path, "mine", dataset="ml-10k", root=tmp_path)
