"""The runner on real child processes: what is due, what a record holds, what a worker sees."""

import json
import sys
import time

import polars as pl
import pytest

import llmrec
from llmrec.discover import find_methods
from llmrec.errors import UserError
from llmrec.progress import Lines, Live, news, watcher
from llmrec.records import RunSpec, Status, read_record
from llmrec.runner import Options, run, run_all
from llmrec.suite import load_suite

METHOD = '''
import os, sys
from dataclasses import dataclass
from typing import ClassVar
import numpy as np

@dataclass
class {name}:
    """For a test."""

    seeded: ClassVar[bool] = False
    needed: str = ""

    def fit(self, split, ctx):
        self.n = split.n_items
        {fit}

    def score(self, users):
        return np.zeros((len(users), self.n))
'''


def write(folder, name, fit="pass"):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(METHOD.format(name=name.title().replace("_", ""), fit=fit))


class Heard:
    """A watcher that remembers."""

    def __init__(self):
        self.begun, self.events, self.ended, self.said, self.closed = [], [], [], [], 0

    def begin(self, run):
        self.begun.append(run.label)

    def event(self, run, event):
        self.events.append(event)

    def end(self, run, record):
        self.ended.append((run.label, record.status))

    def say(self, text):
        self.said.append(text)

    def close(self):
        self.closed += 1


@pytest.fixture
def suite(tmp_path):
    """A suite of given methods; own methods lie in tmp_path/methods."""

    def suite(*names, head=""):
        (tmp_path / "methods").mkdir(exist_ok=True)
        rows = "".join(f'[[methods]]\nname = "{name}"\n' for name in names)
        (tmp_path / "mine.toml").write_text(f'datasets = ["ml-100k"]\nseeds = [0, 1]\n{head}\n{rows}')
        return load_suite(tmp_path / "mine.toml", tmp_path / "methods")

    return suite


def options(tmp_path, **changes):
    return Options(root=tmp_path / "results", extra=tmp_path / "methods", **changes)


def test_a_suite_is_done_once_and_leaves_whole_records(suite, tmp_path):
    heard = Heard()
    planned = suite("popularity", "random").runs()
    records = run_all(planned, options(tmp_path, watchers=[heard], jobs=2))
    assert [r.status for r in records] == [Status.OK] * 3
    assert sorted(heard.begun) == ["popularity", "random", "random"] and heard.closed == 1
    stages = [e["stage"] for e in heard.events]
    assert {"data", "split", "warm-up", "fit", "answer", "measure"} <= set(stages)

    popularity, chance, other = records
    assert popularity.metrics["ndcg@10"] > chance.metrics["ndcg@10"] != other.metrics["ndcg@10"]
    assert popularity.metrics["valid/ndcg@10"] > 0
    assert popularity.run_id == popularity.spec.run_id == planned[0].spec.run_id
    assert set(popularity.fingerprints) == {"data", "split", "code", "evaluation", "answers", "scores"}
    assert popularity.provenance.commit and popularity.provenance.started <= popularity.provenance.finished
    assert popularity.cost.fit_seconds > 0 and popularity.cost.answers_per_second > 100
    assert 50e6 < popularity.cost.peak_rss_bytes < 1e9 and popularity.cost.alone is False
    assert chance.seeds != other.seeds and set(chance.seeds)
    assert popularity.seeds == {}

    folder = tmp_path / "results" / "runs" / popularity.run_id / popularity.machine_class
    names = {p.name for p in folder.iterdir()}
    assert names == {"record.json", "ranks.parquet", "users.parquet", "answers.parquet", "log.txt"}
    assert pl.read_parquet(folder / "ranks.parquet").height == 943 == popularity.counts["targets"]
    assert pl.read_parquet(folder / "users.parquet")["ndcg@10"].mean() == pytest.approx(popularity.metrics["ndcg@10"])
    assert not [p for p in (tmp_path / "results" / "runs").iterdir() if p.name.startswith(".")]
    assert not (tmp_path / "results" / "checkpoints").exists()

    again = Heard()
    before = time.monotonic()
    assert run_all(planned, options(tmp_path, watchers=[again])) == records
    assert again.begun == [] and again.closed == 1 and time.monotonic() - before < 1


