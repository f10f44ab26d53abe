"""The RecBole adapter: what RecBole is given, how it is trained, what it leaves behind."""

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import UserError
from llmrec.evaluate import validate
from llmrec.types import Users

pytest.importorskip("recbole", reason="RecBole is not installed")
torch = pytest.importorskip("torch")

SPLIT = toy.checkerboard(30)
QUICK = {"epochs": 8, "learning_rate": 0.03, "batch_size": 128}


def context(split=SPLIT, seed=0, **changes):
    events = []
    ctx = Context(seed, toy.items(split.n_items), validate=lambda m: validate(m, split), emit=events.append)
    return dataclasses.replace(ctx, **changes), events


def fitted(model, split=SPLIT, ctx=None, **params):
    method = load_method("recbole")(model=model, **{**QUICK, **params})
    method.fit(split, ctx or context(split)[0])
    return method


def everyone(split=SPLIT, part="test"):
    return next(split.batches(part, split.n_users))[0]


def test_bpr_learns_and_keeps_its_best_epoch():
    ctx, events = context()
    method = fitted("BPR", ctx=ctx)
    curve = [e["ndcg@10"] for e in events]
    assert [e["epoch"] for e in events] == list(range(1, len(events) + 1))
    assert ctx.chosen_epochs == len(curve) - curve[::-1].index(max(curve)), "RecBole takes the later of two equals"
    assert validate(method, SPLIT)["ndcg@10"] == max(curve)
    scores = method.score(everyone())
    assert scores.shape == (30, 30) and scores.dtype == np.float32
    known = SPLIT.known("test").matrix().toarray() > 0
    first = np.where(known, -np.inf, scores).argmax(axis=1)
    assert (first % 2 == np.arange(30) % 2).mean() > 0.9


def test_early_stopping_counts_validations_without_improvement():
    ctx, events = context(validate=lambda method: {"ndcg@10": 0.5 - 0.1 * len(events), "recall@10": 0.0})
    fitted("BPR", ctx=ctx, epochs=50, patience=3)
    assert len(events) == 4 and ctx.chosen_epochs == 1


def test_without_validation_the_given_number_of_epochs_is_trained():
    everything = dataclasses.replace(SPLIT, fit_data="train+valid")
    ctx, events = context(everything, validate=None, epochs=2)
    method = fitted("BPR", everything, ctx)
    assert len(events) == 2 and ctx.chosen_epochs == 2
    assert len(method.trainer.train_loss_dict) == 2


def test_the_seed_and_nothing_else_decides():
    scores = []
    for seed in (0, 0, 1):
        np.random.seed(len(scores))  # noqa: NPY002
        torch.manual_seed(len(scores))
        scores.append(fitted("BPR", ctx=context(seed=seed)[0]).score(everyone()))
    assert np.array_equal(scores[0], scores[1]) and not np.array_equal(scores[0], scores[2])


@pytest.mark.parametrize("model", ["BPR", "MultiVAE", pytest.param("RecVAE", marks=pytest.mark.slow)])
def test_a_killed_run_ends_with_the_figures_of_an_undisturbed_one(model, tmp_path):
    undisturbed, whole = context()
    expected = fitted(model, ctx=undisturbed, epochs=6).score(everyone())

    class Killed(BaseException):
        pass

    def die(event):
        if event.get("epoch") == 4:
            raise Killed

    with pytest.raises(Killed):
        fitted(model, ctx=context(folder=tmp_path, emit=die)[0], epochs=6)
    ctx, events = context(folder=tmp_path)
    found = fitted(model, ctx=ctx, epochs=6).score(everyone())
    assert events[0]["resumed_at"] == 3
    assert np.array_equal(found, expected) and ctx.chosen_epochs == undisturbed.chosen_epochs
    assert [e["ndcg@10"] for e in events[1:]] == [e["ndcg@10"] for e in whole[3:]]


