"""Suites: what they plan, and what a mistake in one says."""

import pytest

from llmrec.errors import UserError
from llmrec.suite import load_suite, suite_names
from llmrec.tasks import TASKS

METHODS = {
    "seeded.py": """
@dataclass
class Seeded:
    epochs: int = 10
    rate: float = tune(10, low=0.0, high=50.0)
    kind: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (64, 32)
    limit: int | None = None
    first: dict[str, Any] = field(default_factory=dict)
    def fit(self, split, ctx): ...
""",
    "fixed.py": """
@dataclass
class Fixed:
    seeded: ClassVar[bool] = False
    def fit(self, split, ctx): ...
""",
    "library.py": """
@dataclass
class Library:
    model: str = "A"
    def fit(self, split, ctx): ...
""",
}

SUITE = """
title = "T"
datasets = ["ml-100k"]
seeds = [0, 1, 2]
[protocol]
fit_data = "train+valid"
[[methods]]
name = "seeded"
params = { PARAMS }
[[methods]]
name = "fixed"
"""


@pytest.fixture
def load(tmp_path):
    """Loads a suite from its text, with the three methods above."""
    methods = tmp_path / "methods"
    methods.mkdir()
    for name, text in METHODS.items():
        (methods / name).write_text(text)

    def load(text=SUITE, params=""):
        path = tmp_path / "mine.toml"
        path.write_text(text.replace("PARAMS", params))
        return load_suite(path, methods)

    return load


def params_of(suite):
    return suite.runs()[0].spec.params


def test_what_a_suite_plans(load):
    suite = load()
    assert (suite.name, suite.title, suite.protocol.fit_data) == ("mine", "T", "train+valid")
    planned = [(run.label, run.spec.seed) for run in suite.runs()]
    # a table with one seed comes first; a method without random streams runs once
    assert planned == [("seeded", 0), ("fixed", 0), ("seeded", 1), ("seeded", 2)]
    assert len({run.spec.run_id for run in suite.runs()}) == 4
    assert [run.spec.seed for run in suite.runs(seeds=[5])] == [5, 0]
    assert [run.label for run in suite.runs(methods=["fixed"])] == ["fixed"]


def test_only_parameters_that_differ_from_the_defaults_are_part_of_a_run(load):
    assert params_of(load(params="epochs = 10, rate = 10.0, sizes = [64, 32], first = {}")) == {}
    assert params_of(load(params="epochs = 11, rate = 10")) == {"epochs": 11}
    same = [params_of(load(params=text)) for text in ("rate = 7", "rate = 7.0")]
    assert same[0] == same[1] == {"rate": 7.0} and isinstance(same[0]["rate"], float)
    given = params_of(load(params="sizes = [1], limit = 3, kind = 'b', first = { method = 'fixed', k = 100 }"))
    assert given == {"sizes": [1], "limit": 3, "kind": "b", "first": {"method": "fixed", "k": 100}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("epoch = 3", "unknown parameter 'epoch'. Did you mean 'epochs'?"),
        ("epochs = 3.5", "parameter 'epochs': expected int, found 3.5"),
        ("epochs = true", "parameter 'epochs': expected int, found True"),
        ("rate = 'high'", "parameter 'rate': expected float, found 'high'"),
        ("kind = 'c'", "parameter 'kind': expected Literal['a', 'b'], found 'c'"),
        ("sizes = [1.5]", "parameter 'sizes': expected tuple[int, ...], found [1.5]"),
        ("limit = 'no'", "parameter 'limit': expected int | None, found 'no'"),
        ("epochs = 2020-01-01", "parameter 'epochs': expected int"),
    ],
)
def test_parameters_are_checked_against_the_fields_of_the_method(load, given, expected):
    with pytest.raises(UserError) as caught:
        load(params=given)
    assert expected in str(caught.value) and "mine.toml: methods[1] ('seeded')" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('title = "T"', 'titel = "T"', "unknown key 'titel'. Did you mean 'title'?"),
        ('title = "T"', "title = 3", "key 'title': expected a string, found 3."),
        ("[0, 1, 2]", "[0, 'x']", "key 'seeds[2]': expected a list of whole numbers from 0, found 'x'."),
        ("[0, 1, 2]", "[0, 0]", "key 'seeds': an entry stands twice."),
        ("[0, 1, 2]", "[]", "key 'seeds': expected a list of whole numbers"),
        ('["ml-100k"]', '["ml-100"]', "key 'datasets': unknown dataset 'ml-100'. Did you mean 'ml-100k'?"),
        ('datasets = ["ml-100k"]', "", "key 'datasets' is missing: a list of dataset names."),
        ('"train+valid"', '"valid"', "key 'protocol.fit_data': expected 'train' or 'train+valid', found 'valid'."),
        ('"train+valid"', '"train+val"', "Did you mean 'train+valid'?"),
        ("fit_data", "fitdata", "unknown key 'fitdata' in 'protocol'. Did you mean 'fit_data'?"),
        ('name = "fixed"', 'nmae = "fixed"', "methods[2]"),
        ('name = "fixed"', 'name = "fixd"', "methods[2] ('fixd'): key 'name': unknown method 'fixd'. Did you mean"),
        ('name = "fixed"', 'name = "fixed"\nlabel = "seeded"', "two rows are called 'seeded'"),
        ('title = "T"', 'metrics = ["recal@10"]', "the task 'topn' has no metric 'recal@10'. Did"),
        ("[protocol]", "[limits]\nseconds = 0\n[protocol]", "key 'limits.seconds': expected seconds of"),
        ("[protocol]", "[protocol", "not valid TOML"),
    ],
)  # fmt: skip
def test_mistakes_name_the_file_the_key_and_what_was_expected(load, old, new, expected):
    assert old in SUITE
    with pytest.raises(UserError) as caught:
        load(SUITE.replace(old, new))
    assert expected in str(caught.value) and "mine.toml" in str(caught.value)


def test_choices_that_a_suite_does_not_have(load):
    suite = load()
    with pytest.raises(UserError, match="Did you mean 'fixed'"):
        suite.runs(methods=["fixd"])
    with pytest.raises(UserError, match="-d ml-1m"):
        suite.runs(datasets=["ml-1m"])


def test_a_model_behind_the_colon_is_not_given_twice(load):
    text = SUITE.replace('"fixed"', '"library:B"\nparams = { model = "C" }')
    with pytest.raises(UserError, match="unknown parameter 'model'"):
        load(text)


def test_every_suite_that_is_shipped_is_good():
    assert {"quickstart", "ml-100k"} <= suite_names().keys()
    for name in suite_names():
        assert load_suite(name).runs()


def test_metrics_that_a_suite_may_name_are_those_that_are_measured():
    from llmrec import toy
    from llmrec.evaluate import answer, measure

    class Constant:
        def score(self, users):
            import numpy as np

            return np.zeros((len(users), 50))

    split = toy.checkerboard(50)
    import numpy as np

    measures = measure(answer(Constant(), split, "test"), split, toy.items(50), np.eye(50, dtype=np.float32))
    assert set(TASKS["topn"].metrics) == set(measures.metrics)
