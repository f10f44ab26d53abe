"""Suites of other tasks than topn: verbs, protocols, folds and control rows."""

import pytest

from llmrec.errors import UserError
from llmrec.suite import load_suite
from llmrec.tasks import TASKS

PREDICTS = """
from dataclasses import dataclass

@dataclass
class Predicts:
    {flag}
    def fit(self, split, ctx): ...
    def predict(self, users, items): ...
"""

SEARCHES = """
from dataclasses import dataclass

@dataclass
class Searches:
    def fit(self, split, ctx): ...
    def search(self, texts, k): ...
"""

RATING = """
task = "rating"
datasets = ["ml-100k"]
seeds = [0, 1]
folds = [1, 2, 3]
[protocol]
name = "official"
fit_data = "train+valid"
[[methods]]
name = "predicts"
"""

REQUEST = """
task = "request"
datasets = ["ml-latest-small"]
seeds = [0]
[[methods]]
name = "searches"
[[methods]]
name = "searches"
label = "with the answers in the text"
control = true
protocol = { withhold = false }
"""


@pytest.fixture
def load(tmp_path):
    methods = tmp_path / "methods"
    methods.mkdir()
    (methods / "predicts.py").write_text(PREDICTS.format(flag=""))
    (methods / "searches.py").write_text(SEARCHES)

    def load(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return load_suite(path, methods)

    return load


def test_folds_are_runs_of_one_row(load):
    suite = load(RATING)
    runs = suite.runs()
    assert suite.folds == (1, 2, 3) and suite.metrics == TASKS["rating"].shown
    assert [(run.spec.seed, run.spec.protocol.fold) for run in runs] == [(s, f) for s in (0, 1) for f in (1, 2, 3)]
    assert {run.spec.task for run in runs} == {"rating"} and len({run.spec.run_id for run in runs}) == 6


def test_a_task_brings_its_own_protocol_and_columns(load):
    suite = load(REQUEST)
    assert suite.protocol.name == "requests" and suite.metrics == ("ndcg@10", "precision@10", "recall@10")


def test_a_control_row_may_change_the_protocol(load):
    plain, control = load(REQUEST).runs()
    assert not plain.control and plain.spec.protocol.withhold
    assert control.control and not control.spec.protocol.withhold
    assert plain.spec.run_id != control.spec.run_id


@pytest.mark.parametrize(
    ("suite", "old", "new", "message"),
    [
        (RATING, 'task = "rating"', 'task = "ratings"', "key 'task': expected"),
        (RATING, 'task = "rating"', 'task = "topn"', "for the task 'topn', which wants score or generate"),
        (RATING, 'name = "official"', 'name = "leave-one-out"', "'protocol.name': the task 'rating' is asked under"),
        (RATING, 'name = "official"', 'name = "random"', "key 'folds': goes with protocol.name = 'official'"),
        (RATING, 'name = "official"', 'name = "official"\nfold = 1', "key 'folds': goes with"),
        (RATING, "[1, 2, 3]", "[1, 1]", "key 'folds': an entry stands twice"),
        (RATING, "[1, 2, 3]", "[0]", "key 'folds"),
        (RATING, "[protocol]", 'metrics = ["ndcg@10"]\n[protocol]', "the task 'rating' has no metric 'ndcg@10'"),
        (REQUEST, "control = true\n", "", "key 'protocol': only a control row may change the protocol"),
        (REQUEST, "withhold = false", "withold = false", "cannot change 'withold'. Did you mean 'withhold'?"),
        (REQUEST, "withhold = false", 'withhold = "no"', "key 'protocol.withhold': "),
        (REQUEST, "withhold = false", 'name = "official"', "cannot change 'name'"),
    ],
)
def test_mistakes(load, suite, old, new, message):
    assert old in suite
    with pytest.raises(UserError) as error:
        load(suite.replace(old, new))
    assert message in str(error.value) and "mine.toml: " in str(error.value)
