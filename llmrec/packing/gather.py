"""What an archive of a suite holds, and the manifest that says so."""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmrec.beside import local_files
from llmrec.cardfiles import card_file, file_name
from llmrec.content import cache_folder, content_root
from llmrec.errors import UserError
from llmrec.packing import features, source
from llmrec.packing.archive import Member
from llmrec.packing.manifest import Manifest, PackedRun
from llmrec.provenance import provenance
from llmrec.records import Status
from llmrec.results import find_record
from llmrec.staleness import card_fingerprint, code_fingerprint, evaluation_fingerprint
from llmrec.suite import Planned, Suite
from llmrec.tuned import tuned_path

if TYPE_CHECKING:
    import polars as pl

LEVEL = 9
"""Of zstd inside the Parquet files: higher ones take ten times as long for a tenth of the size."""

Say = Callable[[str], None]


@dataclass
class Pack:
    """The members of an archive and its manifest; what the user should know of them."""

    members: list[Member]
    manifest: Manifest
    warnings: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)  # of a dry run: what would have to be fetched or made first


def gather(suite: Suite, root: Path, extra: Path | None, *, code: bool, make: bool, say: Say) -> Pack:
    """All that the suite's runs need on a machine without a network. Data and embeddings that are not in the cache yet
    are fetched and made, unless ``make`` is false. ``root``: the results folder, whose records tell how long runs take.

    Raises:
        UserError: data or an encoder that cannot be had, files of a card that cannot go along.
    """
    planned = suite.runs()
    files = _suite(suite)
    files += _methods(planned, extra)
    data: dict[str, str] = {}
    warnings, absent = [], []
    for name in suite.datasets:
        say(f"data of {name}")
        own = _own_card(name)
        dataset = _dataset(name, make)
        files += own
        if dataset is None:
            absent.append(f"dataset {name}")
            continue
        data[name] = dataset.fingerprint
        if not local_files(name):  # else its files go along and are read there
            files += _tables(name)
        if dataset.card.redistributable is False:
            warnings.append(f"{name}: its licence ({dataset.card.licence}) does not allow passing copies on")
    say("features")
    read = features.gather(planned, make)
    warnings += [f"encoder {name}: a folder of this machine, which the other must have" for name in _folders(read)]
    if code:
        say("code")
        files += source.members()
    here = provenance(suite.threads)
    members = sorted([*files, *read.members], key=lambda member: member.path)
    manifest = Manifest(
        suite=suite.name, title=suite.title, task=suite.task, llmrec=here.versions.get("llmrec", ""),
        commit=here.commit, dirty=here.dirty, versions=here.versions | {"python": platform.python_version()},
        evaluation=evaluation_fingerprint(suite.task), cards={name: card_fingerprint(name) for name in suite.datasets},
        data=data, encoders=read.encoders, with_code=code, runs=[_run(one, root) for one in planned],
        members={member.path: member.sha256() for member in members},
    )  # fmt: skip
    return Pack(members, manifest, warnings, absent + read.absent)


def _run(one: Planned, root: Path) -> PackedRun:
    record = find_record(one, root)
    spec = one.spec
    return PackedRun(
        run_id=spec.run_id, label=one.label, dataset=spec.dataset, method=spec.method,
        params=spec.params, seed=spec.seed, code=code_fingerprint(one.file, spec.dataset, spec.task),
        seconds=round(record.cost.total_seconds, 1) if record and record.status == Status.OK else None,
    )  # fmt: skip


def _suite(suite: Suite) -> list[Member]:
    """The suite's file, and what it reads beside it: tuned parameters, published figures."""
    folder = suite.path.parent
    tuned = [e.label for e in suite.entries if e.params == "tuned"]
    beside = [tuned_path(folder, dataset, label) for dataset in suite.datasets for label in tuned]
    if "published" in suite.path.read_text("utf-8"):
        beside += sorted((folder / "published").glob("*.toml"))
    paths = [
        suite.path,
        *filter(Path.is_file, beside),
    ]  # a row may leave datasets out; missing ones were told of before
    return [Member(f"suite/{path.relative_to(folder).as_posix()}", "suite", path) for path in paths]


def _methods(planned: Sequence[Planned], extra: Path | None) -> list[Member]:
    """The method files of the user's own folder that the suite uses."""
    if extra is None:
        return []
    paths = {path for one in planned for path in one.file.paths}
    own = {path for path in paths if path.resolve().is_relative_to(extra.resolve())}
    return [Member(f"methods/{path.name}", "methods", path) for path in sorted(own)]


def _own_card(name: str) -> list[Member]:
    """A card of the user's own with the files that it finds beside it; none for one of llmrec's.

    Raises:
        UserError: such a file lies outside of the card's folder, or is missing.
    """
    path = card_file(name)[0]
    if path.parent == content_root() / "datasets":
        return []
    members = [Member(f"cards/{path.name}", "cards", path)]
    for local in local_files(name):
        file = (path.parent / local).resolve()
        if not file.is_relative_to(path.parent.resolve()) or not file.is_file():
            why = "is missing" if not file.is_file() else "lies outside of the card's folder and cannot go along"
            raise UserError(f"{path}: its file {local!r} {why}. Put it beside the card.")
        members.append(Member(f"cards/{file.relative_to(path.parent.resolve()).as_posix()}", "data", file))
    return members


def _dataset(name: str, make: bool) -> Any:
    from llmrec.data import cached, load

    return load(name) if make else cached(name)


def _tables(name: str) -> list[Member]:
    """The dataset's entry in the cache, one compressed Parquet file a table."""
    from llmrec.data import cache

    kept = cache.read(entry(name, cache_folder()))
    assert kept is not None, "it has just been loaded"
    frames, facts = kept
    folder = f"data/{file_name(name)}"
    told = json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False).encode()
    tables = [Member(f"{folder}/{table}.parquet", "data", _parquet(frame)) for table, frame in frames.items()]
    return [Member(f"{folder}/facts.json", "data", told), *tables]


def entry(name: str, cache: Path) -> Path:
    """Where a cache folder keeps a dataset as this machine's card and readers parse it."""
    from llmrec.data import _recipe, card

    return cache / "datasets" / f"{file_name(name)}-{_recipe(card(name))}"


def _parquet(frame: pl.DataFrame) -> bytes:
    """A table's file, the same for equal tables however they lie in memory."""
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, compression="zstd", compression_level=LEVEL, statistics=False)
    return buffer.getvalue()


def _folders(read: features.Features) -> list[str]:
    return [name for name, encoder in read.encoders.items() if encoder.revision.startswith("content:")]
