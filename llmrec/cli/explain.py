"""The command that shows what methods say about their recommendations: explain."""

from __future__ import annotations

from typing import Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results, SuiteName


def explain(
    suite: SuiteName,
    show: Annotated[int, typer.Option("--show", metavar="N", min=0, help="Sentences of each row that are shown.")] = 3,
    label: Annotated[str, typer.Option("--label", metavar="ROW", help="Only this row of the suite.")] = "",
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Show the sentences that say why items were recommended, and what share of what they state is true.

    Reads records only; nothing is run. Example: `llmrec explain gpt-requests --show 10`
    """
    from rich.console import Console

    from llmrec.errors import UserError, nearest
    from llmrec.report.evidence import gather
    from llmrec.report.explanations import explanations_table, sentences
    from llmrec.report.formats import print_table
    from llmrec.suite import load_suite

    blocks = gather(load_suite(suite, methods), root=results)
    labels = {line.label for block in blocks for line in block.lines}
    if label and label not in labels:
        raise UserError(f"--label: {suite} has no row {label!r}.{nearest(label, labels)}")
    console = Console()
    shown = False
    for block in blocks:
        if (table := explanations_table(block)) is None:
            continue
        shown = True
        print_table(table, console)
        for line in block.lines:
            told = [one for run in line.done for one in sentences(run)]
            for one in told[:show] if label in ("", line.label) else []:
                console.print(f"\n{line.label}: {one['title']}, for “{one['request']}”", style="bold", highlight=False)
                if one["liked"]:
                    console.print(f"  liked: {one['liked']}", highlight=False)
                console.print(f"  {one['sentence']}", highlight=False, markup=False)
                console.print(f"  {one['facts'] or 'nothing that the data can tell'}", style="dim", highlight=False)
    if not shown:
        raise UserError(f"{suite}: no finished run explains anything. Run it: llmrec run {suite}")