def test_recbole_is_given_the_training_part_with_every_id_moved_by_one():
    split = toy.leave_one_out([[0, 1, 2, 3], [3, 2, 1, 0], [4, 1]], 6)
    dataset = loader_of(split, "BPR")._dataset
    pairs = list(zip(dataset.inter_feat["user_id"].tolist(), dataset.inter_feat["item_id"].tolist(), strict=True))
    assert pairs == [(1, 1), (1, 2), (2, 4), (2, 3), (3, 5), (3, 2)]
    assert (dataset.user_num, dataset.item_num) == (4, 7), "padding, and ids that training lacks"


def test_sequential_models_are_given_prefixes_in_order_and_asked_for_the_next_item():
    split = toy.leave_one_out([[0, 1, 2, 3, 4], [3, 2, 1, 0]], 6)
    feat = loader_of(split, "GRU4Rec")._dataset.inter_feat
    rows = [
        (u, items[:n], target)
        for u, items, n, target in zip(
            *(feat[k].tolist() for k in ("user_id", "item_id_list", "item_length", "item_id")), strict=True
        )
    ]
    assert rows == [(1, [1], 2), (1, [1, 2], 3), (2, [4], 3)]


def loader_of(split, model):
    from llmrec.recbole_data import train_data
    from llmrec.recbole_mend import mended

    method = fitted(model, split, epochs=1)
    with mended():
        return train_data(method.settings, split, context(split)[0])


def test_histories_are_left_aligned_and_cut_to_the_newest_items():
    from llmrec.recbole_data import question
    from llmrec.recbole_mend import mended

    method = fitted("GRU4Rec", epochs=1, config={"MAX_ITEM_LIST_LENGTH": 3})
    histories = toy.interactions([[5], [], [1, 2, 3, 4]], 30).histories
    with mended():
        batch = question(method.settings, np.array([7, 8, 9], np.int32), histories)
    assert batch["user_id"].tolist() == [8, 9, 10]
    assert batch["item_id_list"].tolist() == [[6, 0, 0], [0, 0, 0], [3, 4, 5]]
    assert batch["item_length"].tolist() == [1, 1, 3]


@pytest.mark.parametrize("model", ["MultiVAE", "GRU4Rec"])
def test_models_that_read_histories_see_the_validation_item(model):
    method = fitted(model, epochs=2)
    ids = np.arange(30, dtype=np.int32)
    before = method.score(Users(ids, SPLIT.known("valid").histories))
    after = method.score(Users(ids, SPLIT.known("test").histories))
    assert not np.isclose(before, after).all(axis=1).any()


def test_a_user_without_history_gets_popularity_from_a_sequential_model():
    method = fitted("GRU4Rec", epochs=1)
    nobody = Users(np.array([3], np.int32), toy.interactions([[]], 30).histories)
    assert np.array_equal(method.score(nobody)[0], np.bincount(SPLIT.train.item, minlength=30))


@pytest.mark.parametrize("model", ["BPR", "NeuMF", "MultiVAE", "SASRec"])
def test_the_size_of_the_batch_does_not_change_the_scores(model):
    method = fitted(model, epochs=1)
    whole = method.score(everyone())
    parts = np.concatenate([method.score(users) for users, _ in SPLIT.batches("test", 7)])
    assert np.abs(whole - parts).max() < 1e-5 * np.abs(whole).max()


