"""A suite's results as a benchmark leaves them: twelve methods, three seeds, and every way in which a run can end."""

import json
import shutil
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from llmrec import track
from llmrec.evaluate.metrics import per_user
from llmrec.provenance import machine_class
from llmrec.records import Cost, Provenance, Record, Status, write_record
from llmrec.report import plots
from llmrec.results import run_folder
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.suite import load_suite
from llmrec.types import NOT_RANKED, Targets

# label: family, seeded, quality (chance to rank the target early), fit CPU s, answer CPU s, parameters, epochs
METHODS = {
    "random": ("non-personal", True, 0.0, 0.0004, 0.05, 0, None),
    "popularity": ("non-personal", False, 0.16, 0.002, 0.04, 1682, None),
    "markov": ("sequential", False, 0.33, 0.03, 0.07, 60000, None),
    "decayed-transitions": ("sequential", False, 0.45, 0.09, 0.31, 380000, None),
    "item-knn": ("collaborative", False, 0.30, 0.12, 0.15, 210000, None),
    "ease": ("collaborative", False, 0.41, 0.9, 0.2, 2829124, None),
    "als": ("collaborative", True, 0.32, 2.2, 0.12, 168000, None),
    "bpr": ("collaborative", True, 0.29, 41.0, 0.13, 168000, 30),
    "sasrec": ("sequential", True, 0.47, 63.0, 1.4, 215000, 25),
    "tfidf": ("content", False, 0.10, 0.06, 0.11, 24000, None),
    "bert-biencoder": ("bert", False, 0.17, 4.1, 0.16, 646000, None),
    "gpt-semantic-id": ("gpt", True, 0.40, 118.0, 22.0, 1240000, 40),
}
SUITE = """
title = "Every family on MovieLens-100K"
datasets = ["ml-100k"]
seeds = [0, 1, 2]
metrics = ["ndcg@10", "recall@10", "mrr@10", "coverage@10", "novelty@10", "diversity_text@10"]
"""
FILE = '''
from dataclasses import dataclass
from typing import ClassVar

@dataclass
class {name}:
    """A method of the tests."""

    family: ClassVar[str] = "{family}"
    seeded: ClassVar[bool] = {seeded}
    encoder: str = "all-MiniLM-L6-v2"

    def fit(self, split, ctx): ...
'''


