"""Commands from records to paper: publish."""

from __future__ import annotations

from typing import Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results, SuiteName


def publish(
    suite: SuiteName,
    partial: Annotated[
        bool, typer.Option("--partial", help="Publish rows without any run as 'not yet run'; seeds must be whole.")
    ] = False,
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Freeze a suite's figures into results/published, the files that the paper is made from.

    Refuses missing seeds, stale and dirty runs, mixed protocols, and a checkout with uncommitted changes.
    Example: `llmrec publish ml-100k`
    """
    from llmrec.content import results_folder
    from llmrec.publish import check_writable, disk_errors
    from llmrec.published.checks import check_tree
    from llmrec.published.freeze import freeze
    from llmrec.published.tables import write_frozen
    from llmrec.suite import load_suite

    loaded = load_suite(suite, methods)
    check_tree()
    frozen = freeze(loaded, root=results, partial=partial)
    root = results or results_folder()
    check_writable(root)
    with disk_errors(root):
        written = write_frozen(frozen, loaded.name, results)
    runs = frozen.figures["run_id"].n_unique()
    for path in written:
        typer.echo(f"wrote {path} ({path.stat().st_size / 1000:,.0f} kB)")
    typer.echo(f"{runs} runs, {len(frozen.figures):,} figures. Next: llmrec paper")
