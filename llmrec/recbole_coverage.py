"""Which of RecBole's models train and answer here: two epochs each on a sample of MovieLens-100K, each in its process.

The runs are ordinary ones, made by the runner: what is done is kept, one that crashes or outgrows its memory stops
nothing. They lie in ``recbole/`` inside the results folder and are not committed; the table made of them is. It claims
nothing about quality: two epochs on ten interactions a user teach no model anything that is worth comparing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmrec.discover import find_methods, method_file
from llmrec.recbole_mend import VERSION
from llmrec.recbole_models import STAGES, Model, check_name, known_models
from llmrec.records import Protocol, RunSpec, Status
from llmrec.results import find_record, run_folder
from llmrec.staleness import state
from llmrec.suite import Planned, check_params

DATASET = "ml-100k"
EPOCHS = 2
NEWEST = 10
"""Newest interactions of each user that train and are read; with all of them some models take half an hour."""

PROTOCOL = Protocol.model_validate({"name": "leave-one-out", "users": 200, "max_history": NEWEST})

SMALLER: dict[str, dict[str, Any]] = {
    "ConvNCF": {
        "embedding_size": 16,
        "config": {"cnn_channels": [1, 32, 32], "cnn_kernels": [4, 4], "cnn_strides": [4, 4]},
    },
    "NNCF": {"config": {"num_conv_kernel": 16}},
    "Pop": {"batch_size": 64},
}
"""Models that answer pair by pair through convolutions: smaller ones are enough to show that they do. And Pop, which
counts an item once a batch, however often it is in it: in the few large batches of this sample, as often as there are
batches for every item of a list."""

MENDED = {
    "DGCF": "its sample of users and items is kept within their numbers",
    "DIEN": "a drawn negative beside every item of a history",
    "FDSA": "categories are handed over in memory, past pandas",
    "GRU4RecF": "categories are handed over in memory, past pandas",
    "GRU4RecKG": "vectors of the graph in RecBole's wheel, learnt here (TransE)",
    "KSR": "vectors of the graph in RecBole's wheel, learnt here (TransE)",
    "NCL": "k-means of scikit-learn in place of faiss",
    "Pop": "small batches: it counts an item once a batch, however often it is in it",
    "RaCT": "its three stages follow one another",
    "S3Rec": "categories in memory, past pandas; its two stages follow one another",
    "SASRecF": "categories are handed over in memory, past pandas",
}
"""What a model needed beyond that which all need (`llmrec.recbole_mend`)."""


@dataclass(frozen=True)
class Row:
    """What was found of one model."""

    model: Model
    good: bool
    said: str  # how it trained, or why it does not
    seconds: float | None  # CPU seconds, imports included; None: not run


def planned(names: Sequence[str] = ()) -> list[Planned]:
    """The run of each model, all of them by default.

    Raises:
        UserError: RecBole has no general or sequential model of that name.
    """
    for name in names:
        check_name(name)
    methods, found = find_methods(), []
    for name, model in known_models().items():
        if not names or name in names:
            method = f"recbole:{name}"
            file = method_file(method, methods)
            params = check_params(method, _params(model), file, method)
            spec = RunSpec(dataset=DATASET, protocol=PROTOCOL, method=method, params=params, seed=0)
            found.append(Planned(name, spec, file))
    return found


def runs_root(root: Path) -> Path:
    """Where the runs lie. ``root``: the results folder."""
    return root / "recbole"


def read_rows(plan: Sequence[Planned], root: Path) -> list[Row]:
    """What the records say of each planned run. ``root``: the results folder."""
    return [_row(one, runs_root(root)) for one in plan]


def _params(model: Model) -> dict[str, Any]:
    own = SMALLER.get(model.name, {})
    config = dict(own.get("config", {}))
    if model.kind == "sequential":
        config["MAX_ITEM_LIST_LENGTH"] = NEWEST
    if model.name in STAGES:
        config["pretrain_epochs"] = EPOCHS
    return {**own, "epochs": EPOCHS, "config": config}


def _row(one: Planned, root: Path) -> Row:
    model = known_models()[one.label]
    record = find_record(one, root)
    if record is None:
        return Row(model, False, "not yet run", None)
    seconds = record.cost.total_cpu_seconds or record.cost.total_seconds
    if record.status != Status.OK:
        return Row(model, False, f"{record.status}: {record.error}", seconds)
    old = " (older code)" if state(record, one.file) != "fresh" else ""
    folder = run_folder(record.run_id, record.machine_class, root)
    if fault := _fault(folder):
        return Row(model, False, fault + old, seconds)
    return Row(model, True, _trained(folder) + old, seconds)


def _trained(folder: Path) -> str:
    """ "2 epochs", with its stages before the last."""
    epochs = len(_curve(folder))
    if epochs <= 1:
        return "1 pass"
    stages = epochs // EPOCHS
    return f"{EPOCHS} epochs" + (f" in each of {stages} stages" if stages > 1 else "")


def _fault(folder: Path) -> str:
    """What is wrong with a run that ended well; "" if nothing is. (Scores that are not finite fail in the run.)"""
    import polars as pl

    losses = [point["loss"] for point in _curve(folder) if "loss" in point]
    if not all(map(math.isfinite, losses)):
        return f"its loss is not finite: {losses}"
    answers = pl.read_parquet(folder / "answers.parquet").filter(pl.col("item") >= 0)
    spread = answers.group_by("user").agg((pl.col("score").max() - pl.col("score").min()).alias("spread"))
    return "" if (spread["spread"] > 0).any() else "its scores are the same for all items"


def _curve(folder: Path) -> list[dict[str, Any]]:
    path = folder / "curve.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def markdown(rows: Sequence[Row]) -> str:
    """The table, one line a model; all but the seconds follows from code and data."""
    good = sum(row.good for row in rows)
    head = f"""# RecBole's models here

{good} of {len(rows)} general and sequential models of RecBole {VERSION} train and answer through `recbole:<Model>`.

Written by `llmrec recbole check`. Each model trained for {EPOCHS} epochs, by its own defaults, on the newest {NEWEST}
interactions of every user of {DATASET} and was asked for {PROTOCOL.users} users under leave-one-out (a sample seeded by
the protocol), in a process of its own with limited time and memory. *Yes* says: every loss is finite, every score is
finite, and the scores of different items differ. It says nothing about quality.

General models read (user, item) pairs, sequential ones histories in order. Beyond the mends that all share
(`llmrec/recbole_mend.py`), the last column says what a model needed. Smaller than by default: {_smaller()}.
"""
    lines = ["| model | kind | reads | trains and answers | how | CPU s | needed |", "|---|---|---|---|---|---:|---|"]
    for row in rows:
        cells = [
            row.model.name, row.model.kind, row.model.reads, "yes" if row.good else "no", row.said.replace("|", "/"),
            "" if row.seconds is None else f"{row.seconds:.0f}", MENDED.get(row.model.name, ""),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return head + "\n" + "\n".join(lines) + "\n"


def _smaller() -> str:
    """ "ConvNCF (embedding_size 16, ...)"."""
    told = []
    for name, own in SMALLER.items():
        settings = {**{k: v for k, v in own.items() if k != "config"}, **own.get("config", {})}
        told.append(f"{name} ({', '.join(f'{key} {value}' for key, value in settings.items())})")
    return ", ".join(told)