@dataclass
class Lab:
    """A folder with methods, a suite and results."""

    folder: Path
    users: int = 943

    @property
    def results(self):
        return self.folder / "results"

    @property
    def methods(self):
        return self.folder / "methods"

    @property
    def suite(self):
        return load_suite(self.folder / "demo.toml", self.methods)

    def set_up(self):
        self.methods.mkdir(parents=True)
        text = SUITE
        for label, (family, seeded, *_) in METHODS.items():
            name = label.title().replace("-", "")
            path = self.methods / f"{label.replace('-', '_')}.py"
            path.write_text(FILE.format(name=name, family=family, seeded=seeded))
            text += f'[[methods]]\nname = "{label}"\n'
        (self.folder / "demo.toml").write_text(text)

    def keep(self, *labels):
        """Leave only these rows in the suite: what is computed for each row is computed for few."""
        path = self.folder / "demo.toml"
        head = path.read_text().partition("[[methods]]")[0]
        path.write_text(head + "".join(f'[[methods]]\nname = "{label}"\n' for label in labels))

    def fill(self, *, bad=True):
        """Write every planned run. ``bad``: some of them fail, time out, are skipped, or are missing."""
        for planned in self.suite.runs():
            ending = ENDINGS.get((planned.label, planned.spec.seed)) if bad else None
            if ending != "missing":
                self.write(planned, *(ending or (Status.OK, None)))

    def folder_of(self, planned):
        return run_folder(planned.spec.run_id, machine_class(planned.file), self.results)

    def plan(self, label, seed=0):
        return next(p for p in self.suite.runs() if (p.label, p.spec.seed) == (label, seed))

    def write(self, planned, status=Status.OK, error=None, **changes):
        """Write a record with the files beside it; ``changes`` replace fields of the record."""
        folder = self.folder_of(planned)
        folder.mkdir(parents=True, exist_ok=True)
        family, _, quality, fit, answer, parameters, epochs = METHODS[planned.label]
        common = {
            "run_id": planned.spec.run_id, "machine_class": folder.name, "spec": planned.spec, "family": family,
            "status": status, "error": error,
            "provenance": Provenance(
                commit="4f1c09a2be77", host="a1b2c3d4", cpu="Some CPU @ 2.5 GHz", threads=1, lock="ab" * 32,
                models={"all-MiniLM-L6-v2": "53aa51172d14"}, finished="2026-11-22T08:00:00Z",
            ),
        }  # fmt: skip
        if status != Status.OK:
            write_record(Record(**common | changes), folder)
            return
        rng = np.random.default_rng([planned.spec.seed, *planned.label.encode()])
        ranks = self.ranks(quality, rng)
        ids = np.arange(self.users, dtype=np.int32)
        targets = Targets(ids, np.arange(self.users + 1), ids)
        values = per_user(ranks, targets)
        pl.DataFrame({"user": ids, **values}).write_parquet(folder / "users.parquet")
        pl.DataFrame({"user": ids, "item": ids, "rank": ranks}).write_parquet(folder / "ranks.parquet")
        if epochs:
            best = float(values["ndcg@10"].mean()) * 1.1
            points = [(e, best * (1 - np.exp(-e / (epochs / 5))) + rng.normal(0, 0.002)) for e in range(1, epochs + 1)]
            lines = [{"part": "fit", "epoch": e, "loss": 6.0 / e, "ndcg@10": max(v, 0.0)} for e, v in points]
            (folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        means = {key: float(value.mean()) for key, value in values.items()}
        lists = {
            "coverage@10": 1.0 if planned.label == "random" else 0.05 + quality * rng.uniform(0.7, 1.2),
            "novelty@10": 11.2 - 5 * quality, "diversity_text@10": 0.8 - quality * 0.5,
            "valid/ndcg@10": means["ndcg@10"] * 1.08,
        }  # fmt: skip
        rates = {"invalid_rate": 0.0, "duplicate_rate": 0.0} if family == "gpt" else {}
        parts = {"users:low": 1.3, "users:mid": 1.0, "users:high": 0.7, "items:head": 1.2, "items:tail": 0.4}
        cost = Cost(
            fit_seconds=fit, fit_cpu_seconds=fit * rng.uniform(0.9, 1.1), answer_seconds=answer,
            answer_cpu_seconds=answer * rng.uniform(0.9, 1.1), answers_per_second=self.users / answer,
            parameters=parameters, epochs=epochs, peak_rss_bytes=int(rng.uniform(2e8, 9e8)), alone=False,
        )  # fmt: skip
        record = common | {
            "metrics": means | lists | rates,
            "slices": {n: {"ndcg@10": means["ndcg@10"] * f, "users": 310.0} for n, f in parts.items()},
            "counts": {"users": self.users, "targets": self.users, "users_without_target": 0},
            "fingerprints": {
                "data": "d1", "split": "s1", "answers": f"{planned.label}-{planned.spec.seed}",
                "code": code_fingerprint(planned.file, planned.spec.dataset), "evaluation": evaluation_fingerprint(),
            },
            "params": {"encoder": "all-MiniLM-L6-v2"}, "cost": cost,
        }  # fmt: skip
        write_record(Record(**record | changes), folder)

    def ranks(self, quality, rng):
        """Ranks of one target a user: some users are easy for everybody, the rest is chance."""
        ease = np.random.default_rng(7).beta(1.2, 3.0, self.users)
        odds = np.clip(ease * quality * 1.6 + rng.normal(0, 0.05, self.users), 0, 1)
        hit = rng.random(self.users) < odds
        early = rng.geometric(0.16, self.users).clip(1, 60)
        late = rng.integers(11, 1682, self.users)
        late[rng.random(self.users) < 0.02] = NOT_RANKED
        return np.where(hit, early, late).astype(np.int32)


ENDINGS = {
    ("als", 2): (Status.FAILED, "LinAlgError: matrix is singular & the 100 % of it_s rows vanish"),
    ("bpr", 0): (Status.SKIPPED, "needs the package 'recbole': pip install 'llmrec[recbole]'"),
    ("bpr", 1): (Status.SKIPPED, "needs the package 'recbole': pip install 'llmrec[recbole]'"),
    ("bpr", 2): (Status.SKIPPED, "needs the package 'recbole': pip install 'llmrec[recbole]'"),
    ("bert-biencoder", 0): "missing",
    ("gpt-semantic-id", 1): (Status.TIMEOUT, "1800 s time limit reached"),
}


@pytest.fixture
def empty_lab(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_RESULTS", str(tmp_path / "results"))
    lab = Lab(tmp_path)
    lab.set_up()
    return lab


@pytest.fixture
def lab(empty_lab):
    """All runs are there, but for those in ENDINGS."""
    empty_lab.fill()
    return empty_lab


@pytest.fixture(scope="session")
def finished_lab(tmp_path_factory):
    """As ``lab``, made once: for tests that only read it."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.set_up()
    lab.fill()
    return lab


@pytest.fixture(scope="session")
def small_lab(tmp_path_factory):
    """Four rows on 200 users, all finished, made once: for tests that write a whole report and only read it."""
    lab = Lab(tmp_path_factory.mktemp("small"), users=200)
    lab.set_up()
    lab.keep("random", "ease", "sasrec", "gpt-semantic-id")
    lab.fill(bad=False)
    return lab


@pytest.fixture
def one_figure(monkeypatch):
    """Only quality against cost is drawn: for tests of what stands around the figures."""

    def draw(block, interval):
        def cost(line):
            return line.costs("fit_cpu_seconds")[0]

        return {"quality-fit-cost": plots.scatter(block, interval, cost, "CPU seconds", "", log=True)}

    monkeypatch.setattr(plots, "draw_all", draw)


@pytest.fixture
def whole_lab(empty_lab):
    """All runs are there and ok."""
    empty_lab.fill(bad=False)
    return empty_lab


BLOCK = 32768  # the file is LevelDB's log format after a header of 7 bytes


def offline_records(path):
    """The protobuf records of a .wandb file."""
    from wandb.proto import wandb_internal_pb2 as pb

    data, at, part, out = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # no room for a record's head: the block's end is padding
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            record = pb.Record()
            record.ParseFromString(part)
            out.append(record)
            part = b""
    return out


def offline_run(folder, run_id):
    """(run header, history rows, summary) of the one offline run with this id, once W&B has written all of it."""
    (path,) = Path(folder).glob(f"wandb/offline-run-*/run-{run_id}.wandb")
    for _ in range(100):
        records = offline_records(path)
        if records and records[-1].WhichOneof("record_type") in ("exit", "footer", "final"):
            break
        time.sleep(0.1)
    header, rows, summary = None, [], {}
    for record in records:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            header = record.run
        elif kind == "history":
            items = record.history.item
            rows.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items})
        elif kind == "summary":
            summary |= {i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in record.summary.update}
    return header, rows, summary


@pytest.fixture
def read_back():
    """Reads an offline W&B run: (run header, history rows, summary)."""
    return offline_run


@pytest.fixture
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_RESULTS", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    track._warned.clear()
    return tmp_path


class Browser:
    """Debian's or the user's own Chromium, without a window."""

    def __init__(self, chromium):
        self.chromium = chromium

    def quiet_page(self, width=1280):
        """A page, and the list of what goes wrong on it: messages, errors, requests that leave this machine."""
        page, wrong = self.chromium.new_page(viewport={"width": width, "height": 900}), []
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda sent: None if sent.url.startswith(("file:", "data:")) else wrong.append(sent.url))
        return page, wrong


@pytest.fixture
def browser():
    """Skips where there is no Chromium or no Playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield Browser(chromium)
        chromium.close()
