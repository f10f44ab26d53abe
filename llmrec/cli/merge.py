"""The command that brings records home from other machines: merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llmrec.cli.names import run_name
from llmrec.cli.options import Datasets, Methods, Results

if TYPE_CHECKING:
    from llmrec.merging.weigh import Weighed
    from llmrec.records import Record

FEWEST_COLUMNS = 140
"""Of the table of contradictions: what a pipe or a narrow window may not squeeze."""


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results folders from other machines.")],
    keep: Annotated[
        Literal["ours", "theirs"] | None,
        typer.Option("--keep", help="Which of two contradicting records stays; ours is also a DIR named earlier."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come of it, and change nothing.")] = False,
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Bring records that were made on other machines into the results folder: of `--shard`, of `llmrec pack`.

    A record that is here already is left out. One of another machine class lies beside ours. A record that failed gives
    way to one that is ok, one of old code to one of today's. Two records of the same run and class whose figures differ
    by more than the run's determinism class allows (`llmrec verify`; unverified: 1e-4) contradict each other: both are
    shown and nothing is merged. All is checked before anything is written.

    Examples: `llmrec merge node1/results node2/results`, then `llmrec report SUITE`. `llmrec merge node1/results --keep
    ours` after a look at a contradiction.

    Exit code 0: all is here; 1: records contradict each other; 2: a mistake in the input, a damaged record.
    """
    from llmrec.content import results_folder
    from llmrec.discover import find_methods
    from llmrec.errors import UserError
    from llmrec.merging.carry import carry
    from llmrec.merging.incoming import Found, Key, read, read_all, run_folders
    from llmrec.merging.weigh import weigh_all
    from llmrec.progress import bar
    from llmrec.results import run_folder

    root = (results or results_folder()).resolve()
    if own := [folder for folder in folders if folder.resolve() == root]:
        raise UserError(f"{own[0]}: this is the results folder itself. Name the folders that came from elsewhere.")

    def here(key: Key) -> Found | None:
        home = run_folder(*key, root)
        return read(home) if home.is_dir() else None

    with bar("reading", sum(len(run_folders(folder)) for folder in folders)) as advance:
        coming, problems = read_all(folders, advance)
    if problems:
        for problem in problems[:-1]:
            typer.echo(f"damaged: {problem}", err=True)
        count = f"{len(problems)} records are damaged" if len(problems) > 1 else "one record is damaged"
        raise UserError(f"{problems[-1]} Nothing was merged: {count}.")
    weighed = weigh_all(coming, here, find_methods(methods), keep)
    if against := [one for one in weighed if one.outcome == "contradiction"]:
        _show(against)
        typer.echo(
            f"error: {len(against)} of {len(weighed)} records contradict those here; nothing was merged. Find out "
            "which is right (`llmrec verify RUN_ID` on either machine), then say --keep ours or --keep theirs.",
            err=True,
        )
        raise typer.Exit(1)
    carried = [one.theirs for one in weighed if one.outcome in ("new", "replaced")]
    if not dry_run:
        with bar("copying", len(carried)) as advance:
            carry(carried, root, advance)
    _say(weighed, root, dry_run)


def _say(weighed: list[Weighed], root: Path, dry_run: bool) -> None:
    """A line on every record that is not plainly new or equal, then the counts."""
    for one in weighed:
        if one.why:
            typer.echo(f"{one.outcome}: {run_name(one.theirs.record)}: {one.why}")
    outcomes = [one.outcome for one in weighed]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(sorted(outcomes)))
    verb = "would come" if dry_run else "have come"
    new = sum(name in ("new", "replaced") for name in outcomes)
    typer.echo(f"{new} of {len(weighed)} records {verb} into {root}" + (f" ({counts})" if counts else ""))


def _show(against: list[Weighed]) -> None:
    """Both records of every contradiction, with what differs."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Contradictions")
    for head in ("run", "figure", "ours", "theirs"):
        table.add_column(head, justify="right" if head in ("ours", "theirs") else "left", overflow="fold")
    for one in against:
        assert one.ours is not None  # else there is nothing to contradict
        ours, theirs = one.ours.record, one.theirs.record
        first, *others = _differing(ours, theirs)
        table.add_row(run_name(ours), *first)
        for number, row in enumerate([*others, ("made", _made(ours), _made(theirs))]):
            table.add_row("" if number else f"  {one.why}", *row)
    shown = Console(stderr=True)
    shown.width = max(shown.width, FEWEST_COLUMNS)
    shown.print(table)


def _differing(ours: Record, theirs: Record) -> list[tuple[str, str, str]]:
    """The primary metric and the one that differs most, of both; what was answered, where no metric tells."""
    from llmrec.recheck import compare
    from llmrec.tasks import TASKS

    _, differences = compare(ours, theirs)
    farthest = sorted(differences, key=lambda name: -differences[name])[:1]
    named = dict.fromkeys([TASKS[ours.spec.task].primary, *farthest])
    rows = [(metric, str(ours.metrics.get(metric, "")), str(theirs.metrics.get(metric, ""))) for metric in named]
    for key in () if differences else ("answers", "scores"):
        rows.append((f"{key}' fingerprint", ours.fingerprints.get(key, ""), theirs.fingerprints.get(key, "")))
    return rows


def _made(record: Record) -> str:
    """Where, with what and when a record was made."""
    made = record.provenance
    return f"{made.host} {made.commit[:12]}{' dirty' if made.dirty else ''} {made.finished[:16]}"
