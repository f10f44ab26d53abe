"""What `llmrec run` and `llmrec status` are given: a suite by name or path, or an archive of one. Most are given a
suite, which needs nothing that unpacking needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmrec.errors import UserError
from llmrec.packing.archive import SUFFIX
from llmrec.provenance import installed_version
from llmrec.suite import Suite, load_suite

if TYPE_CHECKING:
    from llmrec.packing.manifest import Manifest, PackedRun


@dataclass(frozen=True)
class Given:
    """A suite that is ready to be run. ``seconds``: run id -> what the run took where the suite was packed."""

    suite: Suite
    methods: Path | None
    typed: str  # what names the suite to `llmrec report`
    seconds: dict[str, float | None] | None = None  # None: no archive


def open_given(
    name: str,
    methods: Path | None,
    say: Callable[[str], None],
    chosen: tuple[Sequence[str], Sequence[str], Sequence[int]] = ((), (), ()),
) -> Given:
    """Load a suite, or unpack an archive and load its suite. ``chosen``: rows, datasets and seeds as `Suite.runs` takes
    them; only of these runs the code must be the archive's.

    Raises:
        UserError: no such suite or archive, a damaged one, or one of other code.
    """
    path = Path(name)
    if not name.endswith(SUFFIX):
        return Given(load_suite(name, methods), methods, name)
    if not path.is_file():
        raise UserError(f"{name}: no such file. `llmrec pack SUITE` writes one.")
    from llmrec.packing.manifest import check_code
    from llmrec.packing.unpack import open_archive, use_cards, use_data

    opened = open_archive(path, say)
    manifest = opened.manifest
    extra = methods or opened.methods
    use_cards(opened)
    check_code(manifest, path, _chosen(manifest, *chosen), extra)
    use_data(opened, say)
    if told := _other_versions(manifest):
        say(f"other libraries than where it was packed: {told}. Records of other major.minor stand beside those.")
    suite = load_suite(opened.suite, extra)
    return Given(suite, extra, manifest.suite, {run.run_id: run.seconds for run in manifest.runs})


def _chosen(manifest: Manifest, rows: Sequence[str], datasets: Sequence[str], seeds: Sequence[int]) -> list[PackedRun]:
    """The archive's runs that are about to be made. Runs without random streams are packed as seed 0 for all seeds."""
    return [
        run
        for run in manifest.runs
        if (not rows or run.label in rows or run.method in rows)
        and (not datasets or run.dataset in datasets)
        and (not seeds or run.seed in seeds or run.seed == 0)
    ]


def _other_versions(manifest: Manifest) -> str:
    """Numeric libraries whose major.minor differs, in words; those missing here are told of run by run."""
    pairs = {name: (there, installed_version(name)) for name, there in manifest.versions.items() if name != "python"}
    return ", ".join(
        f"{name} {here} (packed with {there})"
        for name, (there, here) in pairs.items()
        if here and name != "llmrec" and here.split(".")[:2] != there.split(".")[:2]
    )
