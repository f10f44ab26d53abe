"""The epoch loop: early stopping, and that a killed run resumes to exactly the figures of an undisturbed one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.errors import MethodError  # noqa: E402
from llmrec.training import train  # noqa: E402

CURVE = (0.1, 0.3, 0.2, 0.25, 0.28, 0.4)  # with patience 3 the run stops after epoch 5 and keeps epoch 2


class Killed(Exception):
    pass


def fit(
    folder: Path | None,
    curve: Sequence[float] | None = CURVE,
    *,
    epochs: int = 6,
    chosen: int | None = None,
    width: int = 4,
    before: Callable[[int], None] = lambda epoch: None,
) -> tuple[dict[str, Any], Context, list[dict[str, Any]], int]:
    """Train a small net with dropout and Adam; validation follows ``curve``; ``before(epoch)`` may end it early."""
    events: list[dict[str, Any]] = []
    done: list[int] = []
    ctx = Context(seed=5, items=toy.items(3), folder=folder, emit=events.append, epochs=chosen)
    torch.manual_seed(ctx.seed_for("initialisation"))
    model = torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Dropout(0.5), torch.nn.Linear(width, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def run_epoch(epoch: int) -> float:
        before(epoch)
        done.append(epoch)
        x = torch.from_numpy(ctx.rng("order", epoch).normal(size=(8, 3)).astype("float32"))
        loss = model(x).square().mean() + (x.sum() - model(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    if curve is not None:
        ctx.validate = lambda method: {"ndcg@10": curve[done[-1]]}
    best_epoch = train(None, model, optimizer, run_epoch, ctx, epochs=epochs, patience=3)
    return model.state_dict(), ctx, events, best_epoch


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(bool((a[key] == b[key]).all()) for key in a)


def kill_at(epoch: int) -> Callable[[int], None]:
    def before(now: int) -> None:
        if now == epoch:
            raise Killed

    return before


def test_stops_after_patience_and_keeps_the_best_weights() -> None:
    weights, ctx, events, best_epoch = fit(None)
    only_two, *_ = fit(None, None, epochs=2)
    assert best_epoch == ctx.chosen_epochs == 2
    assert [event["epoch"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["ndcg@10"] for event in events] == list(CURVE[:5])
    assert same(weights, only_two)


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4])
def test_resumed_run_is_bitwise_the_undisturbed_one(tmp_path: Path, killed_at: int) -> None:
    """Killed before the best epoch, right after it, and with misses counted."""
    expected, _, whole, _ = fit(None)
    with pytest.raises(Killed):
        fit(tmp_path, before=kill_at(killed_at))
    weights, ctx, events, best_epoch = fit(tmp_path)
    assert events[0]["resumed_at"] == killed_at
    assert same(weights, expected) and best_epoch == ctx.chosen_epochs == 2
    assert [(e["epoch"], e["loss"]) for e in events[1:]] == [(e["epoch"], e["loss"]) for e in whole[killed_at:]]


def test_resumed_without_validation(tmp_path: Path) -> None:
    expected, *_ = fit(None, None, chosen=4)
    with pytest.raises(Killed):
        fit(tmp_path, None, chosen=4, before=kill_at(3))
    weights, ctx, _, best_epoch = fit(tmp_path, None, chosen=4)
    assert same(weights, expected) and best_epoch == ctx.chosen_epochs == 4


def test_sigkill_in_mid_epoch(tmp_path: Path) -> None:
    def die(epoch: int) -> None:
        if epoch == 3:
            (tmp_path / "checkpoint.partial").write_bytes(b"half a file")
            os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=fit, args=(tmp_path,), kwargs={"before": die})
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    weights, _, events, _ = fit(tmp_path)
    assert events[0]["resumed_at"] == 3 and same(weights, fit(None)[0])


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "other model"])
def test_a_checkpoint_that_does_not_fit_is_ignored_with_a_word(tmp_path: Path, damage: str) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        fit(tmp_path, before=kill_at(2), width=5 if damage == "other model" else 4)
    whole = checkpoint.read_bytes()
    contents = {"cut": whole[: len(whole) // 2], "garbage": b"\x93NUMPY" * 50, "empty": b"", "other model": whole}
    checkpoint.write_bytes(contents[damage])
    weights, _, events, _ = fit(tmp_path)
    assert "is ignored" in events[0]["note"] and events[1]["epoch"] == 1
    assert same(weights, fit(None)[0])


def test_a_finished_run_trains_no_further(tmp_path: Path) -> None:
    weights, *_ = fit(tmp_path)
    again, _, events, best_epoch = fit(tmp_path)
    assert same(weights, again) and best_epoch == 2 and len(events) == 1


def test_never_better_keeps_the_first_epoch() -> None:
    weights, _, events, best_epoch = fit(None, [0.0] * 6)
    assert best_epoch == 1 and len(events) == 4
    assert same(weights, fit(None, None, epochs=1)[0])


def test_best_weights_are_stored_once(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fit(tmp_path, before=kill_at(2))  # the newest epoch is the best one
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["best_weights"] is None
    fit(tmp_path)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["best_weights"] is not None


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    ctx = Context(seed=0, items=toy.items(3))
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with pytest.raises(MethodError, match="loss of epoch 1 is nan"):
        train(None, model, optimizer, lambda _: float("nan"), ctx, epochs=2, patience=1)
