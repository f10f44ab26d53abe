"""The learning curve of a run and the time that it took, over all its attempts.

A killed run starts again from its checkpoint. Its curve goes on where the checkpoint stands, and its cost includes what
the earlier attempts spent on the epochs that were kept.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

LEFT_OUT = ("stage", "epochs", "left_s")
"""Keys of a progress event that are no part of the curve."""


class Curve:
    """One point an epoch: part ("fit", "choose", "refit"), epoch, loss, the watched metric where validated, seconds
    since fitting began.

    ``folder`` outlives the process (the checkpoints'); None keeps the curve in memory. ``better``: 1 where a higher
    figure of the watched metric is better, -1 where a lower one is.
    """

    def __init__(self, folder: Path | None, watched: str = "ndcg@10", better: int = 1) -> None:
        self.watched, self.better = watched, better
        self.path = folder / "curve.jsonl" if folder else None
        self.points: list[dict[str, Any]] = []
        self.earlier_seconds = 0.0
        self.earlier_cpu_seconds = 0.0
        self.earlier = _read(self.path)
        self.began = time.monotonic(), time.process_time()

    def start(self) -> None:
        """Start the clock."""
        self.began = time.monotonic(), time.process_time()

    def add(self, event: dict[str, Any]) -> None:
        """Take note of a progress event: a point of the curve, or word that training resumed at an epoch."""
        if "resumed_at" in event:
            self._resume(event.get("part"), event["resumed_at"])
        elif "epoch" in event:
            point = {key: value for key, value in event.items() if key not in LEFT_OUT}
            point["seconds"] = round(self.earlier_seconds + time.monotonic() - self.began[0], 3)
            point["cpu_seconds"] = round(self.earlier_cpu_seconds + time.process_time() - self.began[1], 3)
            self.points.append(point)
            self.write(self.path)

    def write(self, path: Path | None) -> None:
        """Write the curve, whole or not at all; nothing if it has no point."""
        if path is None or not self.points:
            return
        partial = path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(point) + "\n" for point in self.points), "utf-8")
        partial.replace(path)

    def best(self) -> float | None:
        """The best validation figure of the fit on the training part; None if training did not validate."""
        found = [p[self.watched] for p in self.points if self.watched in p and p.get("part") != "refit"]
        return max(found, key=lambda figure: self.better * figure, default=None)

    def _resume(self, part: str | None, epoch: int) -> None:
        kept = [p for p in self.earlier if p.get("part") == part and p["epoch"] <= epoch]
        self.points += kept
        if kept:
            self.earlier_seconds = kept[-1]["seconds"]
            self.earlier_cpu_seconds = kept[-1]["cpu_seconds"]


def _read(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
