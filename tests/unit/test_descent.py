"""A step's parts, its processes, bfloat16, and a kill within an epoch change nothing of what is learnt."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.gpt import descent  # noqa: E402

PARAMS: dict[str, Any] = {
    "signal": "random", "codes": 8, "window": 6, "width": 32, "dropout": 0.3, "batch_tokens": 64, "epochs": 3,
    "patience": 99,
}  # fmt: skip
FORMS = ({}, {"item_tokens": True, "read": "items"})


def chain() -> Any:
    return toy.leave_one_out([[(u * 7 + s) % 20 for s in range(9)] for u in range(60)], 20)


def learn(folder: Path | None = None, events: list[dict[str, Any]] | None = None, **params: Any) -> Any:
    method = load_method("gpt-semantic-id")(**PARAMS | params)
    emit = (events if events is not None else []).append
    method.fit(chain(), Context(seed=0, items=toy.items(20), folder=folder, emit=emit))
    return torch.cat([p.detach().flatten() for p in method.model.parameters()])


@pytest.mark.parametrize("form", FORMS)
def test_a_step_in_parts_has_the_gradient_of_the_whole(form):
    whole, parts = learn(dropout=0.0, **form), learn(dropout=0.0, at_once=10, **form)
    assert not torch.equal(whole, parts) and torch.allclose(whole, parts, atol=2e-5)


class Killed(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 7, 20])
def test_a_kill_within_an_epoch_leaves_no_trace(tmp_path, monkeypatch, stop):
    """Dropout goes on where it was; 12 steps an epoch."""
    undisturbed = learn()
    monkeypatch.setattr(descent, "SAVE_EVERY", 0.0)
    taken, step = [], descent.Descent._save

    def save_and_die(self: Any, path: Path, place: dict[str, Any]) -> None:
        step(self, path, place)
        taken.append(place)
        if len(taken) == stop:
            raise Killed

    monkeypatch.setattr(descent.Descent, "_save", save_and_die)
    with pytest.raises(Killed):
        learn(tmp_path)
    assert (tmp_path / "steps.pt").exists()
    monkeypatch.setattr(descent.Descent, "_save", step)
    events: list[dict[str, Any]] = []
    assert torch.equal(learn(tmp_path, events), undisturbed)
    place = taken[-1]
    assert any(f"from step {place['steps'] + 1} of epoch {place['epoch'] + 1}" in e.get("note", "") for e in events)
    assert not (tmp_path / "steps.pt").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "another model", "another epoch"])
def test_what_cannot_be_gone_on_from_is_ignored(tmp_path, content):
    path, events = tmp_path / "steps.pt", list[dict[str, Any]]()
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        random, other = torch.get_rng_state(), {"tokens.weight": torch.zeros(3, 3)}
        place = {"epoch": 0 if content == "another model" else 7, "steps": 1, "total": 0.0, "count": 1}
        torch.save({**place, "model": other, "optimizer": {}, "random": random}, path)
    assert torch.equal(learn(tmp_path, events), learn())
    said = [e["note"] for e in events if "steps.pt is ignored" in e.get("note", "")]
    assert len(said) == (content != "another epoch")


@pytest.mark.parametrize("form", FORMS)
def test_products_in_bfloat16_learn_the_same_within_their_precision(form):
    exact, events = learn(dropout=0.0, **form), list[dict[str, Any]]()
    mixed = learn(None, events, dropout=0.0, mixed=True, **form)
    assert mixed.dtype == torch.float32 and not torch.equal(exact, mixed)
    assert torch.nn.functional.cosine_similarity(exact, mixed, dim=0) > 0.99
    losses = [event["loss"] for event in events if "loss" in event]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_compiled_network_learns_the_same():
    plain, compiled = learn(dropout=0.0, epochs=1), learn(dropout=0.0, epochs=1, compiled=True)
    assert torch.allclose(plain, compiled, atol=1e-3)


SCRIPT = """
import json, os, sys
import torch
from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method

torch.set_num_threads(1)
losses = []
split = toy.leave_one_out([[(u * 7 + s) % 20 for s in range(9)] for u in range(60)], 20)
method = load_method("gpt-semantic-id")(**json.loads(sys.argv[1]))
method.fit(split, Context(seed=0, items=toy.items(20), emit=lambda e: losses.append(e.get("loss"))))
print(json.dumps([loss for loss in losses if loss]))
"""


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one():
    pytest.importorskip("accelerate")
    curves = {}
    for count in (1, 2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        started = []
        for rank in range(count):
            world = {"WORLD_SIZE": str(count), "RANK": str(rank), "LOCAL_RANK": str(rank)}
            world |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
            env = os.environ | ({} if count == 1 else world) | {"OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-P", "-c", SCRIPT, json.dumps(PARAMS | {"dropout": 0.0})]
            started.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
        said = [process.communicate(timeout=300)[0] for process in started]
        assert [process.returncode for process in started] == [0] * count
        curves[count] = [json.loads(text.splitlines()[-1]) for text in said]
    assert curves[2][0] == curves[2][1]
    assert curves[2][0] == pytest.approx(curves[1][0], rel=1e-4) and curves[1][0][-1] < curves[1][0][0]
