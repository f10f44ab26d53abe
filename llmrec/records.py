"""What a run leaves behind, and how it is read: a record is immutable, and only it is read afterwards.

results/runs/<run_id>/<machine class>/
    record.json      everything about the run (committed)
    ranks.parquet    user, item, rank of every relevant item (every accuracy metric follows from it; committed, users
                     and items once for all runs that share them: see `llmrec.stored`)
    curve.jsonl      the learning curve (committed)
    users.parquet    per-user metrics          (not committed: follows from ranks)
    answers.parquet  top-k lists and scores     (not committed: a rerun gives them back)
    explanations.jsonl  sentences that say why an item was recommended, checked   (not committed)
    log.txt          what the run printed       (not committed)
    verify.json      written beside it by `llmrec verify`
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from llmrec.errors import UserError
from llmrec.seeds import content_hash

SCHEMA_VERSION = 1


class Status(StrEnum):
    """How a run ended."""

    OK = "ok"
    FAILED = "failed"  # the method or the data raised an error
    OOM = "oom"  # memory limit reached, or killed by the system for memory
    TIMEOUT = "timeout"  # time limit reached
    SKIPPED = "skipped"  # cannot run here (missing package, no GPU); the reason is in `error`
    INTERRUPTED = "interrupted"  # Ctrl-C
    PRUNED = "pruned"  # a trial of tuning that fell behind the others at a stated epoch


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


ProtocolName = Literal[
    "leave-one-out", "temporal", "ratio", "random", "user-holdout", "official", "impressions", "requests"
]

TaskName = Literal["topn", "impressions", "rating", "request"]


def _as_tuple(value: Any) -> Any:
    """TOML and JSON have lists only."""
    return tuple(value) if isinstance(value, list) else value


class Protocol(_Model):
    """How a dataset is split and answers are judged. Part of a run's identity."""

    name: ProtocolName = Field("leave-one-out", description="how the data are split")
    fit_data: Literal["train", "train+valid"] = Field("train", description="what a method fits on")
    mask_history: bool = Field(True, description="leave a user's own history out of the ranking")
    candidates: Literal["all", "train"] = Field("all", description="items that may be recommended")
    ties: Literal["hash", "file"] = Field(
        "hash", description="order of equal times: a seeded hash, or the file's order"
    )
    repeats: Literal["train", "drop", "target"] = Field(
        "train",
        description="repeated events of a user and item: they train but are never a target, are dropped, or may be "
        "targets like any other (with mask_history = false)",
    )
    max_history: Annotated[int, Field(gt=0)] | Literal["all"] = Field(
        "all",
        description="newest events of each user that train or are given (impressions: of each history); older ones are "
        "left out after splitting, so that targets stay what they are",
    )
    cuts: Annotated[tuple[float, float], BeforeValidator(_as_tuple)] = Field(
        (0.8, 0.9),
        description="where training and validation end: quantiles of time (temporal), shares of a user's events "
        "(ratio), of all events (random) or of the users (user-holdout)",
    )
    fold: Annotated[int, Field(ge=1)] | None = Field(None, description="which of the dataset's official folds tests")
    withhold: bool = Field(True, description="requests: take the field that labels are made of out of the item texts")
    users: Annotated[int, Field(gt=0)] | Literal["all"] = Field(
        "all", description="users (or impressions, or requests) asked: all, or a protocol-seeded sample of this size"
    )
    seed: int = Field(0, ge=0, description="seed of tie order, samples and item permutation")


class RunSpec(_Model):
    """One run. Everything that shapes its result, and nothing else; its hash is the run's id."""

    task: TaskName = "topn"
    dataset: str
    protocol: Protocol = Protocol()  # type: ignore[call-arg]
    method: str
    params: dict[str, Any] = Field(default_factory=dict)  # only those that differ from the method's defaults
    seed: int = Field(0, ge=0)
    part: Literal["test", "valid"] = "test"  # "valid": a trial of tuning, which the test part is kept from

    @model_serializer(mode="wrap")
    def _without_test(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Written only where it says something, so that a run which is judged on the test part has the id it had."""
        written: dict[str, Any] = serialise(self)
        if self.part == "test":
            del written["part"]
        return written

    @property
    def run_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the spec's canonical JSON."""
        return content_hash(self.model_dump(mode="json"))


class Cost(_Model):
    """What the run used. Wall-clock seconds are comparable only between runs with nothing beside them (``alone``)."""

    fit_seconds: float = 0.0
    fit_cpu_seconds: float = 0.0
    answer_seconds: float = 0.0
    answer_cpu_seconds: float = 0.0
    answers_per_second: float = 0.0
    total_seconds: float = 0.0
    total_cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0
    peak_gpu_bytes: int = 0
    parameters: int = 0
    epochs: int | None = None
    alone: bool = True


class Provenance(_Model):
    """Where and with what the run was made. Recorded only: none of it decides whether a record is stale."""

    commit: str = ""
    dirty: bool = False
    lock: str = ""  # SHA-256 of the lock file
    versions: dict[str, str] = Field(default_factory=dict)
    host: str = ""
    platform: str = ""
    cpu: str = ""
    gpu: str = ""
    driver: str = ""
    threads: int = 1
    models: dict[str, str] = Field(default_factory=dict)  # pretrained models: name -> revision or content hash
    started: str = ""  # ISO 8601, UTC
    finished: str = ""


class Record(_Model):
    """One run and what came of it."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    machine_class: str  # e.g. "cpu-numpy2.4-scipy1.17-torch2.13"
    spec: RunSpec
    params: dict[str, Any] = Field(default_factory=dict)  # all of them, defaults included
    family: str
    status: Status
    error: str | None = None
    log_tail: str = ""
    metrics: dict[str, float] = Field(default_factory=dict)  # "ndcg@10" -> mean over users
    slices: dict[str, dict[str, float]] = Field(
        default_factory=dict
    )  # "items:tail" -> {"ndcg@10": ..., "targets": ...}
    counts: dict[str, int] = Field(
        default_factory=dict
    )  # users asked, targets, users left out for want of a target, ...
    fingerprints: dict[str, str] = Field(default_factory=dict)  # data, split, code, evaluation, answers
    seeds: dict[str, int] = Field(default_factory=dict)  # axis -> seed
    determinism: Literal["unverified", "bitwise", "tolerance", "none"] = "unverified"
    provenance: Provenance = Provenance()
    cost: Cost = Cost()


def read_record(folder: Path) -> Record:
    """Read ``folder/record.json``.

    Raises:
        UserError: the file is missing, is not JSON, or has another schema version.
    """
    path = folder / "record.json"
    try:
        raw = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no record here. Run the suite that makes it, or check the run id.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error}). Delete the folder and run the suite again.") from None
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema version {version!r}, but this llmrec reads version {SCHEMA_VERSION}. "
            "Read it with the release that wrote it, or delete the folder and run the suite again."
        )
    try:
        return Record.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: key {key!r}: {first['msg']}. Delete the folder and run the suite again.") from None


def write_record(record: Record, folder: Path) -> None:
    """Write ``folder/record.json``; the caller makes the folder appear whole (see `llmrec.worker`)."""
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "record.json").write_text(text + "\n", "utf-8")
