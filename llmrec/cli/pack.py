"""The command that makes a suite ready for machines without a network: pack."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results, SuiteName

if TYPE_CHECKING:
    from llmrec.packing.gather import Pack


def pack(
    suite: SuiteName,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The archive; default: SUITE.zip here.")
    ] = None,
    code: Annotated[
        bool, typer.Option("--code", help="Put llmrec's source in, for a machine that has only its dependencies.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be packed; fetch, embed and write nothing.")
    ] = False,
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Write one archive of a suite that runs on machines without a network: a GPU node, a cluster's array job.

    It holds the suite with its tuned parameters, your own cards and methods, the parsed data, and the embeddings of
    all texts, so that no encoder's weights are needed there. Equal inputs give equal bytes. A machine whose code would
    give other results than the code here refuses it.

    Examples: `llmrec pack ml-100k --code`; there: `llmrec run ml-100k.zip --shard 1/4`, or without llmrec installed
    `python ml-100k.zip --shard 1/4`; in an array job `--shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT` (array from
    1); and home again: `llmrec merge results-of-node-1 results-of-node-2`.
    """
    from llmrec.content import results_folder
    from llmrec.packing.gather import gather
    from llmrec.suite import load_suite

    loaded = load_suite(suite, methods)
    target = _target(output, loaded.name)
    root = (results or results_folder()).resolve()
    packed = gather(loaded, root, methods, code=code, make=not dry_run, say=lambda text: typer.echo(text, err=True))
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="llmrec-pack-") as folder:
            sizes = _write(Path(folder) / target.name, packed)
        for member in packed.members:
            typer.echo(f"{sizes[member.path]:>12,}  {member.path}")
        for run in packed.manifest.runs:
            typer.echo(f"{run.run_id}  {run.dataset}  {run.label}  seed {run.seed}")
    else:
        sizes = _write(target, packed)
    _say_sizes(packed, sizes, target, dry_run)


def _target(output: Path | None, suite: str) -> Path:
    """Where the archive goes. Raises UserError for a name that `llmrec run` would not know, or another's file."""
    import zipfile

    from llmrec.errors import UserError
    from llmrec.packing.archive import MANIFEST, SUFFIX

    target = (output or Path(f"{suite}{SUFFIX}")).resolve()
    if target.suffix != SUFFIX:
        raise UserError(f"-o {output}: an archive's name ends with {SUFFIX}.")
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(f"-o {output}: {'a folder' if target.is_dir() else 'its folder does not exist'}.")
    if target.exists():
        known = zipfile.is_zipfile(target)
        if known:
            with zipfile.ZipFile(target) as archive:
                known = MANIFEST in archive.namelist()
        if not known:
            raise UserError(f"{target}: there is such a file, and `llmrec pack` did not write it. Choose another: -o.")
    return target


def _write(target: Path, packed: Pack) -> dict[str, int]:
    """Write the archive behind a bar (on a terminal); returns the bytes of every member in it."""
    from llmrec.packing.archive import write
    from llmrec.progress import bar

    with bar("packing", sum(member.size for member in packed.members), of_bytes=True) as advance:
        return write(target, packed.manifest.text(), packed.members, packed.manifest.members, advance)


def _say_sizes(packed: Pack, sizes: dict[str, int], target: Path, dry_run: bool) -> None:
    """The parts with their sizes, then what the user should know."""
    from llmrec.packing.archive import SUFFIX

    parts: dict[str, int] = {}
    for member in packed.members:
        parts[member.part] = parts.get(member.part, 0) + sizes[member.path]
    for part, size in sorted(parts.items(), key=lambda pair: -pair[1]):
        number = sum(member.part == part for member in packed.members)
        typer.echo(f"{part:<10}{size / 2**20:8.2f} MiB  {number} files")
    for what in packed.absent:
        typer.echo(f"not in this count, for it is not here yet: {what}")
    dirty = " with changes" if packed.manifest.dirty else ""
    total = sum(sizes.values()) if dry_run else target.stat().st_size
    said = "would be about" if dry_run else "is"
    typer.echo(
        f"{target.name} {said} {total / 2**20:.2f} MiB: {len(packed.manifest.runs)} runs, llmrec "
        f"{packed.manifest.llmrec}, commit {packed.manifest.commit[:12]}{dirty}"
    )
    for warning in packed.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if any("licence" in warning for warning in packed.warnings):
        typer.echo(f"warning: {target.stem}{SUFFIX} is for your own machines, not for publication", err=True)
