"""The command that searches parameters: tune."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results, SuiteName

if TYPE_CHECKING:
    from llmrec.suite import Suite
    from llmrec.tuning.setup import Setup
    from llmrec.tuning.study import Study


def tune(
    suite: SuiteName,
    method: Annotated[list[str] | None, typer.Option("-m", "--method", help="Only this row; repeatable.")] = None,
    dataset: Annotated[list[str] | None, typer.Option("-d", "--dataset", help="Only this dataset; repeatable.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials of every row; more than before go on from there.")] = 20,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs of every trial, where a method has a field `epochs`; default: its default."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at the same time; never changes which.")] = 1,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Write the best parameters to tuned/DATASET/ROW.toml beside the suite.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Only show the budget of the studies; run nothing.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the chosen rows' studies first.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be tried, and run nothing.")] = False,
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Search the parameters of every row of a suite: the same number of trials for all, on the validation part only.

    What is searched are the fields that a method declares with tune(...) and the row leaves free. Trial 0 has the
    defaults, the next nine are drawn at random, the others are proposed by Optuna's TPE. Trials that fail count. From
    trial 10 on, a trial is pruned at an epoch at which it is worse than the median of those before.

    Ctrl-C or a kill loses nothing: the same command goes on, with the trials of an undisturbed search. Proposals are
    a function of the seed, the trial's number and all trials of its row before it, so --jobs changes none of them:
    it runs trials that wait for no other, the random ones of a row and those of different rows, side by side.

    Trials are records in RESULTS/tuning/, beside the study file; a frozen file holds all of them in short, and
    `llmrec report` shows from it what every row was given.

    Examples: `llmrec tune ml-100k --trials 20 --epochs 30 --jobs 2 --freeze`, then `params = "tuned"` in a suite.
    `llmrec tune ml-100k -m ease --dry-run`. `llmrec tune ml-100k --report`.

    Exit code 0: all studies are whole; 1: some could not be done here; 2: a mistake in the input; 130: Ctrl-C.
    """
    from llmrec.content import results_folder
    from llmrec.errors import UserError
    from llmrec.suite import load_suite
    from llmrec.tuning.setup import setups

    loaded = load_suite(suite, methods)
    root = (results or results_folder()).resolve()
    if report:
        _report(loaded, root)
        return
    chosen, without = setups(loaded, method or (), dataset or (), epochs)
    if without:
        typer.echo(f"nothing to tune: {', '.join(without)}", err=True)
    if dry_run:
        _say_what(loaded, chosen, trials, root, restart)
        return
    with _studies(loaded, chosen, root, restart) as studies:
        if too_many := [s for s in studies if len(s.trials) > trials]:
            raise UserError(
                f"--trials {trials}: {too_many[0].setup.name} has {len(too_many[0].trials)} already. All rows get the "
                "same number: ask for as many, or start anew with --restart."
            )
        unable = _search(loaded, studies, trials, jobs, root, methods)
        if freeze:
            from llmrec.tuning.freeze import freeze as write

            for study in studies:
                if study.setup.name not in unable:
                    typer.echo(f"wrote {write(study, loaded.name, loaded.path.parent, trials)}")
    _report(loaded, root)
    for name, reason in unable.items():
        typer.echo(f"not tuned: {name}: {reason}", err=True)
    if unable:
        raise typer.Exit(1)
    if not freeze:
        typer.echo(f"llmrec tune {suite} --trials {trials} --freeze writes the best parameters for suites", err=True)


@contextlib.contextmanager
def _studies(suite: Suite, chosen: list[Setup], root: Path, restart: bool) -> Iterator[list[Study]]:
    """The studies, held against other processes."""
    from llmrec.publish import check_writable
    from llmrec.tuning import study

    check_writable(root)
    path = study.study_file(root, suite.name)
    with study.held(path):
        if restart:
            study.restart(path, chosen)
        storage = study.open_file(path)
        yield [study.Study(setup, storage, suite.typed) for setup in chosen]


def _search(
    suite: Suite, studies: list[Study], trials: int, jobs: int, root: Path, methods: Path | None
) -> dict[str, str]:
    """Do what is missing; name of a study -> why it could not be done here."""
    from llmrec.progress import watcher
    from llmrec.runner import Interrupted, Options
    from llmrec.tuning.search import search
    from llmrec.tuning.study import trials_root

    missing = sum(max(trials - len(study.ended), 0) for study in studies)
    typer.echo(f"{suite.title}: {len(studies)} studies, {missing} trials to do", err=True)
    if not missing:
        return {}
    shown = watcher(missing)
    options = Options(
        threads=suite.threads, limits=suite.limits, jobs=jobs, root=trials_root(root), extra=methods,
        watchers=[shown],
    )  # fmt: skip
    try:
        return search(studies, trials, options)
    except Interrupted:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is wound up: one more Ctrl-C has nothing left to end
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    finally:
        shown.close()


def _say_what(suite: Suite, chosen: list[Setup], trials: int, root: Path, restart: bool) -> None:
    """What would be tried; nothing is written."""
    from llmrec.tuning.study import Study, open_file, study_file

    path = study_file(root, suite.name)
    storage = open_file(path) if path.exists() and not restart else None
    begun = {study.study_name for study in storage.get_all_studies()} if storage else set()
    for setup in chosen:
        study = Study(setup, storage if setup.name in begun else None, suite.typed)
        done = len(study.ended)
        epochs = f", {setup.epochs} epochs each" if setup.epochs is not None else ""
        typer.echo(f"{setup.name}: {done} of {trials} trials done, {max(trials - done, 0)} to do{epochs}")
        for name, words in setup.words.items():
            typer.echo(f"  {name}: {words}; default {setup.file.params[name].default}")
        for name, value in setup.fixed.items():
            typer.echo(f"  {name}: {value}, set by the row")


def _report(suite: Suite, root: Path) -> None:
    """Print the budget and write it with the curves beside the study file."""
    from rich.console import Console

    from llmrec.errors import UserError
    from llmrec.report.formats import print_table
    from llmrec.tuning import budget
    from llmrec.tuning.study import study_file

    path = study_file(root, suite.name)
    if not path.exists():
        raise UserError(f"{path}: no study yet. Make one with: llmrec tune {suite.typed}")
    budgets = budget.read_budgets(path)
    for table in budget.tables(budgets):
        print_table(table, Console())
    for written in budget.write(budgets, path.parent, suite.title):
        if written.suffix != ".pdf":
            typer.echo(f"wrote {written}")
