"""Parts of the worker: reasons for failure, the learning curve over several attempts, fitting under a protocol."""

import contextlib
import dataclasses
import errno

import numpy as np
import pytest

from llmrec import others, toy
from llmrec.context import Context
from llmrec.curve import Curve
from llmrec.errors import MethodError, UserError
from llmrec.fitting import fit
from llmrec.records import Status
from llmrec.stored import read_answers, write_answers
from llmrec.worker import _disk_is_full, explain


def test_errors_become_a_status_and_one_line():
    assert explain(MethodError("a\nb")) == (Status.FAILED, "MethodError: a b")
    assert explain(UserError("what to do")) == (Status.FAILED, "what to do")
    assert explain(MemoryError())[0] == Status.OOM
    status, message = explain(ModuleNotFoundError("No module named 'no_x'", name="no_x.y"))
    assert status == Status.SKIPPED and message == "needs the package 'no_x': pip install no_x"
    own = explain(ModuleNotFoundError("No module named 'llmrec.x'", name="llmrec.x"))
    assert own[0] == Status.FAILED  # our own mistake is no missing package


def test_a_full_disk_is_known_by_its_number_or_by_polars_words():
    assert _disk_is_full(OSError(errno.ENOSPC, "No space left on device"))
    assert _disk_is_full(RuntimeError("polars: No space left on device (os error 28)"))
    assert not _disk_is_full(OSError(errno.ENOENT, "no such file"))


def point(epoch, ndcg, **more):
    return {
        "stage": "fit",
        "part": "fit",
        "epoch": epoch,
        "epochs": 9,
        "loss": 1.0,
        "ndcg@10": ndcg,
        "left_s": 3,
        **more,
    }


def test_a_resumed_curve_goes_on_where_the_checkpoint_stands(tmp_path):
    first = Curve(tmp_path)
    first.add({"stage": "data"})
    for epoch, ndcg in ((1, 0.1), (2, 0.3), (3, 0.2)):
        first.add(point(epoch, ndcg))
    assert set(first.points[0]) == {"part", "epoch", "loss", "ndcg@10", "seconds", "cpu_seconds"}
    spent = first.points[1]["seconds"]
    second = Curve(tmp_path)  # killed after epoch 3 was told, before its checkpoint was there
    second.add({"stage": "fit", "part": "fit", "resumed_at": 2})
    second.add(point(3, 0.25))
    assert [p["epoch"] for p in second.points] == [1, 2, 3]
    assert [p["ndcg@10"] for p in second.points] == [0.1, 0.3, 0.25]
    assert second.earlier_seconds == spent and second.points[2]["seconds"] >= spent
    assert second.best() == 0.3
    third = Curve(tmp_path)  # starts anew: what was there is forgotten
    third.add(point(1, 0.5))
    assert len(third.points) == len((tmp_path / "curve.jsonl").read_text().splitlines()) == 1
    assert third.earlier_seconds == 0.0
    assert Curve(None).best() is None


@dataclasses.dataclass
class Recorder:
    """Says what it was given."""

    log: list
    chosen: int | None = 3

    def fit(self, split, ctx):
        given = (split.fit_data, ctx.validate is not None, ctx.epochs, ctx.folder and ctx.folder.name)
        self.log.append(given)
        ctx.log("fit", epoch=1)
        ctx.rng("order")
        if ctx.validate is not None:
            ctx.validate(self)
            ctx.chosen_epochs = self.chosen


def fitted(tmp_path, fit_data, early_stops, chosen=3):
    log, validated, events = [], [], []
    ctx = Context(seed=0, items=toy.items(4), folder=tmp_path, emit=events.append)
    split = toy.leave_one_out([[0, 1, 2, 3]] * 3, 4, fit_data=fit_data)

    def validate(method, on):
        validated.append(on.fit_data)
        return {"ndcg@10": 0.0}

    fit(lambda: Recorder(log, chosen), split, ctx, validate, early_stops=early_stops)
    return log, validated, events, ctx


def test_fitting_on_train_validates(tmp_path):
    log, validated, events, ctx = fitted(tmp_path, "train", True)
    assert log == [("train", True, None, "fit")] and validated == ["train"]
    assert events == [{"stage": "fit", "epoch": 1, "part": "fit"}]
    assert ctx.chosen_epochs == 3 and set(ctx.used_axes) == {"order"}


def test_fitting_on_both_parts_first_chooses_the_epochs_on_train_alone(tmp_path):
    log, validated, _, ctx = fitted(tmp_path, "train+valid", True)
    assert log == [("train", True, None, "choose"), ("train+valid", False, 3, "refit")]
    assert validated == ["train"] and ctx.chosen_epochs == 3


def test_fitting_on_both_parts_without_early_stopping_happens_once(tmp_path):
    log, validated, _, _ = fitted(tmp_path, "train+valid", False)
    assert log == [("train+valid", False, None, "fit")] and validated == []


@pytest.mark.parametrize(("fit_data", "early_stops", "fits"), [
    ("train", False, False), ("train", True, False), ("train+valid", True, False), ("train+valid", False, True),
])  # fmt: skip
def test_nobody_to_validate_on_is_said_before_anything_is_fitted(fit_data, early_stops, fits):
    split = toy.leave_one_out([[0, 1, 2, 3]] * 3, 4, fit_data=fit_data)
    split = dataclasses.replace(split, asked={**split.asked, "valid": np.empty(0, np.int32)})
    log = []
    with pytest.raises(UserError, match="validate on") if not fits else contextlib.nullcontext():
        fit(lambda: Recorder(log, 3), split, Context(seed=0, items=toy.items(4)), dict, early_stops=early_stops)
    assert bool(log) == fits


def test_early_stopping_without_a_chosen_epoch_is_an_error(tmp_path):
    with pytest.raises(MethodError, match="chosen_epochs"):
        fitted(tmp_path, "train+valid", True, chosen=None)


class ById:
    """Higher ids score higher."""

    def score(self, users):
        return np.tile(np.arange(8, dtype=np.float32), (len(users), 1))


def test_answers_are_stored_in_canonical_ids_and_read_back(tmp_path):
    from llmrec.evaluate import answer

    plain = toy.leave_one_out([[0, 1, 2, 3, 4], [5, 6, 7], [0]], 8)
    moved = dataclasses.replace(plain, canonical=np.array([3, 1, 0, 2, 7, 6, 5, 4], np.int32))
    answers = answer(ById(), moved, "test", k=6)
    hashes = write_answers(answers, moved, tmp_path)
    back = read_answers(tmp_path, moved, {"invalid_rate": 0.5})
    assert np.array_equal(back.ranks, answers.ranks)
    assert np.array_equal(back.topk.items, answers.topk.items) and (answers.topk.items == -1).any()
    assert np.array_equal(back.topk.scores, answers.topk.scores)
    assert back.rates == {"invalid_rate": 0.5}
    assert hashes != write_answers(answers, plain, tmp_path)  # the same ids mean other items now
    with pytest.raises(UserError, match="another split"):
        read_answers(tmp_path, moved, {})


def test_wall_clock_seconds_count_only_where_nothing_else_computed(monkeypatch):
    now = {"clock": 100.0, "busy": 1000.0}
    monkeypatch.setattr(others.time, "monotonic", lambda: now["clock"])
    monkeypatch.setattr(others, "_busy_seconds", lambda: now["busy"])
    beside = others.Others(own_seconds=2.0)
    now.update(clock=110.0, busy=1011.0)  # ten seconds later: 11 CPU seconds of all
    assert beside.kept_quiet(own_seconds=12.0)  # ten of them ours
    assert not beside.kept_quiet(own_seconds=9.0)
