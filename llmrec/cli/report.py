"""Commands that turn records into tables, plots, pages and comparisons: report, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results, SuiteName

if TYPE_CHECKING:
    from llmrec.report.write import Report


def report(
    suite: SuiteName,
    format: Annotated[
        str, typer.Option("--format", help="Any of terminal,markdown,latex,csv,html, with commas between.")
    ] = "terminal,markdown,latex,csv,html",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to write; default: SUITE's folder in the results."),
    ] = None,
    publishable: Annotated[
        bool, typer.Option("--publishable", help="Refuse missing and stale runs and uncommitted changes.")
    ] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log table and plots to Weights & Biases, too.")] = False,
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Show who wins, how surely, and at what cost: table, statistics, plots and one self-contained page.

    Reads records only; nothing is run. Example: `llmrec report quickstart --format terminal,html`
    """
    from llmrec.content import results_folder
    from llmrec.report.evidence import gather
    from llmrec.report.write import Report, chosen_formats, refuse_unpublishable, write, write_plots
    from llmrec.suite import load_suite

    kinds = chosen_formats(format)
    loaded = load_suite(suite, methods)
    blocks = gather(loaded, root=results)
    if publishable:
        refuse_unpublishable(blocks)
    folder = out or (results or results_folder()) / loaded.name
    reports = [Report(block) for block in blocks]
    if "terminal" in kinds:
        _print(reports)
    written = write(reports, folder, kinds, loaded.title, loaded.name)
    for path in written:
        if path.suffix != ".pdf":
            typer.echo(f"wrote {path}")
    if wandb or loaded.track.wandb:
        from llmrec.report.mirror import mirror

        pictures = [path for path in written or write_plots(reports, folder / "plots") if path.suffix == ".png"]
        mirror(reports, loaded.name, pictures)


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A run's id or its first characters; with --suite, a label.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare it with.")],
    suite: Annotated[
        str, typer.Option("--suite", metavar="SUITE", help="Compare two of its rows over all seeds.")
    ] = "",
    dataset: Annotated[str, typer.Option("-d", "--dataset", help="Which of the suite's datasets.")] = "",
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Compare two runs, or two methods of a suite, user by user at every accuracy metric.

    Examples: `llmrec compare 3fa9 07bc` · `llmrec compare sasrec ease --suite quickstart`
    """
    from rich.console import Console

    from llmrec.report.compare import blocks_of, duels, find, sentence, table
    from llmrec.report.formats import print_table

    blocks = blocks_of(suite, dataset, methods, results) if suite else []
    first, second = find(a, blocks, results), find(b, blocks, results)
    found = duels(first, second)
    print_table(table(first, second, found), Console())
    typer.echo(sentence(first, second, found))


def _print(reports: list[Report]) -> None:
    from rich.console import Console

    from llmrec.report.formats import print_table

    console = Console()
    for report in reports:
        for table in report.tables:
            print_table(table, console)
            console.print()
        for sentence in report.findings.sentences():
            console.print(sentence, highlight=False)
        for remark in report.remarks:
            if remark.level == "alarm":
                console.print(f"look at: {remark.text}", highlight=False, style="bold")
        if report.statistics is None:
            console.print(report.no_statistics, highlight=False)
