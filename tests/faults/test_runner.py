"""Runs that take too long, take too much, are killed or interrupted: each leaves its word, and the others go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmrec.records import Status
from llmrec.runner import Options, run_all
from llmrec.suite import Limits, load_suite

METHOD = '''
import os, time
from dataclasses import dataclass
from typing import ClassVar
import numpy as np

@dataclass
class Mine:
    """For a test."""

    seeded: ClassVar[bool] = False

    def fit(self, split, ctx):
        self.n = split.n_items
        print("fitting begins", flush=True)
        {fit}

    def score(self, users):
        return np.zeros((len(users), self.n))
'''

METHODS = {
    "sleepy": "time.sleep(600)",
    "hungry": "self.x = np.ones(400 << 20, np.uint8); time.sleep(600)",
    "hungry_child": (
        "import subprocess, sys; "
        "subprocess.run([sys.executable, '-c', 'x = bytearray(400 << 20); import time; time.sleep(600)'])"
    ),
    "killed": "os.kill(os.getpid(), 9)",
    "crashing": "os.kill(os.getpid(), 11)",
    "leaving": "os._exit(7)",
    "out_of_memory": "raise MemoryError('no more')",
    "counting": "open(os.environ['TEST_OUT'], 'a').write('x'); time.sleep(1)",
}


@pytest.fixture
def folder(tmp_path):
    """A folder with the methods above."""
    (tmp_path / "methods").mkdir()
    for name, fit in METHODS.items():
        (tmp_path / "methods" / f"{name}.py").write_text(METHOD.format(fit=fit))
    return tmp_path


def suite_file(folder: Path, *names: str) -> Path:
    rows = "".join(f'[[methods]]\nname = "{name.replace("_", "-")}"\n' for name in names)
    path = folder / "mine.toml"
    path.write_text(f'datasets = ["ml-100k"]\nseeds = [0]\n{rows}')
    return path


def run_some(folder, *names, **limits):
    planned = load_suite(suite_file(folder, *names), folder / "methods").runs()
    options = Options(limits=Limits(**limits), jobs=2, root=folder / "results", extra=folder / "methods")
    return run_all(planned, options)


def nothing_half_done(folder: Path) -> bool:
    return not [p for p in (folder / "results" / "runs").iterdir() if p.name.startswith(".")]


def test_limits_and_kills_leave_their_reason_and_the_others_go_on(folder):
    names = ("sleepy", "killed", "crashing", "leaving", "out_of_memory", "popularity")
    records = dict(zip(names, run_some(folder, *names, seconds=6), strict=True))
    assert {name: record.status for name, record in records.items()} == {
        "sleepy": Status.TIMEOUT, "killed": Status.FAILED, "crashing": Status.FAILED, "leaving": Status.FAILED,
        "out_of_memory": Status.OOM, "popularity": Status.OK,
    }  # fmt: skip
    assert records["sleepy"].error == "took longer than 6 s"
    assert records["sleepy"].log_tail == "fitting begins\n"
    assert 6 <= records["sleepy"].cost.total_seconds < 12
    assert "SIGKILL" in records["killed"].error and "SIGSEGV" in records["crashing"].error
    assert "exit code 7" in records["leaving"].error
    assert "no more" in records["out_of_memory"].error
    assert nothing_half_done(folder)


@pytest.mark.parametrize("name", ["hungry", "hungry_child"])
def test_the_memory_limit_counts_child_processes(folder, name):
    (record,) = run_some(folder, name, memory_gib=0.4, seconds=60)
    assert record.status == Status.OOM and "over the limit of 0.4 GiB" in record.error
    assert record.cost.peak_rss_bytes > 0.4 * 2**30


def command_line(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "llmrec", "run", str(folder / "mine.toml"), "--methods", str(folder / "methods"),
         "--results", str(folder / "results"), *arguments],
        env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def fitting(folder: Path) -> list[Path]:
    """Logs of runs that have begun to fit."""
    logs = (folder / "results" / "runs").glob(".staging-*/log.txt")
    return [log for log in logs if "fitting begins" in log.read_text()]


def workers(folder: Path) -> list[int]:
    """Worker processes whose staging folder lies in ``folder``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in (text := path.read_bytes().decode()) and "llmrec.worker" in text:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_ends_cleanly_and_the_same_command_goes_on(folder, presses):
    suite_file(folder, "sleepy", "popularity")
    process = command_line(folder)
    wait_for(lambda: fitting(folder))
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    _, err = process.communicate(timeout=30)  # the method would sleep far longer
    assert process.returncode == 130 and "Traceback" not in err, err
    assert workers(folder) == [] and nothing_half_done(folder)
    records = [json.loads(p.read_text()) for p in (folder / "results" / "runs").glob("*/*/record.json")]
    assert [r["status"] for r in records] in (["interrupted"], [] if presses == 2 else None)
    (folder / "methods" / "sleepy.py").write_text(METHOD.format(fit="pass"))
    again = command_line(folder)
    again.communicate(timeout=60)
    assert again.returncode == 0
    records = [json.loads(p.read_text()) for p in (folder / "results" / "runs").glob("*/*/record.json")]
    assert sorted(r["spec"]["method"] for r in records if r["status"] == "ok") == ["popularity", "sleepy"]


@linux
def test_a_killed_runner_takes_its_workers_along_and_leaves_nothing_that_counts(folder):
    suite_file(folder, "sleepy")
    process = command_line(folder)
    wait_for(lambda: fitting(folder))
    process.kill()
    process.communicate()
    wait_for(lambda: not workers(folder), 10)
    assert not list((folder / "results" / "runs").glob("*/*/record.json"))
    (folder / "methods" / "sleepy.py").write_text(METHOD.format(fit="pass"))
    again = command_line(folder)
    again.communicate(timeout=60)
    assert again.returncode == 0 and nothing_half_done(folder)


def test_two_runners_on_one_results_folder_do_each_run_once(folder):
    suite_file(folder, "counting", "popularity")
    out = str(folder / "count.txt")
    both = [command_line(folder, TEST_OUT=out) for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert Path(out).read_text() == "x"
    assert "counting" in ends[0][0] and "counting" in ends[1][0]  # both show the whole table
    assert nothing_half_done(folder)


def test_the_exit_code_says_that_a_run_failed(folder):
    suite_file(folder, "leaving", "popularity")
    process = command_line(folder)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "exit code 7" in err and "popularity" in out
