"""Commands that make runs and look at them: run, status, show, verify, reeval."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmrec.cli.names import run_name
from llmrec.cli.options import Datasets, Methods, Replay, Responses, Results, SuiteName

if TYPE_CHECKING:
    from llmrec.records import Record
    from llmrec.staleness import State
    from llmrec.suite import Planned, Suite

Runnable = Annotated[
    str,
    typer.Argument(
        metavar="SUITE", help="A suite's name (llmrec list suites), a .toml file, or an archive of llmrec pack."
    ),
]
RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="A run's id, or its first characters.")]


def run(
    suite: Runnable,
    method: Annotated[list[str] | None, typer.Option("-m", "--method", help="Only this row; repeatable.")] = None,
    dataset: Annotated[list[str] | None, typer.Option("-d", "--dataset", help="Only this dataset; repeatable.")] = None,
    seeds: Annotated[str, typer.Option(help="Only these seeds, e.g. 0,1; default: the suite's.")] = "",
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", help="Only part I of N, for N machines: 1/4 to 4/4.")
    ] = "",
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs at the same time. Timings are marked as shared if over 1.")
    ] = 1,
    retry: Annotated[bool, typer.Option("--retry", help="Do failed, oom and timeout runs again.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Do runs again whose code has changed since.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")] = False,
    methods: Methods = None,
    datasets: Datasets = None,
    replay: Replay = False,
    responses: Responses = None,
    wandb: Annotated[bool, typer.Option("--wandb", help="Mirror to Weights & Biases.")] = False,
    results: Results = None,
) -> None:
    """Do a suite's runs that are not done yet, each in its own process, and print the table.

    On several machines give each its part, and the same other options: `llmrec run ml-100k --shard 1/4`, in an array
    job `--shard $SLURM_ARRAY_TASK_ID/4`; `llmrec merge` brings the records together. Without a network run an archive
    of `llmrec pack`: `llmrec run ml-100k.zip`.

    Exit code 0: all are ok (or skipped for want of a package); 1: some failed; 2: a mistake in the input; 130: Ctrl-C.
    """
    from llmrec.cli.foreseen import planned_hours
    from llmrec.packing.opening import open_given
    from llmrec.progress import Mirror, Watcher, watcher
    from llmrec.runner import Interrupted, Options, run_all
    from llmrec.shards import parse, part

    mine = parse(shard) if shard else None
    chosen = method or (), dataset or (), _numbers(seeds)
    given = open_given(suite, methods, _on_stderr, chosen)
    loaded, methods = given.suite, given.methods
    planned = loaded.runs(*chosen)
    if mine is not None:
        planned = part(planned, mine, given.seconds)
    options = Options(
        threads=loaded.threads, limits=loaded.limits, jobs=jobs, retry=retry, stale=stale, root=_root(results),
        extra=methods,
    )  # fmt: skip
    states = _states(planned, options.root)
    due = [options.due(state) for state in states]
    _check_cards([one for one, is_due in zip(planned, due, strict=True) if is_due])
    _announce(loaded, planned, states, due)
    if any(due):
        todo = [one for one, is_due in zip(planned, due, strict=True) if is_due]
        typer.echo(planned_hours(todo, options.root, loaded.limits.seconds, given.seconds), err=True)
    _warn_of_tuned(loaded, planned)
    if dry_run:
        return
    if any(due):
        watchers: list[Watcher] = [watcher(sum(due))]
        if wandb or loaded.track.wandb:
            watchers.append(Mirror(loaded.name))
        options = Options(**{**vars(options), "watchers": watchers})
        try:
            records = run_all(planned, options)
        except Interrupted:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is wound up: one more Ctrl-C has nothing left to end
            typer.echo("interrupted; the same command goes on from here", err=True)
            raise typer.Exit(130) from None
    else:
        records = [_own_record(p, options.root) for p in planned]
    _print_table(loaded, given.typed, options.root)
    if given.seconds is not None:
        typer.echo(f"to bring the records home, copy {options.root} there: llmrec merge DIR", err=True)
    failed = [r for r in records if r is None or r.status in ("failed", "oom", "timeout")]
    if failed:
        _explain_failures(failed)
        raise typer.Exit(1)


def status(suite: Runnable, methods: Methods = None, datasets: Datasets = None, results: Results = None) -> None:
    """Say of every run of a suite whether it is done, fresh, stale or failed, and why."""
    from llmrec.packing.opening import open_given
    from llmrec.tasks import TASKS

    loaded = open_given(suite, methods, _on_stderr).suite
    planned = loaded.runs()
    root = _root(results)
    states = _states(planned, root)
    primary = TASKS[loaded.task].primary
    rows = [("RUN", "DATASET", "METHOD", "SEED", "STATE", primary.upper(), "")]
    for one, state in zip(planned, states, strict=True):
        record = _own_record(one, root)
        figure = f"{record.metrics[primary]:.4f}" if record and primary in record.metrics else ""
        word = str(record.status) if record and state in ("failed", "undone") else state
        why = (record.error or "") if record else ""
        fold = f" fold {one.spec.protocol.fold}" if one.spec.protocol.fold else ""
        rows.append((one.spec.run_id, one.spec.dataset + fold, one.label, str(one.spec.seed), word, figure, why))
    _columns(rows)
    typer.echo(_count(states))
    _warn_of_tuned(loaded, planned)


def show(
    run_id: RunId,
    as_json: Annotated[bool, typer.Option("--json", help="The record as it is stored.")] = False,
    results: Results = None,
) -> None:
    """Show one run: what was run, how it ended, its figures, its cost and where it was made."""
    import json

    from llmrec.results import record_by_prefix

    record, folder = record_by_prefix(run_id, _root(results))
    if as_json:
        typer.echo((folder / "record.json").read_text("utf-8"), nl=False)
        return
    described = record.model_dump(mode="json")
    described["folder"] = str(folder)
    if (folder / "verify.json").exists():
        described["verified"] = json.loads((folder / "verify.json").read_text("utf-8"))
    _outline({key: value for key, value in described.items() if value not in (None, "", {}, [])})


def verify(run_id: RunId, methods: Methods = None, datasets: Datasets = None, results: Results = None) -> None:
    """Do a run again in a fresh process, compare answers and metrics, and write the verdict beside its record."""
    from llmrec.recheck import verify as check
    from llmrec.results import record_by_prefix
    from llmrec.suite import Limits

    record, folder = record_by_prefix(run_id, _root(results))
    result = check(record, folder, limits=Limits(), extra=methods)
    typer.echo(f"{run_name(record)}: {result.determinism}")
    for name, gap in sorted(result.differences.items(), key=lambda pair: -pair[1])[:5]:
        typer.echo(f"  {name} differs by {gap:.3g}")
    if result.seed_free is False:
        typer.echo("  seeded = False is wrong: another seed gives other answers")
    if result.determinism == "none":
        raise typer.Exit(1)


def reeval(suite: SuiteName, methods: Methods = None, datasets: Datasets = None, results: Results = None) -> None:
    """Measure the stored answers of a suite's runs again, after a change to the evaluation."""
    from llmrec.recheck import reevaluate
    from llmrec.suite import load_suite
    from llmrec.tasks import TASKS

    done = reevaluate(load_suite(suite, methods), _root(results))
    for one in done:
        name = run_name(one.before)
        if one.after is None:
            typer.echo(f"{name}: not measured: {one.reason}", err=True)
        elif one.after.metrics != one.before.metrics:
            primary = TASKS[one.before.spec.task].primary
            old, new = one.before.metrics.get(primary, 0.0), one.after.metrics.get(primary, 0.0)
            typer.echo(f"{name}: figures changed, {primary} {old:.4f} -> {new:.4f}")
    changed = sum(one.after is not None and one.after.metrics != one.before.metrics for one in done)
    typer.echo(f"{len(done)} runs measured again, {changed} with other figures")
    if any(one.after is None for one in done):
        raise typer.Exit(1)


