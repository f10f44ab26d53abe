"""The W&B mirror, read back from the file that an offline run leaves."""

import json
import logging
import sys

import pytest

from llmrec import track
from llmrec.records import Cost, Record, RunSpec, Status

pytest.importorskip("wandb")


def make_record(spec):
    return Record(
        run_id=spec.run_id, machine_class="cpu", spec=spec, params={"shrink": 10.0}, family="collaborative",
        status=Status.OK, metrics={"ndcg@10": 0.125, "recall@10": 0.25}, cost=Cost(fit_seconds=1.5),
        slices={"items:tail": {"ndcg@10": 0.05}},
    )  # fmt: skip


def test_an_offline_run_holds_the_curve_and_the_figures(offline, read_back):
    spec = RunSpec(dataset="toy", method="item-knn", params={"shrink": 10.0}, seed=3)
    tracker = track.Tracker.start("quickstart", spec, {"shrink": 10.0, "neighbours": 50})
    tracker.event({"stage": "data"})
    tracker.event({"stage": "fit", "epoch": 1, "loss": 2.0})
    tracker.event({"stage": "fit", "epoch": 2, "loss": 1.0, "ndcg@10": 0.11})
    tracker.finish(make_record(spec))

    header, rows, summary = read_back(offline, spec.run_id)
    assert (header.run_id, header.project, header.run_group) == (spec.run_id, "llmrec", "quickstart")
    config = {item.key: json.loads(item.value_json) for item in header.config.update}
    assert config["params"] == {"shrink": 10.0, "neighbours": 50}
    assert (config["seed"], config["dataset"], config["protocol"]["name"]) == (3, "toy", "leave-one-out")
    assert [row["fit/loss"] for row in rows] == [2.0, 1.0]
    assert rows[1]["fit/ndcg@10"] == 0.11
    assert summary["ndcg@10"] == 0.125
    assert summary["slice/items:tail/ndcg@10"] == 0.05
    assert summary["cost/fit_seconds"] == 1.5
    assert summary["status"] == "ok"


def test_two_runs_side_by_side_do_not_mix(offline, read_back):
    specs = [RunSpec(dataset="toy", method="item-knn", seed=seed) for seed in (0, 1)]
    trackers = [track.Tracker.start("quickstart", spec, {}) for spec in specs]
    for loss, tracker in enumerate(trackers):
        tracker.event({"stage": "fit", "epoch": 1, "loss": float(loss)})
    for spec, tracker in zip(specs, trackers, strict=True):
        tracker.finish(make_record(spec))
    assert [read_back(offline, spec.run_id)[1][0]["fit/loss"] for spec in specs] == [0.0, 1.0]


def test_without_wandb_a_run_goes_on_and_one_warning_says_so(offline, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    spec = RunSpec(dataset="toy", method="item-knn")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            tracker = track.Tracker.start("quickstart", spec, {})
            tracker.event({"stage": "fit", "epoch": 1, "loss": 2.0})
            tracker.finish(make_record(spec))
    assert [r.message for r in caplog.records if "not installed" in r.message] == [r.message for r in caplog.records]
    assert len(caplog.records) == 1


def test_a_server_that_cannot_be_reached_leaves_an_offline_run(offline, read_back, monkeypatch, caplog):
    import wandb

    real = wandb.init
    modes = []

    def unreachable(**kwargs):
        modes.append(kwargs["mode"])
        if kwargs["mode"] == "online":
            raise wandb.errors.CommError("no route to host")
        return real(**kwargs)

    monkeypatch.setattr(wandb, "init", unreachable)
    monkeypatch.setenv("WANDB_MODE", "online")
    spec = RunSpec(dataset="toy", method="item-knn")
    tracker = track.Tracker.start("quickstart", spec, {})
    tracker.finish(make_record(spec))
    assert modes == ["online", "offline"]
    assert read_back(offline, spec.run_id)[2]["ndcg@10"] == 0.125
    assert any("kept offline" in r.message for r in caplog.records)


def test_an_error_while_logging_never_reaches_the_caller(offline, read_back, caplog):
    spec = RunSpec(dataset="toy", method="item-knn")
    tracker = track.Tracker.start("quickstart", spec, {})
    tracker.image("plot", offline / "missing.png")
    tracker.finish(make_record(spec))
    assert sum("not affected" in r.message for r in caplog.records) == 1
    assert read_back(offline, spec.run_id)[2]["ndcg@10"] == 0.125


def test_no_key_means_offline(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert track.mode() == "offline"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password none\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert track.mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert track.mode() == "disabled"