def test_nothing_is_written_and_nothing_stays_mended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["llmrec", "--epochs=1", "--learning_rate=9"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    load = torch.load
    ctx, events = context()
    method = fitted("BPR", ctx=ctx, epochs=2)
    method.score(everyone())
    assert len(events) == 2 and method.settings["learning_rate"] == 0.03, "the command line is the harness's own"
    assert list(tmp_path.iterdir()) == []
    assert not hasattr(np, "float") and torch.load is load
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert "ray" not in sys.modules and "recbole.quick_start" not in sys.modules


def test_settings_reach_recbole_and_strings_are_not_run(tmp_path):
    trace = tmp_path / "run"
    code = f"open({str(trace)!r}, 'w')"
    method = fitted("LightGCN", epochs=1, embedding_size=8, config={"n_layers": 1, "POSITION_FIELD": code})
    assert method.net.n_layers == 1 and method.net.user_embedding.weight.shape[1] == 8
    assert not trace.exists()
    assert fitted("SASRec", epochs=1, embedding_size=32).net.item_embedding.weight.shape[1] == 32


def test_a_loss_that_wants_negatives_gets_them():
    method = fitted("GRU4Rec", epochs=1, config={"loss_type": "BPR"})
    assert method.settings["train_neg_sample_args"]["distribution"] == "uniform"


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        ("LightGNC", {}, "Did you mean 'LightGCN'"),
        ("lightgcn", {}, "Did you mean 'LightGCN'"),
        ("DeepFM", {}, "is a context-aware model"),
        ("KGAT", {}, "is a knowledge-aware model"),
        ("XGBoost", {}, "boosted trees"),
        ("KSR", {}, "'ent_id' and 'rel_id' (vectors of a knowledge graph), which this dataset lacks"),
        ("KSR", {}, "Sequential models that do without: BERT4Rec"),
        ("BPR", {"config": {"n_layer": 2}}, "config.n_layer: no such setting"),
        ("LightGCN", {"config": {"n_layer": 2}}, "Did you mean 'n_layers'"),
        ("BPR", {"config": {"epochs": 2}}, "set the parameter 'epochs'"),
        ("BPR", {"config": {"eval_args": {}}}, "decided by the suite"),
        ("MultiVAE", {"embedding_size": 8}, "no embedding_size"),
        ("FDSA", {"config": {"selected_features": ["director"]}}, "item field 'director'"),
    ],
)
def test_mistakes_are_one_clear_sentence(model, params, message):
    with pytest.raises(UserError) as told:
        fitted(model, **params)
    assert message in str(told.value) and f"recbole:{model}" in str(told.value)


def test_item_fields_that_the_dataset_lacks_are_named():
    bare = toy.items(30).frame.with_columns(categories=toy.items(30).frame["categories"].list.head(0))
    with pytest.raises(UserError, match="item field 'class', which this dataset lacks") as told:
        fitted("FDSA", ctx=context(items=dataclasses.replace(toy.items(30), frame=bare))[0])
    assert "do without: BERT4Rec" in str(told.value) and "GRU4RecF" not in str(told.value)


def test_the_wheel_is_unpacked_once_where_recbole_is_not_installed(tmp_path, monkeypatch):
    import zipfile

    import llmrec.data.fetch
    from llmrec import recbole_mend

    downloads = []

    def download(source, folder: Path) -> Path:
        downloads.append(source.address)
        with zipfile.ZipFile(folder / "recbole.whl", "w") as wheel:
            wheel.writestr("recbole/__init__.py", "")
        return folder / "recbole.whl"

    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    monkeypatch.setattr(recbole_mend.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(llmrec.data.fetch, "pip_download", download)
    monkeypatch.setattr(sys, "path", list(sys.path))
    recbole_mend.provide()
    recbole_mend.provide()
    assert downloads == ["pypi:recbole==1.2.1"]
    assert (Path(sys.path[-1]) / "recbole" / "__init__.py").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["recbole-1.2.1"], "nothing half-done stays"


@pytest.mark.slow
@pytest.mark.parametrize(("model", "pretrained"), [("S3Rec", 1), ("RaCT", 2)])
def test_models_in_stages_hand_on_their_weights(model, pretrained):
    split = toy.checkerboard(110)  # RaCT ranks 100 items while it trains
    ctx, events = context(split)
    config = {"pretrain_epochs": 1, **({"MAX_ITEM_LIST_LENGTH": 10} if model == "S3Rec" else {})}
    scores = fitted(model, split, ctx, epochs=1, batch_size=2048, config=config).score(everyone(split))
    assert [e["stage"] for e in events] == ["pretrain"] * pretrained + ["fit"]
    assert np.isfinite(scores).all()