def _on_stderr(text: str) -> None:
    typer.echo(text, err=True)


def _root(results: Path | None) -> Path:
    from llmrec.content import results_folder

    return (results or results_folder()).resolve()


def _numbers(text: str) -> list[int]:
    """Seeds from "0,1,2"."""
    from llmrec.errors import UserError

    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers with commas between, for example 0,1,2.") from None
    if any(number < 0 for number in numbers):
        raise UserError(f"--seeds {text}: seeds start at 0.")
    return numbers


def _own_record(planned: Planned, root: Path) -> Record | None:
    from llmrec.results import find_record

    return find_record(planned, root, elsewhere=False)


def _states(planned: list[Planned], root: Path) -> list[State]:
    from llmrec.staleness import state

    return [state(_own_record(one, root), one.file) for one in planned]


def _check_cards(planned: list[Planned]) -> None:
    """Every dataset's card admits what is asked of it: said once and before anything runs."""
    if planned:
        from llmrec.data.cards import card
        from llmrec.split.admits import check_card

        for spec in {(p.spec.dataset, p.spec.protocol.name): p.spec for p in planned}.values():
            check_card(card(spec.dataset), spec.protocol, spec.task)


def _announce(suite: Suite, planned: list[Planned], states: list[State], due: list[bool]) -> None:
    """What is due and what is not, and why not."""
    typer.echo(f"{suite.title}: {len(planned)} runs, {sum(due)} to do ({_count(states)})", err=True)
    left = {state for state, todo in zip(states, due, strict=True) if not todo}
    if left & {"stale", "stale evaluation"}:
        typer.echo(
            "stale: the code has changed since; --stale runs them again, reeval measures answers again", err=True
        )
    if "failed" in left:
        typer.echo("failed: --retry runs them again", err=True)
    for one, todo in zip(planned, due, strict=True):
        if todo:
            typer.echo(f"  {one.spec.run_id}  {one.spec.dataset}  {one.label}  seed {one.spec.seed}", err=True)


