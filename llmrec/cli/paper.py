"""Commands from records to paper: publish, claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results, SuiteName

PaperFolder = Annotated[
    Path | None, typer.Option("--paper", metavar="DIR", help="The paper's folder; default: paper/ of the checkout.")
]


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


def claims(
    check: Annotated[
        bool, typer.Option("--check", help="Fail where the paper says something else than the records.")
    ] = False,
    paper: PaperFolder = None,
    results: Results = None,
) -> None:
    """Decide every claim of paper/claims.toml by the published figures: effect, interval, corrected p, verdict.

    Example: `llmrec claims --check`
    """
    from rich.console import Console

    from llmrec.claims.show import print_claims
    from llmrec.claims.sources import decide_all, refuse_contradictions
    from llmrec.content import paper_folder

    found, _ = decide_all(paper or paper_folder(), results)
    console = Console()
    console.width = max(console.width, 160)
    print_claims(found, console)
    if check:
        refuse_contradictions(found)
