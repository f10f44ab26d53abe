"""Tuning without processes: proposals, floors, what is refused, what a suite does with a frozen file."""

import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

optuna = pytest.importorskip("optuna")

from llmrec.curve import Curve  # noqa: E402
from llmrec.discover import find_methods  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.records import Cost, Record, RunSpec, Status  # noqa: E402
from llmrec.report import formats  # noqa: E402
from llmrec.report import tuning as report  # noqa: E402
from llmrec.results import run_folder  # noqa: E402
from llmrec.suite import load_suite  # noqa: E402
from llmrec.tuned import again, by_other_code, differences, read_tuned, tuned_path  # noqa: E402
from llmrec.tuning import budget  # noqa: E402
from llmrec.tuning.floors import floors  # noqa: E402
from llmrec.tuning.freeze import as_toml, freeze  # noqa: E402
from llmrec.tuning.proposals import STARTUP, distributions  # noqa: E402
from llmrec.tuning.setup import setups  # noqa: E402
from llmrec.tuning.study import Study, held, open_file  # noqa: E402
from llmrec.worker import Pruned, _prune  # noqa: E402

METHOD = '''
from dataclasses import dataclass
from llmrec.method import tune

@dataclass
class Climber:
    """For a test."""

    height: float = tune(0.3, low=0.0, high=1.0)
    steps: int = tune(4, low=1, high=9)
    kind: str | None = tune("a", choices=("a", "b", None))
    rate: float = tune(0.01, low=0.0001, high=1.0, log=True)
    epochs: int = 5
    other: int = 3

    def fit(self, split, ctx): ...
    def score(self, users): ...
'''

ROW = '[[methods]]\nname = "climber"\n'


@pytest.fixture
def suite(tmp_path):
    """Makes a suite from its text, by default one row; methods lie in tmp_path/methods."""
    (tmp_path / "methods").mkdir()

    def suite(text=ROW, method=METHOD, head=""):
        (tmp_path / "methods" / "climber.py").write_text(method)
        (tmp_path / "mine.toml").write_text(f'datasets = ["ml-100k"]\nseeds = [3, 4]\n{head}\n{text}')
        return load_suite(tmp_path / "mine.toml", tmp_path / "methods")

    return suite


def answer(study, due, root, status=Status.OK):
    """A record as a run would leave it; its figure follows from the parameters."""
    spec = due.planned.spec
    params = {name: p.default for name, p in due.planned.file.params.items()} | spec.params
    figure = params["height"] - abs(params["steps"] - 6) / 10 + (params["kind"] == "b") / 5
    metrics = {"valid/ndcg@10": figure} if status == Status.OK else {}
    record = Record(
        run_id=spec.run_id, machine_class="test", spec=spec, params={}, family="", status=status, metrics=metrics,
        cost=Cost(total_seconds=2.0, total_cpu_seconds=1.5),
    )  # fmt: skip
    return study.tell(due.number, record, root)


def params_of(study):
    return [(t.number, t.params, t.user_attrs["run_id"]) for t in study.trials]


def finish(study, total, root):
    while due := study.due(total):
        for one in due:
            status = Status.FAILED if one.number in (4, 12) else Status.OK
            answer(study, one, root, status)
    return study


def test_a_study_taken_up_anywhere_proposes_what_an_undisturbed_one_does(suite, tmp_path):
    (setup,), _ = setups(suite())
    whole = finish(Study(setup, open_file(tmp_path / "whole.db"), "mine"), 16, tmp_path)
    assert [t.number for t in whole.trials] == list(range(16))
    assert len({json.dumps(params) for _, params, _ in params_of(whole)}) == 16
    for killed_at in range(0, 16, 3):
        storage = optuna.storages.InMemoryStorage()
        first = Study(setup, storage, "mine")
        told = 0
        while told < killed_at and (due := first.due(16)):
            for one in due[::-1] if told else due:  # in whichever order they end
                if told < killed_at:
                    answer(first, one, tmp_path, Status.FAILED if one.number in (4, 12) else Status.OK)
                    told += 1
        first.due(16)  # written down, never run
        again = Study(setup, storage, "mine")
        assert params_of(finish(again, 16, tmp_path)) == params_of(whole)


