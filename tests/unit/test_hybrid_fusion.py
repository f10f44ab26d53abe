"""Fusion of two methods: scores and ranks by hand, a weight chosen on validation, parts asked once, wrong parts."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import find_methods, load_method, method_file
from llmrec.errors import UserError
from llmrec.evaluate import validate
from llmrec.fitting import fit
from llmrec.provenance import machine_class, needs_torch
from llmrec.staleness import code_fingerprint
from llmrec.subject import with_requests
from llmrec.suite import load_suite
from llmrec.types import Histories, Split, Users

BOARD = toy.checkerboard()


def fusion(first: str = "ease", second: str = "tfidf", **params: Any) -> Any:
    return load_method("hybrid-fusion")(first={"method": first}, second={"method": second}, **params)


def fitted(method: Any, split: Split = BOARD, **context: Any) -> tuple[Any, Context]:
    ctx = Context(seed=0, items=toy.items(split.n_items), validate=lambda m: validate(m, split), **context)
    method.fit(split, ctx)
    return method, ctx


class Says:
    """A part that gives the same scores to everyone."""

    def __init__(self, *scores: float) -> None:
        self.scores = np.array(scores)

    def score(self, users: Users) -> np.ndarray:
        return np.tile(self.scores, (len(users), 1))


def by_hand(by: str, weight: float, **params: Any) -> np.ndarray:
    """Two parts that disagree; item 4 is the history, item 5 no candidate: neither counts for mean, range and ranks."""
    method = fusion(by=by, **params)
    method.candidates, method.mask_history, method.chosen = np.array([1, 1, 1, 1, 1, 0], bool), True, weight
    method.fitted = {"first": Says(1, 2, 3, 4, 99, -99), "second": Says(0, 0, 10, 0, -5, 5)}
    asked = Users(np.zeros(1, np.int32), Histories(np.array([0, 1]), np.array([4], np.int32), 6))
    scores: np.ndarray = method.score(asked)[0, :4]
    return scores


def test_fused_by_hand() -> None:
    assert np.allclose(by_hand("min-max", 0.25), 0.75 * np.array([0, 1, 2, 3]) / 3 + 0.25 * np.array([0, 0, 1, 0]))
    z_first, z_second = np.array([-1.5, -0.5, 0.5, 1.5]) / 1.25**0.5, np.array([-1, -1, 3, -1]) / 3**0.5
    assert np.allclose(by_hand("z-score", 0.5), (z_first + z_second) / 2, atol=1e-6)
    ranks = 0.5 / (60 + np.array([4, 3, 2, 1])) + 0.5 / (60 + np.array([3, 3, 1, 3]))  # ties share their mean rank
    assert np.allclose(by_hand("rank", 0.5), ranks)


def test_a_part_without_an_opinion_says_nothing() -> None:
    method = fusion()
    method.candidates, method.mask_history, method.chosen = np.ones(3, bool), False, 0.5
    method.fitted = {"first": Says(0.1, 0.1, 0.1), "second": Says(1, 2, 3)}
    asked = Users(np.zeros(1, np.int32), Histories(np.array([0, 0]), np.array([], np.int32), 3))
    assert (method.of_parts(asked)[0] == 0).all() and method.score(asked)[0].argmax() == 2


def test_the_weight_is_chosen_on_validation_and_parts_are_asked_once() -> None:
    method = fusion("random", "ease")
    asked: list[int] = []
    module: Any = sys.modules[type(method).__module__]

    def counted(part: Any, role: str, split: Split, ctx: Context) -> Any:
        made = module.read_part.__globals__["fit_part"](part, role, split, ctx)
        score = made.score
        made.score = lambda users: (asked.append(len(users)), score(users))[1]
        return made

    module.fit_part = counted  # this copy of the module is this test's own
    points: list[dict[str, Any]] = []
    method, ctx = fitted(method, emit=points.append)
    assert asked == [50, 50]  # each part about all 50 users, once
    tried = [point["ndcg@10"] for point in points if "weight" in point]
    assert len(tried) == 11 and method.chosen == np.argmax(tried) / 10 > 0.5
    assert ctx.counts["weight_percent"] == round(100 * method.chosen)
    assert validate(method, BOARD)["ndcg@10"] == max(tried) > 3 * tried[0]


@pytest.mark.parametrize("by", ["z-score", "min-max", "rank"])
def test_at_the_ends_it_is_one_of_its_parts(by: str) -> None:
    for weight, name in ((0.0, "item-knn"), (1.0, "markov")):
        alone, _ = fitted(load_method(name)())
        fused, _ = fitted(fusion("item-knn", "markov", by=by, weight=weight))
        assert abs(validate(fused, BOARD)["ndcg@10"] - validate(alone, BOARD)["ndcg@10"]) < 0.02


def test_lists_are_fused_by_their_places() -> None:
    method = fusion(by="rank", damping=0.0)
    made = method._reciprocal_places(np.array([[2, 0, -1]]), (1, 4))
    assert np.allclose(made, [[1 / 2, 0, 1, 0]])


class Finds:
    """A part that finds the same items for every request."""

    def __init__(self, items: list[int], scores: list[float]) -> None:
        self.items, self.scores = np.array(items, np.int32), np.array(scores)

    def search(self, texts: list[str], k: int) -> tuple[np.ndarray, np.ndarray]:
        return np.tile(self.items, (len(texts), 1)), np.tile(self.scores, (len(texts), 1))


def test_what_two_searches_find_by_hand() -> None:
    method = fusion("bm25", "tfidf", by="rank", damping=0.0)
    method.candidates, method.chosen = np.ones(6, bool), 0.25
    method.fitted = {"first": Finds([3, 1, -1], [9, 8, -np.inf]), "second": Finds([1, 5, 0], [3, 2, 1])}
    items, scores = method.search(["a"], 5)
    assert items.tolist() == [[3, 1, 5, 0, -1]]  # nobody finds items 2 and 4
    assert np.allclose(scores[0, :4], [0.75, 0.75 / 2 + 0.25, 0.25 / 2, 0.25 / 3]) and np.isneginf(scores[0, 4])
    method.by = "min-max"
    items, scores = method.search(["a", "b"], 2)
    assert items.tolist() == [[3, 1], [3, 1]] and np.allclose(scores, [[0.75, 0.25]] * 2)


def test_a_request_wants_parts_that_search() -> None:
    with pytest.raises(UserError, match="parameter 'first': 'ease' answers another task: search is wanted"):
        fitted(fusion("ease", "tfidf"), with_requests(BOARD))


def test_refitted_on_everything_with_what_was_chosen(tmp_path: Path) -> None:
    """train+valid: the fit on train chooses weight and epochs, the fit on both takes them; checkpoints stand apart."""
    pytest.importorskip("torch")
    both = dataclasses.replace(BOARD, fit_data="train+valid")
    short = {"method": "sasrec", "params": {"epochs": 3, "width": 8, "length": 10, "learning_rate": 0.01}}
    ctx = Context(seed=0, items=toy.items(50), folder=tmp_path)
    method = fit(lambda: load_method("hybrid-fusion")(first=short, second=short), both, ctx, validate, early_stops=True)
    assert 1 <= ctx.counts["first_epochs"] == ctx.counts["second_epochs"] == ctx.chosen_epochs <= 3
    assert ctx.counts["weight_percent"] == round(100 * method.chosen) and ctx.counts["first_fit_cpu_ms"] > 0
    assert {p.parent.name for p in tmp_path.rglob("checkpoint.pt")} == {"first", "second"}
    assert {p.parent.parent.name for p in tmp_path.rglob("checkpoint.pt")} == {"choose", "refit"}


def test_a_fusion_may_be_a_part() -> None:
    """Each keeps its own weight, in the fit that chooses and in the one on everything."""
    inner = {"method": "hybrid-fusion", "params": {"first": {"method": "random"}, "second": {"method": "ease"}}}
    both = dataclasses.replace(BOARD, fit_data="train+valid")
    ctx = Context(seed=0, items=toy.items(50))
    method = fit(
        lambda: load_method("hybrid-fusion")(first={"method": "random"}, second=inner), both, ctx, validate,
        early_stops=True,
    )  # fmt: skip
    weights = ctx.counts["weight_percent"], ctx.counts["second_weight_percent"]
    assert weights == (round(100 * method.chosen), round(100 * method.fitted["second"].chosen)) and min(weights) > 50
    assert {"first_fit_cpu_ms", "second_fit_cpu_ms", "second_first_fit_cpu_ms"} <= ctx.counts.keys()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"first": {"method": "eese"}},
            "hybrid-fusion: parameter 'first': unknown method 'eese'. Did you mean 'ease'?",
        ),
        ({"second": {"method": "biased-mf"}}, "hybrid-fusion: parameter 'second': 'biased-mf' answers another task"),
        (
            {"second": {"method": "gpt-semantic-id"}},
            "hybrid-fusion: parameter 'second': 'gpt-semantic-id' writes lists",
        ),
        ({"first": {"method": "ease", "params": {"l3": 1}}}, "hybrid-fusion: parameter 'first' ('ease'): unknown para"),
        ({"first": {"method": "ease", "weigth": 1}}, "hybrid-fusion: parameter 'first': unknown key 'weigth'."),
        ({"first": {}}, "hybrid-fusion: parameter 'first': expected { method = 'a name'"),
        ({"by": "z-scores"}, "hybrid-fusion: by 'z-scores' is unknown. Did you mean 'z-score'?"),
        ({"weight": 1.5}, "hybrid-fusion: weight = 1.5 is out of range: expected 0 to 1."),
    ],
)
def test_wrong_parts_are_named(params: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        load_method("hybrid-fusion")(**params)
    assert str(error.value).startswith(said)


SUITE = """
datasets = ["ml-100k"]
seeds = [0, 1]
[[methods]]
name = "hybrid-fusion"
params = {{ first = {{ method = "{first}", params = {{ {params} }} }} }}
"""


def written(folder: Path, first: str, params: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(SUITE.format(first=first, params=params), "utf-8")
    return path


def test_a_suite_checks_parts_and_a_record_depends_on_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"parameter 'first': key 'method': unknown method 'eese'. Did you mean 'ease'"):
        load_suite(written(tmp_path, "eese", ""))
    with pytest.raises(UserError, match=r"parameter 'first' \('ease'\): unknown parameter 'l3'"):
        load_suite(written(tmp_path, "ease", "l3 = 1"))
    (one,) = load_suite(written(tmp_path, "ease", "l2 = 100")).runs()  # its default: the same run as without it
    assert one.spec.params == {} and one.spec.seed == 0
    assert [path.stem for path in one.file.paths] == ["hybrid_fusion", "ease", "bert_biencoder"]
    assert not needs_torch(one.file)
    runs = load_suite(written(tmp_path, "sasrec", "epochs = 1")).runs()
    assert [run.spec.seed for run in runs] == [0, 1]  # a part is seeded
    assert needs_torch(runs[0].file) and "torch" in machine_class(runs[0].file)
    plain = method_file("hybrid-fusion", find_methods())
    codes = {code_fingerprint(file, "ml-100k") for file in (plain, one.file, runs[0].file)}
    assert len(codes) == 3
