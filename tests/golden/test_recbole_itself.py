"""The adapter against RecBole's own pipeline, from file to figure: its data set, loaders, trainer and evaluator."""

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.evaluate import validate
from llmrec.recbole_mend import mended

pytest.importorskip("recbole", reason="RecBole is not installed")
torch = pytest.importorskip("torch")

NEWEST = 20
SETTINGS = {
    "LightGCN": {"learning_rate": 0.01, "train_batch_size": 2048, "n_layers": 2},
    "MultiVAE": {"learning_rate": 0.003, "train_batch_size": 128},
    "BPR": {"learning_rate": 0.01, "train_batch_size": 512},
    "GRU4Rec": {"learning_rate": 0.005, "train_batch_size": 512, "MAX_ITEM_LIST_LENGTH": 10},
}


@pytest.fixture(scope="module")
def histories(mirror):
    """The newest items of every user of MovieLens-100K, oldest first; items numbered from 0."""
    path = mirror / "ml-100k" / "original" / "u.data"
    events = pl.read_csv(path, separator="\t", has_header=False, new_columns=["user", "item", "rating", "time"])
    kept = events.sort("user", "time", "item").group_by("user", maintain_order=True).tail(NEWEST)
    numbered = kept.with_columns(pl.col("item").rank("dense").cast(pl.Int64) - 1)
    return numbered.group_by("user", maintain_order=True).agg("item")["item"].to_list()


def recbole_itself(model, histories, folder, epochs, seed=0):
    """RecBole's training data, model, trainer and test data, made by RecBole from a file; call it inside mended()."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    rows = [f"{u}\t{i}\t{t}" for u, items in enumerate(histories) for t, i in enumerate(items)]
    (folder / "own").mkdir(parents=True)
    text = "user_id:token\titem_id:token\ttimestamp:float\n" + "\n".join(rows) + "\n"
    (folder / "own" / "own.inter").write_text(text)
    values = {
        **SETTINGS[model], "epochs": epochs, "stopping_step": epochs, "seed": seed, "data_path": str(folder),
        "checkpoint_dir": str(folder), "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "metrics": ["NDCG"], "topk": [10], "valid_metric": "NDCG@10", "use_gpu": False, "gpu_id": "",
        "show_progress": False, "metric_decimal_place": 8,
    }  # fmt: skip
    if model == "GRU4Rec":
        values["train_neg_sample_args"] = None
    config = Config(model, "own", config_dict=values)
    init_seed(seed, reproducibility=True)
    train, valid, test = data_preparation(config, create_dataset(config))
    net = get_model(model)(config, train.dataset)
    return train, valid, test, net, get_trainer(config["MODEL_TYPE"], model)(config, net)


def ours(model, histories, epochs, seed=0):
    """The adapter, fitted on the same split; RecBole ranks the history, too, when it asks sequential models."""
    n_items = 1 + max(max(items) for items in histories)
    split = toy.leave_one_out(histories, n_items, mask_history=model != "GRU4Rec")
    config = dict(SETTINGS[model])
    given = {"learning_rate": config.pop("learning_rate"), "batch_size": config.pop("train_batch_size")}
    method = load_method("recbole")(model=model, epochs=epochs, patience=epochs, config=config, **given)
    method.fit(split, Context(seed, toy.items(n_items), validate=lambda m: validate(m, split)))
    return method, split


def ndcg_at_10(method, split):
    """Of each user, by hand: one target, ranked among all items, of which the history may be masked."""
    users, targets = next(split.batches("test", split.n_users))
    scores = method.score(users).astype(np.float64)
    if split.mask_history:
        scores[users.histories.rows, users.histories.items] = -np.inf
    rank = (scores >= scores[np.arange(len(users)), targets.items][:, None]).sum(axis=1)
    return np.where(rank <= 10, 1 / np.log2(rank + 1), 0)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["LightGCN", "MultiVAE"])
def test_the_rows_of_the_suite_learn(model, histories):
    method, split = ours(model, histories, epochs=15)
    untrained, _ = ours(model, histories, epochs=1)
    assert ndcg_at_10(method, split).mean() > max(0.015, 1.2 * ndcg_at_10(untrained, split).mean()), "chance is .003"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["BPR", "GRU4Rec"])
def test_recbole_gives_the_same_weights_the_same_figure(model, histories, tmp_path):
    """The weights that the adapter has trained, moved to RecBole's numbering of users and items, judged by RecBole."""
    method, split = ours(model, histories, epochs=3)
    with mended(tmp_path):
        train, _, test, net, trainer = recbole_itself(model, histories, tmp_path, epochs=1)
        tokens = {name: train.dataset.field2id_token[name][1:].astype(int) + 1 for name in ("user_id", "item_id")}
        state = method.net.state_dict()
        for weight in state:
            if name := {"user_embedding.weight": "user_id", "item_embedding.weight": "item_id"}.get(weight):
                state[weight] = state[weight][torch.as_tensor([0, *tokens[name]])]
        net.load_state_dict(state)
        trainer.eval_collector.data_collect(train)
        theirs = trainer.evaluate(test, load_best_model=False)["ndcg@10"]
    found = ndcg_at_10(method, split).mean()
    assert found > 0.01 and found == pytest.approx(theirs, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["BPR", "GRU4Rec"])
def test_training_through_the_adapter_ends_where_recboles_own_does(model, histories, tmp_path):
    """Random streams differ, so that the two agree within noise: two standard errors over users."""
    epochs = 10
    method, split = ours(model, histories, epochs)
    found = ndcg_at_10(method, split)
    with mended(tmp_path):
        train, valid, test, _, trainer = recbole_itself(model, histories, tmp_path, epochs)
        trainer.fit(train, valid, verbose=False, saved=True)
        theirs = float(trainer.evaluate(test)["ndcg@10"])
    print(f"{model}: RecBole's own ndcg@10 {theirs:.4f}, through the adapter {found.mean():.4f}")
    assert found.mean() > 0.015, "chance is .003"
    assert abs(found.mean() - theirs) < 2 * found.std() / np.sqrt(len(found))
