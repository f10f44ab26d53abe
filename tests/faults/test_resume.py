"""A neural run that is killed in mid-training resumes and ends with exactly the figures of an undisturbed one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmrec.records import Status, read_record
from llmrec.runner import Options, run_all
from llmrec.suite import load_suite

pytest.importorskip("torch")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

METHOD = '''
import time
from dataclasses import dataclass
from typing import ClassVar

import torch

from llmrec.training import train


@dataclass
class Tiny:
    """Matrix factorisation with dropout, for a test."""

    early_stops: ClassVar[bool] = True
    epochs: int = 8
    pause: float = 0.0

    def fit(self, split, ctx):
        torch.manual_seed(ctx.seed_for("initialisation"))
        self.users = torch.nn.Embedding(split.n_users, 8)
        self.items = torch.nn.Embedding(split.n_items, 8)
        self.model = torch.nn.ModuleList([self.users, self.items])
        user = torch.as_tensor(split.fit.user.copy())
        item = torch.as_tensor(split.fit.item.copy())
        optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)

        def run_epoch(epoch):
            print("epoch", epoch, flush=True)
            time.sleep(self.pause)  # so that the test can strike in the middle
            order = torch.as_tensor(ctx.rng("order", epoch).permutation(len(user))[:4000])
            total = 0.0
            for rows in order.split(500):
                own = torch.nn.functional.dropout(self.users(user[rows]), 0.2)
                loss = torch.nn.functional.cross_entropy(own @ self.items.weight.T, item[rows].long())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += float(loss.detach())
            return total

        train(self, self.model, optimizer, run_epoch, ctx, epochs=self.epochs, patience=3)

    def score(self, users):
        with torch.no_grad():
            return (self.users.weight[torch.as_tensor(users.ids).long()] @ self.items.weight.T).numpy()
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "tiny.py").write_text(METHOD)
    return tmp_path


def suite_file(folder, head="", method="tiny", params="pause = 0.2"):
    path = folder / "mine.toml"
    path.write_text(
        f'datasets = ["ml-100k"]\nseeds = [0]\n{head}\n[[methods]]\nname = "{method}"\nparams = {{ {params} }}\n'
    )
    return path


def undisturbed(folder):
    planned = load_suite(folder / "mine.toml", folder / "methods").runs()
    (record,) = run_all(planned, Options(root=folder / "undisturbed", extra=folder / "methods"))
    assert record.status == Status.OK, record.log_tail
    return record


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "llmrec", "run", str(folder / "mine.toml"), "--retry", "--methods",
         str(folder / "methods"), "--results", str(folder / "results")],
        env=os.environ | {"PYTHONSAFEPATH": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def events(folder):
    found = []
    for path in (folder / "results" / "runs").glob(".staging-*/events.jsonl"):
        found += [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    return found


def worker_of(folder):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().decode()
        except OSError:
            continue
        if str(folder / "results") in text and "llmrec.worker" in text:
            return int(path.parent.name)
    return None


def wait_for_epoch(folder, epoch, part="fit", seconds=90):
    end = time.monotonic() + seconds
    while not any(e.get("epoch", 0) >= epoch and e.get("part") == part for e in events(folder)):
        assert time.monotonic() < end, events(folder)
        time.sleep(0.02)


def finished(folder):
    """The record, its curve and what was printed."""
    (path,) = (folder / "results" / "runs").glob("*/*/record.json")
    curve = [json.loads(line) for line in (path.parent / "curve.jsonl").read_text().splitlines()]
    return read_record(path.parent), curve, (path.parent / "log.txt").read_text()


def same_figures(first, second):
    assert first.metrics == second.metrics
    for what in ("data", "split", "answers", "scores"):  # bit by bit
        assert first.fingerprints[what] == second.fingerprints[what]
    assert first.cost.epochs == second.cost.epochs and first.seeds == second.seeds


@linux
@pytest.mark.parametrize("victim", ["worker", "runner"])
def test_a_killed_run_resumes_and_ends_with_the_same_figures(folder, victim):
    suite_file(folder)
    first = start(folder)
    wait_for_epoch(folder, 3)
    pid = worker_of(folder) if victim == "worker" else first.pid
    os.kill(pid, signal.SIGKILL)
    first.communicate(timeout=60)
    if victim == "worker":
        assert first.returncode == 1
        (path,) = (folder / "results" / "runs").glob("*/*/record.json")
        assert "SIGKILL" in read_record(path.parent).error
    assert list((folder / "results" / "checkpoints").rglob("checkpoint.pt"))

    second = start(folder)
    _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    record, curve, log = finished(folder)
    assert "epoch 0\n" not in log and "epoch 7\n" in log, log  # it did not start anew
    same_figures(record, undisturbed(folder))
    assert [p["epoch"] for p in curve] == list(range(1, 9))
    assert record.cost.fit_seconds > 7 * 0.2  # what the first attempt spent counts
    assert not (folder / "results" / "checkpoints").exists()


@linux
def test_checkpoints_of_other_code_are_not_used(folder):
    suite_file(folder)
    first = start(folder)
    wait_for_epoch(folder, 3)
    os.kill(worker_of(folder), signal.SIGKILL)
    first.communicate(timeout=60)
    (folder / "methods" / "tiny.py").write_text(METHOD.replace("lr=0.05", "lr=0.04"))
    second = start(folder)
    second.communicate(timeout=120)
    assert second.returncode == 0
    record, _, log = finished(folder)
    assert "epoch 0\n" in log
    same_figures(record, undisturbed(folder))


@linux
def test_a_fit_on_both_parts_resumes_in_its_second_fit(folder):
    suite_file(folder, '[protocol]\nfit_data = "train+valid"')
    first = start(folder)
    wait_for_epoch(folder, 2, part="refit")
    os.kill(worker_of(folder), signal.SIGKILL)
    first.communicate(timeout=60)
    second = start(folder)
    second.communicate(timeout=120)
    assert second.returncode == 0
    record, curve, log = finished(folder)
    assert "epoch 0\n" not in log
    same_figures(record, undisturbed(folder))
    parts = [p["part"] for p in curve]
    assert set(parts) == {"choose", "refit"} and parts.count("refit") == record.cost.epochs
    assert record.cost.epochs <= parts.count("choose")


@linux
def test_ctrl_c_keeps_the_checkpoint(folder):
    suite_file(folder)
    first = start(folder)
    wait_for_epoch(folder, 3)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert first.returncode == 130
    second = start(folder)
    second.communicate(timeout=120)
    record, _, log = finished(folder)
    assert second.returncode == 0 and "epoch 0\n" not in log
    same_figures(record, undisturbed(folder))


@linux
@pytest.mark.slow
def test_sasrec_resumes(folder):
    suite_file(folder, method="sasrec", params="epochs = 4")
    first = start(folder)
    wait_for_epoch(folder, 2)
    os.kill(worker_of(folder), signal.SIGKILL)
    first.communicate(timeout=60)
    second = start(folder)
    second.communicate(timeout=300)
    assert second.returncode == 0
    record, curve, _ = finished(folder)
    same_figures(record, undisturbed(folder))
    assert [p["epoch"] for p in curve] == [1, 2, 3, 4]
