"""verify and reeval on real runs."""

import json

import polars as pl
import pytest

from llmrec.errors import UserError
from llmrec.recheck import reevaluate, verify
from llmrec.records import Status, read_record, write_record
from llmrec.results import run_folder
from llmrec.runner import Options, run_all
from llmrec.staleness import state
from llmrec.suite import Limits, load_suite

METHOD = '''
import os
from dataclasses import dataclass
from typing import ClassVar
import numpy as np

@dataclass
class Mine:
    """For a test."""

    seeded: ClassVar[bool] = {seeded}

    def fit(self, split, ctx):
        self.row = {row}

    def score(self, users):
        return np.tile(self.row, (len(users), 1))
'''

HONEST = METHOD.format(seeded=False, row="np.arange(split.n_items, dtype=float)")
LIAR = METHOD.format(seeded=False, row="ctx.rng('noise').random(split.n_items)")
LOOSE = METHOD.format(seeded=True, row="np.random.default_rng().random(split.n_items)")


@pytest.fixture
def done(tmp_path):
    """Runs one method and returns suite, planned run, record and folder."""

    def done(text=HONEST, name="mine"):
        (tmp_path / "methods").mkdir(exist_ok=True)
        (tmp_path / "methods" / "mine.py").write_text(text)
        (tmp_path / "s.toml").write_text(f'datasets = ["ml-100k"]\nseeds = [0]\n[[methods]]\nname = "{name}"\n')
        suite = load_suite(tmp_path / "s.toml", tmp_path / "methods")
        (planned,) = suite.runs()
        (record,) = run_all([planned], Options(root=tmp_path, extra=tmp_path / "methods"))
        assert record.status == Status.OK, record.log_tail
        return suite, planned, record, run_folder(record.run_id, record.machine_class, tmp_path)

    return done


def check(record, folder, tmp_path):
    return verify(record, folder, limits=Limits(), extra=tmp_path / "methods")


def test_a_method_that_gives_the_same_answers_is_bitwise(done, tmp_path):
    _, _, record, folder = done()
    result = check(record, folder, tmp_path)
    assert (result.determinism, result.seed_free, result.differences) == ("bitwise", True, {})
    written = json.loads((folder / "verify.json").read_text())
    assert written["determinism"] == "bitwise" and written["answers"] == record.fingerprints["answers"]
    assert read_record(folder) == record  # records are immutable: the verdict lies beside


def test_seeded_false_is_checked_with_another_seed(done, tmp_path):
    _, _, record, folder = done(LIAR)
    result = check(record, folder, tmp_path)
    assert (result.determinism, result.seed_free) == ("none", False)


def test_a_method_with_randomness_of_its_own_is_none(done, tmp_path):
    _, _, record, folder = done(LOOSE)
    result = check(record, folder, tmp_path)
    assert result.determinism == "none" and result.seed_free is None
    assert result.differences["ndcg@10"] > 0


def test_what_cannot_be_verified_is_refused(done, tmp_path):
    _, _, record, folder = done()
    with pytest.raises(UserError, match="nothing to verify"):
        check(record.model_copy(update={"status": Status.FAILED}), folder, tmp_path)
    with pytest.raises(UserError, match="Verify it there"):
        check(record.model_copy(update={"machine_class": "cuda"}), folder, tmp_path)
    other = {**record.fingerprints, "answers": "0"}
    with pytest.raises(UserError, match="not those of its record"):
        check(record.model_copy(update={"fingerprints": other}), folder, tmp_path)
    (tmp_path / "methods" / "mine.py").write_text(HONEST + "x = 1\n")
    with pytest.raises(UserError, match="is stale"):
        check(record, folder, tmp_path)
    assert not (folder / "verify.json").exists()


def test_reeval_measures_stored_answers_and_keeps_the_rest(done, tmp_path):
    suite, planned, record, folder = done(name="popularity")
    old = record.model_copy(
        update={
            "metrics": {"ndcg@10": 0.9, "valid/ndcg@10": 0.7, "invalid_rate": 0.25},
            "slices": {},
            "fingerprints": {**record.fingerprints, "evaluation": "older"},
        }
    )
    write_record(old, folder)
    assert state(old, planned.file) == "stale evaluation"
    (change,) = reevaluate(suite, tmp_path)
    after = read_record(folder)
    assert change.after == after and state(after, planned.file) == "fresh"
    expected = {**record.metrics, "valid/ndcg@10": 0.7, "invalid_rate": 0.25}
    assert after.metrics == pytest.approx(expected) and after.slices == record.slices
    assert (after.provenance, after.cost, after.seeds) == (record.provenance, record.cost, record.seeds)
    assert {p.name for p in folder.iterdir()} >= {"ranks.parquet", "answers.parquet", "users.parquet", "log.txt"}
    lists = pl.read_parquet(folder / "answers.parquet")
    lists.with_columns(score=pl.col("score") / 2).write_parquet(folder / "answers.parquet")
    (again,) = reevaluate(suite, tmp_path)
    assert again.after is None and "not those of its record" in again.reason
    (folder / "answers.parquet").unlink()
    (again,) = reevaluate(suite, tmp_path)
    assert again.after is None and "answers.parquet" in again.reason
    assert read_record(folder) == after
