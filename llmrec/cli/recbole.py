"""`llmrec recbole`: RecBole's models by name, and which of them train and answer here."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from llmrec.cli.options import Results


def group() -> typer.Typer:
    """`llmrec recbole` with what stands below it."""
    made = typer.Typer(
        help="RecBole's general and sequential models: which there are, and which train and answer here. "
        "In a suite: name = 'recbole:LightGCN'.",
        no_args_is_help=True,
    )
    made.command("list")(list_models)
    made.command("check")(check)
    return made


def list_models() -> None:
    """Print every general and sequential model of RecBole with the data that it reads.

    What a dataset lacks is said when a model is run on it; every dataset has pairs and histories.

    Examples: `llmrec recbole list` · then, in a suite: `name = "recbole:SASRec"`, `params = { epochs = 50 }`
    """
    from llmrec.cli.listing import print_table
    from llmrec.recbole_coverage import MENDED
    from llmrec.recbole_models import known_models

    models = known_models()
    rows = [(f"recbole:{m.name}", m.kind, m.reads, MENDED.get(m.name, "")) for m in models.values()]
    print_table([("METHOD", "KIND", "READS", "MENDED HERE"), *rows])
    typer.echo(f"{len(models)} models. Whether one trains and answers: llmrec recbole check MODEL")


def check(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="Models by RecBole's names; default: all.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="A model is ended after so long.")] = 300,
    memory: Annotated[float, typer.Option(min=0.5, help="A model is ended above so many GiB.")] = 8,
    retry: Annotated[bool, typer.Option("--retry", help="Do failed, oom and timeout runs again.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help="Do runs again whose code has changed since.")] = False,
    results: Results = None,
) -> None:
    """Train each model for two epochs on a sample of ml-100k, ask it for 200 users, and say whether it answers.

    Each model runs in a process of its own. What is done is kept: the same command goes on where it was ended. When all
    models have been run, the table recbole-coverage.md is written into the results folder.

    Exit code 0: all that were asked train and answer; 1: some do not. All of them take about a quarter of an hour.

    Examples: `llmrec recbole check` · `llmrec recbole check SASRec NCL` · `llmrec recbole check --retry --seconds 900`
    """
    from llmrec.content import results_folder
    from llmrec.progress import watcher
    from llmrec.recbole_coverage import markdown, planned, read_rows, runs_root
    from llmrec.results import find_record
    from llmrec.runner import Interrupted, Options, run_all
    from llmrec.staleness import state
    from llmrec.suite import Limits

    root: Path = (results or results_folder()).resolve()
    limits = Limits(seconds=seconds, memory_gib=memory)
    asked, runs = planned(models or ()), runs_root(root)
    options = Options(limits=limits, retry=retry, stale=stale, root=runs)
    due = sum(options.due(state(find_record(one, runs, elsewhere=False), one.file)) for one in asked)
    typer.echo(f"{len(asked)} models, {due} to run", err=True)
    if due:
        try:
            run_all(asked, Options(limits=limits, retry=retry, stale=stale, root=runs, watchers=[watcher(due)]))
        except Interrupted:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            typer.echo("interrupted; the same command goes on from here", err=True)
            raise typer.Exit(130) from None
    rows = read_rows(asked, root)
    for row in rows:
        typer.echo(f"{row.model.name:<12} {'yes' if row.good else 'no ':<4} {row.said}")
    everything = read_rows(planned(), root)
    if missing := [row.model.name for row in everything if row.seconds is None]:
        typer.echo(f"no table yet: {len(missing)} of {len(everything)} models have not been run", err=True)
    else:
        path, partial = root / "recbole-coverage.md", root / "recbole-coverage.md.partial"
        partial.write_text(markdown(everything), "utf-8")
        partial.replace(path)
        typer.echo(f"wrote {path}")
    if not all(row.good for row in rows):
        raise typer.Exit(1)