def _warn_of_tuned(suite: Suite, planned: list[Planned]) -> None:
    """Say which tuned parameters another state of the code has found. They are used: what they give is what it is."""
    from llmrec.tuned import again, by_other_code

    files = {(one.spec.dataset, one.label): one.file for one in planned}
    for dataset in dict.fromkeys(dataset for dataset, _ in files):
        for label, found in suite.studies(dataset).items():
            file = files.get((dataset, label))
            if file is not None and by_other_code(found, file):
                typer.echo(
                    f"tuned by another state of the code: {label} on {dataset}; used as it is. To search again: "
                    + again(suite.typed, label, found.study),
                    err=True,
                )


def _count(states: list[State]) -> str:
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def _print_table(suite: Suite, typed: str, root: Path) -> None:
    """The report's table without what takes time: intervals, significance, plots."""
    from rich.console import Console

    from llmrec.report.evidence import gather
    from llmrec.report.formats import print_table
    from llmrec.report.table import main_table
    from llmrec.report.words import cost_columns, metric_column

    over = "folds and seeds ± standard deviation over folds" if suite.folds else "seeds ± standard deviation"
    caption = f"Means over {over}. Intervals, significance, plots: llmrec report {typed}"
    for block in gather(suite, root=root):
        columns = [*map(metric_column, block.metrics), *cost_columns(block)]
        print_table(main_table(block, columns, caption, lambda line, metric: None, set()), Console())


def _explain_failures(failed: list[Record | None]) -> None:
    for record in failed:
        if record is not None:
            typer.echo(f"{record.status}: {run_name(record)}: {record.error}", err=True)
    typer.echo("llmrec show RUN_ID prints the end of a run's log; --retry runs failed ones again", err=True)


def _columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _outline(value: dict[str, Any], indent: int = 0) -> None:
    """Nested tables as indented lines."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            typer.echo(f"{' ' * indent}{key}")
            _outline(inner, indent + 2)
        elif isinstance(inner, str) and "\n" in inner:
            typer.echo(f"{' ' * indent}{key}\n" + "\n".join(" " * (indent + 2) + line for line in inner.splitlines()))
        else:
            shown = f"{inner:.6g}" if isinstance(inner, float) else inner
            typer.echo(f"{' ' * indent}{key}: {shown}")
