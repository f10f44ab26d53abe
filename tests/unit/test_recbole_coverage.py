"""Every general and sequential model of RecBole trains and answers; what a few of them needed for it."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import UserError
from llmrec.evaluate import validate
from llmrec.records import Status

pytest.importorskip("recbole", reason="RecBole is not installed")
pytest.importorskip("torch")

from llmrec import recbole_coverage, recbole_graph
from llmrec.recbole_models import all_models, known_models, recbole_folder

N = 110
"""Users and items: RaCT ranks 100 items while it trains."""


def films(n):
    """The first films of MovieLens-100K from RecBole's wheel, so that its knowledge graph is theirs."""
    rows = recbole_graph._rows(recbole_folder() / recbole_graph.FOLDER / "ml-100k.item")[:n]
    titles = [f"{row[1]} ({row[2]})" for row in rows]
    frame = toy.items(n).frame.with_columns(raw_id=pl.Series([row[0] for row in rows]), title=pl.Series(titles))
    return dataclasses.replace(toy.items(n), frame=frame)


def answered(model, split, monkeypatch, tmp_path):
    """The fitted method, scores [n_users, n_items] after the coverage's epochs with checkpoints, and the events."""
    monkeypatch.setattr(recbole_graph, "EPOCHS", 1)
    events = []
    ctx = Context(0, films(split.n_items), folder=tmp_path, validate=lambda m: validate(m, split), emit=events.append)
    method = load_method("recbole")(model=model, **recbole_coverage.planned([model])[0].spec.params)
    method.fit(split, ctx)
    return method, method.score(next(split.batches("test", split.n_users))[0]), events


def test_recbole_ships_33_general_and_31_sequential_models():
    kinds = [model.kind for model in known_models().values()]
    assert (kinds.count("general"), kinds.count("sequential")) == (33, 31)
    assert {"DeepFM", "KGAT", "XGBoost"} <= all_models().keys() - known_models().keys()
    reads = {name: model.reads for name, model in known_models().items()}
    assert [name for name, words in reads.items() if "categories" in words] == ["FDSA", "GRU4RecF", "S3Rec", "SASRecF"]
    assert [name for name, words in reads.items() if "graph" in words] == ["GRU4RecKG", "KSR"]


@pytest.mark.slow
@pytest.mark.parametrize("model", known_models())
def test_model_trains_and_answers(model, monkeypatch, tmp_path):
    split = toy.checkerboard(N)
    _, scores, events = answered(model, split, monkeypatch, tmp_path)
    assert scores.shape == (N, N) and np.isfinite(scores).all() and scores.std() > 0
    assert all(np.isfinite(event["loss"]) for event in events if "loss" in event)


def test_item_features_are_the_items_categories(monkeypatch, tmp_path):
    method, scores, _ = answered("GRU4RecF", toy.checkerboard(20), monkeypatch, tmp_path)
    assert np.isfinite(scores).all() and scores.std() > 0
    assert method.net.feature_embed_layer.item_feat["class"].flatten().tolist() == [0, *[1, 2] * 10]


def test_the_graph_gives_each_film_its_entitys_vector(monkeypatch, tmp_path):
    method, scores, _ = answered("GRU4RecKG", toy.checkerboard(20), monkeypatch, tmp_path)
    assert np.isfinite(scores).all() and scores.std() > 0
    lengths = np.linalg.norm(method.net.entity_embedding.weight.detach().numpy(), axis=1)
    linked = recbole_graph.read_graph(films(20), "GRU4RecKG").entity >= 0
    assert linked.sum() > 10 and lengths[0] == 0
    assert np.allclose(lengths[1:], linked, atol=1e-5), "length 1 where there is an entity, else zeros"


def test_dgcf_draws_no_more_users_than_there_are(monkeypatch, tmp_path):
    split = toy.leave_one_out([[0, 1, 2, 3], [3, 2, 1, 0], [4, 1, 7, 8]], 20)
    _, scores, _ = answered("DGCF", split, monkeypatch, tmp_path)
    assert scores.shape == (3, 20) and np.isfinite(scores).all()


def test_ncls_clusters_are_the_nearest_ones():
    from llmrec.recbole_mend import _Kmeans

    x = np.repeat(np.eye(4, dtype=np.float32) * 9, 5, axis=0)
    kmeans = _Kmeans(d=4, k=1000, gpu=True)
    kmeans.train(x)
    _, nearest = kmeans.index.search(x, 1)
    assert nearest.shape == (20, 1) and kmeans.centroids.shape[1] == 4
    assert np.allclose(kmeans.centroids[nearest[:, 0]], x)


