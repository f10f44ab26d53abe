"""`llmrec tune` on real data: killed, taken up again, run in parallel, frozen, used; and its refusals."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from llmrec.records import Protocol, RunSpec, Status, read_record
from llmrec.results import run_folder
from llmrec.runner import Options, run_all
from llmrec.suite import Planned, load_suite
from llmrec.tuned import read_tuned

pytest.importorskip("optuna")
pytestmark = pytest.mark.slow  # whole studies in processes of their own

HEAD = 'title = "Mine"\ndatasets = ["ml-100k"]\nseeds = [0]\n[protocol]\nname = "leave-one-out"\nusers = 200\n'
ROWS = ("item-knn", "markov", "ease")
SUITE = HEAD + "".join(f'[[methods]]\nname = "{name}"\n' for name in ROWS)


def trials(results):
    """What the study file says of every trial, apart from what time it took."""
    with (results / "tuning" / "mine" / "tuning.csv").open(encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k != "cpu_seconds"} for row in csv.DictReader(file)]


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, command_line):
    """A study that was killed and taken up with --jobs 2, beside an undisturbed one."""
    folder = tmp_path_factory.mktemp("tune")
    (folder / "mine.toml").write_text(SUITE)
    llmrec = command_line(folder)
    command = [sys.executable, "-P", "-m", "llmrec", "tune", "mine.toml", "--trials", "2"]
    records = llmrec.results / "tuning" / "runs"
    process = subprocess.Popen(
        command, env=llmrec.environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for(lambda: len(list(records.glob("[!.]*/*/record.json"))) >= 2, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = llmrec("tune", "mine.toml", "--trials", 2, "--jobs", 2, "--freeze")
    assert done.returncode == 0, done.stderr
    calm = llmrec("tune", "mine.toml", "--trials", 2, "--results", folder / "calm")
    assert calm.returncode == 0, calm.stderr
    return llmrec, done, folder / "calm"


def test_a_killed_study_ends_with_the_trials_of_an_undisturbed_one(tuned):
    llmrec, done, calm = tuned
    assert trials(llmrec.results) == trials(calm)
    assert len(trials(calm)) == 4 and {row["status"] for row in trials(calm)} == {"ok"}
    assert "nothing to tune: markov" in done.stderr
    left = [p for p in llmrec.results.rglob("*") if ".staging" in p.name or p.suffix == ".partial"]
    assert not left


def test_no_trial_has_seen_the_test_part(tuned):
    llmrec, done, _ = tuned
    for row in trials(llmrec.results):
        (path,) = (llmrec.results / "tuning" / "runs" / row["run_id"]).glob("*/record.json")
        record = read_record(path.parent)
        assert record.spec.part == "valid" and record.run_id == record.spec.run_id == row["run_id"]
        assert list(record.metrics) == ["valid/ndcg@10"] and repr(record.metrics["valid/ndcg@10"]) == row["value"]
        assert not record.slices and "answers" not in record.fingerprints and not record.cost.answer_seconds
        assert {p.name for p in path.parent.iterdir()} == {"record.json", "log.txt"}
    assert "ok  valid/ndcg@10 0." in done.stderr


def test_a_suite_uses_what_was_frozen_and_gets_the_trials_figure(tuned):
    llmrec, done, _ = tuned
    path = llmrec.folder / "tuned" / "ml-100k" / "ease.toml"
    assert f"wrote {path}" in done.stdout
    found = read_tuned(path, "mine")
    assert found.study.best == max(float(r["value"]) for r in trials(llmrec.results) if r["row"] == "ease")
    assert found.study.trials == 2 and found.study.cpu_seconds > 0
    (llmrec.folder / "use.toml").write_text(HEAD + '[[methods]]\nname = "ease"\nparams = "tuned"\n')
    ran = llmrec("run", "use.toml")
    assert ran.returncode == 0, ran.stderr
    (planned,) = load_suite(llmrec.folder / "use.toml").runs()
    assert planned.spec.params == found.params
    (home,) = (llmrec.results / "runs" / planned.spec.run_id).iterdir()
    record = read_record(home)
    assert record.metrics["valid/ndcg@10"] == found.study.best and "ndcg@10" in record.metrics


def test_going_on_asking_again_and_looking(tuned):
    llmrec, _, _ = tuned
    before = trials(llmrec.results)
    again = llmrec("tune", "mine.toml", "--trials", 2)
    assert again.returncode == 0 and "0 trials to do" in again.stderr
    shown = llmrec("tune", "mine.toml", "--report")
    assert shown.returncode == 0 and "item-knn" in shown.stdout
    assert trials(llmrec.results) == before
    said = llmrec("tune", "mine.toml", "-m", "ease", "--trials", 5, "--dry-run").stdout
    assert "ml-100k/ease: 2 of 5 trials done, 3 to do" in said and "l2: 1.0 to 5000.0, logarithmic" in said
    llmrec.refuses("tune", "mine.toml", "--trials", 1, says=["has 2 already", "--restart"])


def test_a_study_of_another_protocol_is_refused(tuned):
    llmrec, _, _ = tuned
    changed = SUITE.replace("users = 200", "users = 100")
    (llmrec.folder / "other").mkdir()
    path = llmrec.folder / "other" / "mine.toml"
    path.write_text(changed)
    message = llmrec.refuses("tune", path, "-m", "ease", "--trials", 2)
    assert "protocol: users was 200 and is 100" in message and "--restart" in message


def test_refusals_leave_nothing(llmrec):
    (llmrec.folder / "mine.toml").write_text(SUITE)
    llmrec.refuses("tune", "mine.toml", "-m", "eas", says=["-m eas", "Did you mean 'ease'?"])
    llmrec.refuses("tune", "mine.toml", "-m", "markov", says=["nothing to tune"])
    llmrec.refuses("tune", "mine.toml", "--report", says=["no study yet", "llmrec tune"])
    (llmrec.folder / "use.toml").write_text(HEAD + '[[methods]]\nname = "ease"\nparams = "tuned"\n')
    llmrec.refuses("run", "use.toml", says=["tuned/ml-100k/ease.toml: no tuned parameters", "--freeze"])
    assert llmrec("tune", "use.toml", "--dry-run").returncode == 0
    assert not llmrec.results.exists()


METHOD = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from llmrec.method import tune

@dataclass
class Climber:
    """Tells a figure an epoch."""

    early_stops: ClassVar[bool] = True
    height: float = tune(0.5, low=0.0, high=1.0)
    epochs: int = 6

    def fit(self, split, ctx):
        for epoch in range(1, self.epochs + 1):
            ctx.log("fit", epoch=epoch, epochs=self.epochs, loss=1.0, **{"ndcg@10": self.height * epoch})
        ctx.chosen_epochs = self.epochs
        self.n = split.n_items

    def score(self, users):
        return np.zeros((len(users), self.n))
'''


def test_a_pruned_trial_ends_at_its_epoch_on_record_and_is_not_run_again(tmp_path):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "climber.py").write_text(METHOD)
    (tmp_path / "mine.toml").write_text(HEAD + '[[methods]]\nname = "climber"\n')
    suite = load_suite(tmp_path / "mine.toml", tmp_path / "methods")
    protocol = Protocol.model_validate({"name": "leave-one-out", "users": 200})
    spec = RunSpec(dataset="ml-100k", protocol=protocol, method="climber", params={"height": 0.1}, part="valid")
    planned = Planned("climber", spec, suite.files["climber"])
    options = Options(root=tmp_path / "results", floors={spec.run_id: {2: 0.1, 4: 0.5, 6: 0.9}})
    (record,) = run_all([planned], options)
    assert record.status == Status.PRUNED and record.metrics == {}
    assert record.error == "pruned after epoch 4: best ndcg@10 0.4000, median of earlier trials 0.5000"
    home = run_folder(spec.run_id, record.machine_class, options.root)
    points = [json.loads(line) for line in (home / "curve.jsonl").read_text().splitlines()]
    assert [point["epoch"] for point in points] == [1, 2, 3, 4]
    assert run_all([planned], options) == [record]
    assert not (options.root / "checkpoints").exists()
