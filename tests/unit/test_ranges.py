"""Parameters that no method could use, and models that RecBole does not have: refused when a suite is read."""

import importlib.util

import pytest

from llmrec import recbole_names
from llmrec.discover import find_methods
from llmrec.errors import UserError
from llmrec.recbole_models import known_models
from llmrec.suite import check_params, load_suite

METHODS = find_methods()


def check(name, **params):
    return check_params(name, params, METHODS[name.partition(":")[0]], "mine.toml: methods[1]")


@pytest.mark.parametrize(
    "name, params, expected",
    [
        ("ease", {"l2": -3.0}, "parameter 'l2': -3.0 is out of range: expected 0 or more"),
        ("als", {"factors": 0}, "parameter 'factors': 0 is out of range: expected 1 or more"),
        ("als", {"alpha": float("inf")}, "parameter 'alpha': inf is out of range: expected a finite number"),
        ("rp3beta", {"alpha": -1.0}, "parameter 'alpha': -1.0 is out of range: expected 0 or more"),
        ("bpr", {"epochs": 0}, "parameter 'epochs': 0 is out of range: expected 1 or more"),
        ("recent-popularity", {"share": 1.5}, "'share': 1.5 is out of range: expected a number above 0 and at most 1"),
        ("tfidf", {"decay": 1.2}, "parameter 'decay': 1.2 is out of range: expected 0 to 1"),
        ("sasrec", {"dropout": 1.0}, "parameter 'dropout': 1.0 is out of range: expected 0 or more and below 1"),
        ("bm25", {"b": 1.5}, "parameter 'b': 1.5 is out of range: expected 0 to 1"),
        ("ease", {"relaxed": 1.0}, "parameter 'relaxed': 1.0 is out of range: expected 0 or more and below 1"),
        ("recbole:BPR", {"learning_rate": -1.0}, "'learning_rate': -1.0 is out of range: expected a number above 0"),
        ("item-knn", {"neighbours": -1}, "parameter 'neighbours': -1 is out of range: expected 0 or more"),
    ],
)
def test_a_number_that_cannot_be_is_refused_with_what_can(name, params, expected):
    with pytest.raises(UserError) as refused:
        check(name, **params)
    assert str(refused.value).startswith("mine.toml: methods[1]: parameter") and expected in str(refused.value)


def test_beyond_the_searched_range_is_not_out_of_range():
    assert check("ease", l2=9000.0) == {"l2": 9000.0}
    assert check("ease-features", weight=0.0) == {"weight": 0.0}
    assert check("item-knn", neighbours=0) == {}
    assert check("recbole:BPR", embedding_size=None) == {}
    assert check("tfidf", pairs=True) == {"pairs": True}


@pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="RecBole is not installed")
def test_a_model_that_recbole_lacks_is_refused_before_a_run(tmp_path):
    suite = tmp_path / "mine.toml"
    assert check("recbole:Random") == {}
    for name, says in {
        "LigthGCN": "Did you mean 'LightGCN'?",
        "lightgcn": "Did you mean 'LightGCN'?",
        "FM": "context-aware model",
        "KGAT": "knowledge-aware model",
    }.items():
        suite.write_text(f'datasets = ["ml-100k"]\n[[methods]]\nname = "recbole:{name}"\n')
        with pytest.raises(UserError, match=r"mine.toml: methods\[1\] \('recbole:") as refused:
            load_suite(suite)
        assert says in str(refused.value)
    part = {"first": {"method": "recbole:BPQ"}, "second": {"method": "ease"}}
    with pytest.raises(UserError, match="Did you mean 'BPR'"):
        check("hybrid-fusion", **part)


@pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="RecBole is not installed")
def test_every_model_it_has_is_let_through(monkeypatch):
    models = set(known_models()) - {"Random"}  # it has no settings, and so is looked up in full
    monkeypatch.setattr("llmrec.recbole_models.check_name", lambda name: pytest.fail(f"{name} took the slow way"))
    for name in models:
        recbole_names.check_model(name)


def test_without_recbole_nothing_is_said_and_nothing_downloaded(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    monkeypatch.setattr(recbole_names.importlib.util, "find_spec", lambda name: None)
    recbole_names.check_model("Wombat")
    assert not list(tmp_path.iterdir())