def test_proposals_use_what_earlier_trials_gave(suite, tmp_path):
    (setup,), _ = setups(suite())
    study = finish(Study(setup, None, "mine"), 40, tmp_path)
    values = [t.value for t in study.trials if t.value is not None]
    assert sum(values[-15:]) / 15 > sum(values[: STARTUP - 1]) / (STARTUP - 1) + 0.2


def test_trial_0_has_the_defaults_and_floats_are_short(suite, tmp_path):
    (setup,), _ = setups(suite())
    study = finish(Study(setup, None, "mine"), 12, tmp_path)
    assert study.trials[0].params == {"height": 0.3, "steps": 4, "kind": "a", "rate": 0.01}
    assert setup.planned(0, study.trials[0].params).spec.params == {}
    for trial in study.trials:
        assert trial.params["rate"] == float(f"{trial.params['rate']:.4g}")
        assert isinstance(trial.params["steps"], int)
        assert 0.0001 <= trial.params["rate"] <= 1


def test_the_seed_follows_from_protocol_and_method_alone(suite):
    def seed(**options):
        return setups(suite(**options))[0][0].seed

    assert seed() == seed(head='title = "other"\nthreads = 2')
    assert seed() != seed(head="[protocol]\nusers = 7")
    assert seed() != seed(text=ROW + "params = { other = 4 }\n")


def test_what_a_trial_is(suite):
    loaded = suite(text=ROW + "params = { other = 4, steps = 4 }\n", head='[protocol]\nfit_data = "train+valid"\n')
    (setup,), _ = setups(loaded, epochs=2)
    assert setup.words.keys() == {"height", "kind", "rate"}, "what the row sets stays, even as the default says"
    spec = setup.planned(0, {}).spec
    assert spec.params == {"other": 4, "epochs": 2}
    assert (spec.part, spec.seed, spec.protocol.fit_data) == ("valid", 3, "train")
    assert setups(suite(text=ROW + "params = { epochs = 9 }\n"), epochs=2)[0][0].params({}) == {"epochs": 9}
    (plain,), _ = setups(suite())
    assert (plain.epochs, plain.params({})) == (5, {}), "the method's own number is stated, and equal runs have one id"


def test_judging_on_the_test_part_leaves_ids_as_they_were():
    plain = RunSpec(dataset="ml-100k", method="ease")
    assert "part" not in plain.model_dump(mode="json")
    assert plain.run_id == "c859f8b3149a618a"
    assert plain.model_copy(update={"part": "valid"}).run_id != plain.run_id
    spec = plain.model_copy(update={"part": "valid"})
    assert RunSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_floors_are_medians_of_the_best_so_far_after_a_third_of_the_epochs():
    curves = [{epoch: height * min(epoch, 4) for epoch in range(1, 7)} for height in (1, 2, 3, 4, 5)]
    assert floors(curves, 1) == {2: 6, 3: 9, 4: 12, 5: 12, 6: 12}
    assert floors(curves[:4], 1) == {}, "a median over too few says little"
    assert floors([{1: 5.0, 2: 3.0, 3: 4.0}] * 5, -1) == {1: 5.0, 2: 3.0, 3: 3.0}
    assert floors([{}, {}], 1) == {}


def test_a_trial_is_pruned_at_an_epoch_at_which_it_is_behind(tmp_path):
    curve = Curve(None)
    for epoch, figure in ((1, 0.1), (2, 0.3), (3, 0.2)):
        event = {"epoch": epoch, "ndcg@10": figure}
        curve.add(event)
        _prune(event, curve, {"2": 0.3, "3": 0.25}, tmp_path)  # the best so far counts
    event = {"epoch": 4, "ndcg@10": 0.2}
    curve.add(event)
    with pytest.raises(Pruned, match=r"after epoch 4: best ndcg@10 0.3000, median of earlier trials 0.4000"):
        _prune(event, curve, {"4": 0.4}, tmp_path)
    assert len((tmp_path / "curve.jsonl").read_text().splitlines()) == 4


def test_no_trial_is_pruned_while_trials_are_drawn_at_random(suite, tmp_path):
    (setup,), _ = setups(suite())
    study = Study(setup, None, "mine")
    for one in study.due(12):
        home = run_folder(one.planned.spec.run_id, "test", tmp_path)
        home.mkdir(parents=True)
        (home / "curve.jsonl").write_text('{"part": "fit", "epoch": 1, "ndcg@10": 0.5}\n{"epoch": 2, "loss": 1}\n')
        answer(study, one, tmp_path)
    assert study.floors(STARTUP - 1) == {}
    assert study.floors(STARTUP) == {1: 0.5}


