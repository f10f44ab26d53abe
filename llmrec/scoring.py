"""`llmrec score`: a file of answers becomes a record of family external, under a suite's split, masks and metrics."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llmrec.content import results_folder
from llmrec.data import Dataset, load
from llmrec.errors import UserError, nearest
from llmrec.evaluate import answer, measure
from llmrec.external import ExternalAnswers, read_file, to_ids
from llmrec.provenance import machine_class, provenance
from llmrec.publish import check_writable, disk_errors, publish, staging_folder
from llmrec.records import Record, RunSpec, Status, write_record
from llmrec.results import EXTERNAL, run_folder
from llmrec.split import make_split
from llmrec.staleness import code_fingerprint, evaluation_fingerprint
from llmrec.stored import write_answers
from llmrec.suite import Suite, load_suite
from llmrec.tasks.topn import LIST_LENGTH

if TYPE_CHECKING:
    from llmrec.types import Floats, Items


def score_file(
    suite: Suite | str | Path,
    file: Path,
    name: str,
    *,
    dataset: str | None = None,
    seed: int = 0,
    root: Path | None = None,
) -> tuple[Record, Path]:
    """Judge a file of answers and keep the record; returns it with its folder. ``root``: the results folder.

    The suite gives dataset, protocol and metrics; ``name`` is the row's label in its tables; ``seed`` tells repeated
    runs of the other program apart. Of several files scored under one name and seed the newest stands in the tables.

    Raises:
        UserError: a mistake in the suite, the name, or the file (with its line); nothing is written then.
    """
    suite = suite if isinstance(suite, Suite) else load_suite(suite)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise UserError(f"--name {name!r}: use letters, digits and . _ + - only, for example my-model.")
    if name in {entry.label for entry in suite.entries}:
        raise UserError(f"--name {name}: suite {suite.name!r} has a row of this name. Choose another.")
    if suite.task != "topn":
        raise UserError(f"suite {suite.name!r} asks for {suite.task!r}; only answers to topn can be scored.")
    if suite.folds:
        raise UserError(f"suite {suite.name!r} runs several folds: set protocol.fold to the one that the file answers.")
    data = load(_one_dataset(suite, dataset))
    method = ExternalAnswers(to_ids(read_file(file), data, file))
    spec = RunSpec(
        dataset=data.name,
        protocol=suite.protocol,
        method=f"external:{name}",
        params={"sha256": hashlib.sha256(file.read_bytes()).hexdigest()},
        seed=seed,
    )
    root = root or results_folder()
    check_writable(root)
    machine = machine_class(EXTERNAL)
    staging, home = staging_folder(root, spec.run_id, machine), run_folder(spec.run_id, machine, root)
    with disk_errors(root):
        try:
            staging.mkdir(parents=True)
            record = _judge(method, spec, data, machine, staging)
            write_record(record, staging)
            _sync(staging)
            publish(staging, home)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return record, home


def _one_dataset(suite: Suite, chosen: str | None) -> str:
    known = ", ".join(suite.datasets)
    if chosen is None and len(suite.datasets) > 1:
        raise UserError(f"suite {suite.name!r} has several datasets ({known}): choose one with -d.")
    if chosen is not None and chosen not in suite.datasets:
        raise UserError(f"-d {chosen}: suite {suite.name!r} has no such dataset.{nearest(chosen, suite.datasets)}")
    return chosen or suite.datasets[0]


def _judge(method: ExternalAnswers, spec: RunSpec, data: Dataset, machine: str, folder: Path) -> Record:
    """The record of answers that are judged like a run's; the tables beside it are written into ``folder``."""
    started = _now()
    split, items = make_split(data, spec.protocol)
    method.fit(split)
    answers = method.without_unlisted(answer(method, split, "test", k=LIST_LENGTH))
    models: dict[str, str] = {}
    measures = measure(answers, split, items, _embeddings(items, models))
    measures.users.write_parquet(folder / "users.parquet")
    hashes = write_answers(answers, split, folder)
    answered = int(np.isin(split.asked["test"], method.users).sum())
    here = provenance()
    return Record(
        run_id=spec.run_id,
        machine_class=machine,
        spec=spec,
        params=spec.params,
        family=method.family,
        status=Status.OK,
        metrics=measures.metrics,
        slices=measures.slices,
        counts=split.counts | measures.counts | {"answered": answered, "lines": len(method.frame)},
        fingerprints={
            "data": data.fingerprint, "split": split.fingerprint, **hashes,
            "code": code_fingerprint(EXTERNAL, data.name), "evaluation": evaluation_fingerprint(),
        },
        provenance=here.model_copy(update={"models": models, "started": started, "finished": _now()}),
    )  # fmt: skip


def _embeddings(items: Items, models: dict[str, str]) -> Floats | None:
    """Text embeddings of the items for the diversity of lists, as every run has them; None without the encoder."""
    from llmrec.encode import embed_texts
    from llmrec.encoders import DEFAULT
    from llmrec.prepare import can_embed

    if not can_embed(items):
        return None
    vectors, models[DEFAULT] = embed_texts(items.texts)
    return vectors


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
