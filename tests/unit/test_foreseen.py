"""What a suite will take, by what earlier runs took."""

import json
from types import SimpleNamespace

from llmrec.cli.foreseen import in_words, planned_hours
from llmrec.records import Protocol, RunSpec


def spec(method="ease", dataset="ml-100k", seed=0, **params):
    protocol = Protocol(name="leave-one-out", fit_data="train")
    return RunSpec(task="topn", dataset=dataset, protocol=protocol, method=method, params=params, seed=seed)


def ran(root, given, seconds, status="ok"):
    folder = root / "runs" / given.run_id / "cpu"
    folder.mkdir(parents=True)
    record = {"spec": given.model_dump(mode="json"), "cost": {"total_cpu_seconds": seconds}, "status": status}
    (folder / "record.json").write_text(json.dumps(record))


def due(*specs):
    return [SimpleNamespace(spec=one, label=one.method) for one in specs]


def test_hours_follow_from_the_nearest_earlier_runs(tmp_path):
    ran(tmp_path, spec(), 10)
    ran(tmp_path, spec(l2=5.0, seed=1), 40)
    ran(tmp_path, spec(l2=5.0, seed=2), 60)
    ran(tmp_path, spec("als"), 1000, status="failed")
    (tmp_path / "runs" / "torn" / "cpu").mkdir(parents=True)
    (tmp_path / "runs" / "torn" / "cpu" / "record.json").write_text("{")
    assert (
        planned_hours(due(spec()), tmp_path, 60) == "planned: about 10 CPU seconds for 1 run, by what earlier ones took"
    )
    assert "about 50 CPU seconds" in planned_hours(due(spec(l2=5.0)), tmp_path, 60)  # its row's other seeds
    assert "about 40 CPU seconds" in planned_hours(due(spec(l2=9.0)), tmp_path, 60)  # its method's other rows
    elsewhere = planned_hours(due(spec(dataset="ml-latest-small")), tmp_path, 60)
    assert "about 40 CPU seconds for 1 run" in elsewhere and "(1 of them scaled from other datasets" in elsewhere
    assert planned_hours(due(spec("als"), spec("als", seed=1)), tmp_path, 7200) == (
        "planned: 2 runs nobody has timed here, each ended after 2.0 hours at most: als on ml-100k"
    )
    assert "about 7 CPU seconds" in planned_hours(due(spec("als")), tmp_path, 60, {spec("als").run_id: 7.0})


def test_times_in_words():
    assert [in_words(n) for n in (0.2, 99, 130, 7000)] == [
        "0 CPU seconds", "99 CPU seconds", "2 CPU minutes", "1.9 CPU hours",
    ]  # fmt: skip