def test_endings_that_say_nothing_about_the_parameters_stay_due(suite, tmp_path):
    (setup,), _ = setups(suite())
    study = Study(setup, None, "mine")
    first = study.due(2)[0]
    assert not answer(study, first, tmp_path, Status.SKIPPED)
    assert not answer(study, first, tmp_path, Status.INTERRUPTED)
    assert study.due(2)[0] == first
    for status in (Status.OOM, Status.TIMEOUT, Status.PRUNED):
        assert answer(study, study.due(4)[0], tmp_path, status)
    assert [t.state.name for t in study.ended] == ["FAIL", "FAIL", "PRUNED"]


def test_a_study_made_for_another_space_is_refused_with_what_differs(suite, tmp_path):
    storage = open_file(tmp_path / "one.db")
    Study(setups(suite())[0][0], storage, "mine")
    wider = METHOD.replace("high=9", "high=12").replace('kind: str | None = tune("a", choices=("a", "b", None))', "")
    with pytest.raises(UserError) as told:
        Study(setups(suite(method=wider))[0][0], storage, "mine")
    message = str(told.value)
    assert "space: steps was 1 to 9 and is 1 to 12" in message
    assert 'kind (one of "a", "b", null) is gone' in message
    assert message.endswith("llmrec tune mine -m climber --restart")
    with pytest.raises(UserError, match="epochs was 5 and is 2"):
        Study(setups(suite(), epochs=2)[0][0], storage, "mine")


def test_after_a_change_of_code_a_whole_study_is_frozen_as_it_was_and_another_not_continued(suite, tmp_path):
    storage = optuna.storages.InMemoryStorage()
    (setup,), _ = setups(suite())
    code = finish(Study(setup, storage, "mine"), 3, tmp_path).made_of["code"]
    (changed,), _ = setups(suite(method=METHOD.replace("users): ...", "users): return 1")))
    study = Study(changed, storage, "mine")
    assert study.due(3) == []
    assert read_tuned(freeze(study, "mine", tmp_path, 3), "mine").study.code == code
    with pytest.raises(UserError, match=r"code was .* and is .*--restart"):
        study.due(4)


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (METHOD.replace("tune(4, low=1", "tune(40, low=1"), "field 'steps': its default 40 is outside"),
        (METHOD.replace('("a", "b", None)', '("a", (1, 2))'), "choice (1, 2) is no plain value"),
        (METHOD.replace("low=0.0, high=1.0", "low=0.0, high=TOP"), "field 'height': its search space cannot be used"),
        (METHOD.replace('choices=("a", "b", None)', "choices=ELSEWHERE"), "written out in tune(...)"),
    ],
)
def test_spaces_that_cannot_be_searched(suite, method, says):
    with pytest.raises(UserError) as told:
        Study(setups(suite(method=method))[0][0], None, "mine")
    assert says in str(told.value)


@pytest.mark.parametrize("method", find_methods().values(), ids=find_methods().keys())
def test_the_spaces_of_the_suites_own_methods_hold_their_defaults(method):
    space = {name: parameter for name, parameter in method.params.items() if parameter.tune is not None}
    assert distributions(space, method.name).keys() == space.keys()


def test_rows_with_nothing_to_tune(suite):
    markov = '[[methods]]\nname = "markov"\n'
    chosen, without = setups(suite(text=ROW + markov))
    assert ([s.label for s in chosen], without) == (["climber"], ["markov"])
    for text, rows, says in (
        (markov, (), "nothing to tune"),
        (ROW + markov, ("markov",), "-m markov: nothing to tune"),
        (ROW, ("climbr",), "Did you mean 'climber'?"),
    ):
        with pytest.raises(UserError, match=says.replace("?", r"\?")):
            setups(suite(text=text), rows)
    with pytest.raises(UserError, match="no such dataset"):
        setups(suite(), datasets=["ml-1m"])


def frozen(suite, tmp_path, storage=None, **options):
    (setup,), _ = setups(suite(**options))
    study = finish(Study(setup, storage, "mine"), 12, tmp_path)
    return study, freeze(study, "mine", tmp_path, 12)


TUNED = '[[methods]]\nname = "climber"\nparams = "tuned"\nfixed = { other = 4 }\n'