def test_failed_runs_wait_for_retry_and_stale_ones_for_stale(suite, tmp_path):
    write(tmp_path / "methods", "mine", "raise ValueError('the reason')")
    planned = suite("mine").runs()
    (first,) = run_all(planned, options(tmp_path))
    assert (first.status, first.error) == (Status.FAILED, "ValueError: the reason")
    assert "Traceback" in first.log_tail and first.metrics == {}
    assert run_all(planned, options(tmp_path)) == [first]

    write(tmp_path / "methods", "mine")
    planned = suite("mine").runs()
    (second,) = run_all(planned, options(tmp_path, retry=True))
    assert second.status == Status.OK
    write(tmp_path / "methods", "mine", "self.changed = 1")
    planned = suite("mine").runs()
    assert run_all(planned, options(tmp_path)) == [second]
    (third,) = run_all(planned, options(tmp_path, stale=True))
    assert third.fingerprints["code"] != second.fingerprints["code"]
    assert third.fingerprints["answers"] == second.fingerprints["answers"]


def test_the_workers_environment_and_what_it_does_not_import(suite, tmp_path):
    fit = """import json, pathlib
        names = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "PYTHONHASHSEED", "PYTHONSAFEPATH",
                 "CUBLAS_WORKSPACE_CONFIG", "TOKENIZERS_PARALLELISM")
        heavy = ("torch", "transformers", "sklearn", "requests", "rich", "wandb", "typer", "matplotlib", "implicit",
                 "scipy", "psutil")
        found = {n: os.environ.get(n) for n in names}
        found["heavy"] = [m for m in heavy if m in sys.modules]
        found["hash"] = hash("a")
        pathlib.Path(os.environ["TEST_OUT"]).write_text(json.dumps(found))"""
    write(tmp_path / "methods", "mine", fit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_OUT", str(tmp_path / "out.json"))
        (record,) = run_all(suite("mine").runs(), options(tmp_path, threads=2))
    assert record.status == Status.OK, record.log_tail
    found = json.loads((tmp_path / "out.json").read_text())
    assert found.pop("heavy") == []
    assert isinstance(found.pop("hash"), int)
    assert found == {
        "OMP_NUM_THREADS": "2", "POLARS_MAX_THREADS": "2", "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    assert record.provenance.threads == 2


def test_a_missing_package_skips_with_the_command_and_is_tried_again(suite, tmp_path):
    methods = tmp_path / "methods"
    write(methods, "declared")
    text = (methods / "declared.py").read_text().replace("needed: str", 'requires: ClassVar = ("no_pkg",)\n    n: str')
    (methods / "declared.py").write_text(text)
    write(methods, "silent", "import no_pkg")
    heard = Heard()
    planned = suite("declared", "silent").runs()
    declared, silent = run_all(planned, options(tmp_path, watchers=[heard]))
    assert declared.status == silent.status == Status.SKIPPED
    assert "pip install no_pkg" in declared.error and "pip install no_pkg" in silent.error
    again = Heard()
    run_all(planned, options(tmp_path, watchers=[again]))
    assert again.begun == ["silent"] and len(again.ended) == 2  # the declared one needs no process to know


def test_run_as_a_library(tmp_path):
    spec = RunSpec(dataset="ml-100k", method="ease", params={"precision": "float64", "l2": 300}, seed=7)
    record = llmrec.run(spec, root=tmp_path)
    assert record.status == Status.OK and record.metrics["ndcg@10"] > 0.05
    assert record.spec.seed == 0  # ease has no random streams
    defaults = {name: p.default for name, p in find_methods()["ease"].params.items()}
    assert record.params == {**defaults, "precision": "float64", "l2": 300.0}
    assert all(record.spec.params[key] != defaults[key] for key in record.spec.params)
    finished = record.provenance.finished
    assert llmrec.run(spec, root=tmp_path).provenance.finished == finished
    folder = tmp_path / "runs" / record.run_id / record.machine_class
    assert read_record(folder) == record
    for wrong, message in (
        ({"method": "eese"}, "Did you mean 'ease'"),
        ({"params": {"l": 3}}, "unknown parameter 'l'"),
        ({"dataset": "ml-10k"}, "Did you mean 'ml-100k'"),
    ):
        with pytest.raises(UserError, match=message):
            run(spec.model_copy(update=wrong), root=tmp_path)


def test_train_and_valid_have_their_own_place(suite, tmp_path):
    plain, both = (suite("popularity", head=head).runs()[0] for head in ("", '[protocol]\nfit_data = "train+valid"'))
    assert plain.spec.run_id != both.spec.run_id
    (record,) = run_all([both], options(tmp_path))
    assert record.status == Status.OK
    assert "valid/ndcg@10" not in record.metrics  # fitted on it: it says nothing


def test_weights_and_biases_hears_of_every_run_and_is_waited_for_at_the_end_only(suite, tmp_path, monkeypatch):
    import threading

    import llmrec.track
    from llmrec.progress import Mirror

    heard, may_finish = [], threading.Event()

    class Tracker:
        @classmethod
        def start(cls, suite_name, spec, params):
            heard.append(("start", suite_name, spec.method, params["needed"]))
            return cls()

        def event(self, event):
            heard.append(("event", event["stage"]))

        def finish(self, record):
            may_finish.wait(10)
            heard.append(("finish", record.status))

    class Opener(Heard):
        def end(self, run, record):
            super().end(run, record)
            may_finish.set()  # the runner got here although the tracker has not finished

    monkeypatch.setattr(llmrec.track, "Tracker", Tracker)
    write(tmp_path / "methods", "mine")
    run_all(suite("mine").runs(), options(tmp_path, watchers=[Mirror("mine"), Opener()]))
    assert heard[0] == ("start", "mine", "mine", "") and heard[-1] == ("finish", Status.OK)
    assert ("event", "fit") in heard and len([h for h in heard if h[0] == "finish"]) == 1


def test_without_git_a_content_hash_stands_in_for_the_commit(tmp_path, monkeypatch):
    from llmrec import provenance

    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "mine.py").write_text("x = 1")
    first, dirty = provenance._commit(tmp_path)
    assert first.startswith("content-") and not dirty
    (tmp_path / "baselines" / "mine.py").write_text("x = 2")
    assert provenance._commit(tmp_path)[0] != first


def test_words_for_progress(capsys, suite):
    event = {"stage": "fit", "part": "fit", "epoch": 3, "epochs": 50, "loss": 1.23456, "ndcg@10": 0.04123, "left_s": 95}
    assert news(event) == "fit  epoch 3/50  loss 1.235  ndcg@10 0.0412  1 min 35 s left"
    assert news({"stage": "fit", "resumed_at": 4}) == "fit  resumed at epoch 4"
    assert isinstance(watcher(3), Lines)  # no terminal here
    planned = suite("popularity").runs()[0]
    lines = Lines(1, sys.stderr, every=0.0)
    lines.begin(planned)
    time.sleep(0.01)
    lines.event(planned, event)
    assert "ml-100k  popularity  seed 0  fit  epoch 3/50" in capsys.readouterr().err


def test_the_live_view_shows_one_line_a_run(suite):
    import io

    import rich.console

    console = rich.console.Console(file=io.StringIO(), force_terminal=True, width=100)
    live = Live(2, console)
    planned = suite("popularity").runs()[0]
    live.begin(planned)
    live.event(planned, {"stage": "warning", "note": "the encoder knows few of the tokens"})
    live.event(planned, {"stage": "fit", "epoch": 1, "epochs": 2, "loss": 0.5})
    live.live.refresh()
    shown = console.file.getvalue()
    live.close()
    assert "popularity" in shown and "epoch 1/2" in shown and "0 of 2 runs done" in shown
    assert "! ml-100k  popularity  seed 0  the encoder knows few of the tokens" in shown