def test_transe_puts_head_plus_relation_near_the_tail():
    n = 60
    head = np.tile(np.arange(n), 3)
    relation = np.repeat([0, 1, 2], n)
    tail = np.concatenate([(np.arange(n) + step) % n for step in (1, 5, 20)])
    graph = recbole_graph.Graph(head, relation, tail, n, ["a", "b", "c"], np.arange(n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recbole_graph, "EPOCHS", 200)
        vectors = recbole_graph.transe(graph, 16, seed=1)
    found = (vectors.entities[head] + vectors.relations[relation])[:, None] - vectors.entities[None]
    distance = np.linalg.norm(found, axis=2)
    rank = (distance < distance[np.arange(3 * n), tail][:, None]).sum(axis=1)
    assert np.median(rank) < 5, "chance is 30"


def test_other_catalogues_have_no_graph():
    with pytest.raises(UserError, match="which this dataset lacks"):
        recbole_graph.read_graph(toy.items(30), "KSR")


def test_the_plan_is_one_run_a_model_and_names_are_checked():
    plan = recbole_coverage.planned()
    assert len({one.spec.run_id for one in plan}) == len(plan) == 64
    ks = {one.label: one.spec.params for one in plan}
    assert ks["SASRec"] == {"epochs": 2, "config": {"MAX_ITEM_LIST_LENGTH": 10}}
    assert ks["RaCT"] == {"epochs": 2, "config": {"pretrain_epochs": 2}}
    with pytest.raises(UserError, match="Did you mean 'SASRec'"):
        recbole_coverage.planned(["SASrec"])


def stored(root: Path, one, *, losses=(0.7, 0.6), scores=(2.0, 1.0), **changes):
    """A record of a planned run with what its folder holds besides."""
    from llmrec.provenance import machine_class
    from llmrec.records import Cost, Record, write_record
    from llmrec.staleness import code_fingerprint, evaluation_fingerprint

    machine = machine_class(one.file)
    folder = recbole_coverage.runs_root(root) / "runs" / one.spec.run_id / machine
    folder.mkdir(parents=True)
    marks = {"code": code_fingerprint(one.file, one.spec.dataset), "evaluation": evaluation_fingerprint()}
    facts = {"family": "collaborative", "status": Status.OK, "cost": Cost(total_cpu_seconds=12.4)}
    record = Record(
        run_id=one.spec.run_id, machine_class=machine, spec=one.spec, fingerprints=marks, **{**facts, **changes}
    )
    write_record(record, folder)
    curve = [{"part": "fit", "epoch": i, "loss": loss} for i, loss in enumerate(losses, 1)]
    (folder / "curve.jsonl").write_text("".join(json.dumps(point) + "\n" for point in curve))
    pl.DataFrame({"user": [0, 0], "item": [3, 4], "score": list(scores)}).write_parquet(folder / "answers.parquet")


def test_the_table_says_how_each_model_fared(tmp_path):
    plan = recbole_coverage.planned(["BPR", "EASE", "RaCT", "NCL", "DMF", "GCMC", "Pop"])
    by = {one.label: one for one in plan}
    stored(tmp_path, by["BPR"])
    stored(tmp_path, by["EASE"], losses=[0.0])
    stored(tmp_path, by["RaCT"], losses=[1.0] * 6)
    stored(tmp_path, by["NCL"], losses=[float("inf"), 1.0])
    stored(tmp_path, by["DMF"], scores=(1.0, 1.0))
    stored(tmp_path, by["GCMC"], status=Status.OOM, error="used 9 GiB | too much")
    rows = {row.model.name: row for row in recbole_coverage.read_rows(plan, tmp_path)}
    assert [name for name, row in rows.items() if row.good] == ["BPR", "EASE", "RaCT"]
    said = {name: row.said for name, row in rows.items()}
    assert said["BPR"] == "2 epochs" and said["EASE"] == "1 pass" and said["RaCT"] == "2 epochs in each of 3 stages"
    assert "not finite" in said["NCL"] and "the same for all items" in said["DMF"] and said["Pop"] == "not yet run"
    table = recbole_coverage.markdown(list(rows.values()))
    assert table.startswith("# RecBole's models here\n\n3 of 7 general and sequential models")
    assert "| BPR | general | pairs | yes | 2 epochs | 12 |  |" in table
    assert "| no | oom: used 9 GiB / too much |" in table
    assert table == recbole_coverage.markdown(list(rows.values()))


def test_the_command_lists_models_and_refuses_slips():
    from typer.testing import CliRunner

    from llmrec.cli import app

    said = CliRunner().invoke(app(), ["recbole", "list"]).output
    assert "64 models" in said and "recbole:FDSA" in said
    refused = CliRunner().invoke(app(), ["recbole", "check", "DeepFM"])
    assert isinstance(refused.exception, UserError) and "out of scope" in str(refused.exception)


@pytest.mark.slow
def test_the_command_runs_a_model_in_its_own_process_and_keeps_it(tmp_path, mirror, monkeypatch):
    from typer.testing import CliRunner

    from llmrec.cli import app

    monkeypatch.setenv("LLMREC_MIRROR", str(mirror))
    for times in ("1 to run", "0 to run"):
        done = CliRunner().invoke(app(), ["recbole", "check", "Pop", "--results", str(tmp_path)])
        assert done.exit_code == 0 and times in done.output and "no table yet: 63 of 64" in done.output
    assert not list(tmp_path.glob("*.md*"))