def test_a_suite_runs_what_was_frozen(suite, tmp_path):
    with pytest.raises(
        UserError, match=r"tuned/ml-100k/climber.toml: no tuned parameters. Make them with: llmrec tune "
    ):
        suite(text=TUNED).runs()
    study, path = frozen(suite, tmp_path, text=ROW + "params = { other = 4 }\n")
    assert path == tuned_path(tmp_path, "ml-100k", "climber")
    found = read_tuned(path, "mine")
    best = max((t for t in study.ended if t.value is not None), key=lambda t: t.value)
    assert (found.study.best, found.study.best_trial) == (best.value, best.number)
    assert (found.study.default, found.study.trials, found.study.failed) == (study.ended[0].value, 12, 1)
    assert found.study.cpu_seconds == 1.5 * 12
    runs = suite(text=TUNED).runs()
    assert [run.spec.seed for run in runs] == [3, 4]
    assert {run.spec.part for run in runs} == {"test"}
    assert runs[0].spec.params == study.setup.params(best.params) and runs[0].spec.params["other"] == 4
    assert found.params == {"other": 4, "epochs": 5, **best.params}, "a default of today is no default of tomorrow"
    assert [{"kind": None, **t.params} for t in found.trials] == [t.params for t in study.ended], "TOML has no None"
    assert [(t.number, t.value) for t in found.trials] == [(t.number, t.value) for t in study.ended]
    assert list(path.parent.iterdir()) == [path], "nothing half-written is left"


def test_tuned_parameters_for_something_else_are_refused(suite, tmp_path):
    _, path = frozen(suite, tmp_path, text=ROW + "params = { other = 4 }\n")
    for options, says in (
        ({"text": TUNED.replace("= 4", "= 5")}, "fixed: other was 4 and is 5"),
        ({"text": TUNED, "method": METHOD.replace("high=9", "high=8")}, "space: steps was 1 to 9 and is 1 to 8"),
        ({"text": TUNED, "head": '[protocol]\nname = "temporal"'}, "protocol: name was leave-one-out and is temporal"),
    ):
        with pytest.raises(UserError) as told:
            suite(**options).runs()
        assert says in str(told.value) and str(told.value).endswith("--restart --freeze")
    assert suite(text=TUNED, head="[protocol]\nusers = 50").runs(), "a sample of users is no other question"
    for old, new, says in (
        ("trials = 12", "trials = 20", "the trials are not those of the study. Make the file anew with"),
        ("seed = ", "seed = 1", "changed by hand"),
        ("trials = 12", "trails = 12", "key 'study.trials'"),
        ("trials = 12", "trials 12", "not valid TOML"),
    ):
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(UserError, match=says):
            suite(text=TUNED).runs()
        path.write_text(path.read_text().replace(new, old))


def test_the_suites_own_mistakes_about_tuned(suite):
    for text, says in (
        (ROW + 'params = "tunned"\n', "expected a table of parameters, or the word 'tuned', found 'tunned'"),
        (ROW + "fixed = { other = 4 }\n", "key 'fixed': goes with params"),
        (ROW + 'params = "tuned"\nfixed = { othr = 4 }\n', "unknown parameter 'othr'. Did you mean 'other'?"),
        ('[[methods]]\nname = "markov"\nparams = "tuned"\n', "'markov' has nothing to tune"),
    ):
        with pytest.raises(UserError) as told:
            suite(text=text)
        assert says in str(told.value)


def test_freezing_wants_a_whole_study_with_figures(suite, tmp_path):
    (setup,), _ = setups(suite())
    study = Study(setup, None, "mine")
    answer(study, study.due(2)[0], tmp_path, Status.FAILED)
    with pytest.raises(UserError, match="1 of 2 trials are done"):
        freeze(study, "mine", tmp_path, 2)
    answer(study, study.due(2)[0], tmp_path, Status.FAILED)
    with pytest.raises(UserError, match="none of 2 trials gave a figure"):
        freeze(study, "mine", tmp_path, 2)
    assert not (tmp_path / "tuned").exists()


def test_toml_of_all_kinds_of_values(suite, tmp_path):
    import tomllib

    _, path = frozen(suite, tmp_path)
    found = read_tuned(path, "mine")
    odd = {"a b": 'quo"te\n', "tiny": 1e-5, "on": True, "list": [1, "x"], "table": {"é": 2.0}}
    found = found.model_copy(update={"params": odd})
    assert tomllib.loads(as_toml(found))["params"] == odd


def test_tuned_by_other_code_is_used_and_said(suite, tmp_path):
    _, path = frozen(suite, tmp_path, text=ROW + "params = { other = 4 }\n")
    found = read_tuned(path, "mine")
    assert not by_other_code(found, suite(text=TUNED).files["climber"])
    loaded = suite(text=TUNED, method=METHOD.replace("users): ...", "users): return 1"))
    assert loaded.runs() and loaded.studies("ml-100k")["climber"] == found
    assert by_other_code(found, loaded.files["climber"])
    assert again("mine", "a b", found.study) == (
        "llmrec tune mine -m 'a b' -d ml-100k --trials 12 --epochs 5 --restart --freeze"
    )


def test_the_budget_is_the_same_from_the_study_file_and_from_what_was_frozen(suite, tmp_path):
    study, path = frozen(suite, tmp_path, open_file(tmp_path / "frozen.db"))
    found = read_tuned(path, "mine")
    ((dataset, (one,)),) = budget.read_budgets(tmp_path / "frozen.db").items()
    assert [one] == report.frozen({"climber": found}) and dataset == "ml-100k"
    assert (one.count("ok"), one.failed, one.cpu_seconds, one.epochs) == (11, 1, 18, "5")
    so_far = one.best_so_far
    assert so_far == sorted(so_far) and so_far[-1] == one.best.value == found.study.best
    assert (one.default, one.best.number) == (study.ended[0].value, found.study.best_trial)
    (line, *_) = report.tuning_curves([one], "ml-100k").axes[0].get_lines()
    assert list(line.get_ydata()) == so_far
    written = budget.write({dataset: [one]}, tmp_path, "Mine")
    assert {p.name for p in written} == {"tuning.md", "tuning.csv", "tuning-ml-100k.pdf", "tuning-ml-100k.png"}
    assert len((tmp_path / "tuning.csv").read_text().splitlines()) == 13
    assert "| ml-100k | climber | rate | 0.0001 to 1.0, logarithmic |" in (tmp_path / "tuning.md").read_text()


def test_the_table_of_budgets_adds_up_and_names_rows_that_were_not_searched(suite, tmp_path):
    _, path = frozen(suite, tmp_path)
    (one,) = report.frozen({"climber": read_tuned(path, "mine")})
    table = report.tuning_table("ml-100k", [one, dataclasses.replace(one, label="other")], {"markov": "not searched"})
    rows = {
        row.name: {key: formats.figure(row.cells[key], c) for c in table.columns for key in [c.key]}
        for row in table.rows
    }
    assert list(rows) == ["climber", "other", "markov", "all rows"]
    climber, total = rows["climber"], rows["all rows"]
    assert (climber["trials"], climber["failed"], climber["tuning_cpu_seconds"]) == ("12", "1", "18.0")
    assert (total["trials"], total["failed"], total["tuning_cpu_seconds"]) == ("24", "2", "36.0")
    assert rows["markov"]["trials"] == "not searched"
    assert float(climber["best"]) - float(climber["default"]) == pytest.approx(float(climber["gain"]), abs=2e-4)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.01, 0.3))
def test_names_at_the_ends_of_curves_stand_apart_near_their_lines(heights, apart):
    heights = sorted(heights)
    found = report.spread(heights, apart)
    assert all(after - before >= apart - 1e-9 for before, after in itertools.pairwise(found))
    if all(after - before >= apart for before, after in itertools.pairwise(heights)):
        assert found == pytest.approx(heights)
    assert sum(found) == pytest.approx(sum(heights)), "moved up as much as down"


def test_two_at_a_time_and_files_that_are_no_studies(tmp_path):
    path = tmp_path / "x.db"
    with held(path), pytest.raises(UserError, match="another `llmrec tune` works on it"), held(path):
        pass
    (tmp_path / "bad.db").write_text("not a database at all, " * 100)
    with pytest.raises(UserError, match="cannot be read as a study file"):
        open_file(tmp_path / "bad.db")


def test_differences_in_words():
    assert differences({"a": 1, "b": {"c": 2}, "d": 3}, {"a": 1, "b": {"c": 4}, "e": 5}) == [
        "b: c was 2 and is 4", "d (3) is gone", "e (5) is new",
    ]  # fmt: skip
