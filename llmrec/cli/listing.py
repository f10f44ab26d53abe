"""What there is and what works here: list, new, check, doctor; and score, for answers made elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results
from llmrec.errors import UserError


class What(StrEnum):
    """What can be listed."""

    methods = "methods"
    datasets = "datasets"
    suites = "suites"
    published = "published"


def list_(
    what: Annotated[What, typer.Argument(help="What to list.")],
    methods: Methods = None,
    datasets: Datasets = None,
) -> None:
    """List methods, datasets, suites or published figures, one a line. Nothing is imported: a broken method file lists
    with its problem.

    `llmrec list datasets` is `llmrec datasets`, which has more to it: show, fetch.

    Examples: `llmrec list methods` · `llmrec list methods --methods my_methods` · `llmrec list datasets`
    """
    from llmrec import inventory

    rows = {
        What.methods: lambda: inventory.methods(methods),
        What.datasets: inventory.datasets,
        What.suites: inventory.suites,
        What.published: inventory.published,
    }[what]()
    print_table(rows)


def new(
    name: Annotated[str, typer.Argument(help="The method's name, for example my-method.")],
    methods: Annotated[Path, typer.Option("--methods", metavar="DIR", help="The folder to write it into.")] = Path(
        "my_methods"
    ),
) -> None:
    """Write a method file that already works: 23 lines to start from. Never overwrites.

    Example: `llmrec new my-method`, then `llmrec check my-method --methods my_methods`
    """
    from llmrec import template

    path = template.write(name, methods)
    name = path.stem.replace("_", "-")
    typer.echo(f"wrote {path}")
    typer.echo(f"next: llmrec check {name} --methods {methods}")


def check(
    name: Annotated[str, typer.Argument(help="A method's name, for example ease or recbole:BPR.")],
    methods: Methods = None,
) -> None:
    """Examine one method on a small split whose answer is known: seeds, masks, ids, batches, odd users. Takes seconds.

    Exit code 1 when a check is broken. Examples: `llmrec check ease` · `llmrec check my-method --methods my_methods`
    """
    import os

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: small matrices are slower with threads

    from llmrec.contract import examine
    from llmrec.discover import find_methods, method_file
    from llmrec.errors import MethodError
    from llmrec.examination import rounds
    from llmrec.provenance import missing_package

    if reason := missing_package(method_file(name, find_methods(methods))):
        raise UserError(f"method {name!r} {reason}")
    try:
        examined = [(subject.verb, examine(subject, checks)) for subject, checks in rounds(name, methods)]
    except (MethodError, ImportError) as error:
        raise UserError(f"method {name!r}: {error}") from None
    signs = {"held": "ok  ", "broken": "FAIL", "not applicable": "-   "}
    for verb, found in examined:
        if len(examined) > 1:
            typer.echo(f"asked to {verb}:")
        for outcome in found:
            typer.echo(f"{signs[outcome.status]}  {outcome.check.replace('_', ' '):<26} {outcome.shows}")
            if outcome.message:
                typer.echo(f"      {'':<26} {outcome.message}")
    outcomes = [outcome for _, found in examined for outcome in found]
    count = {status: sum(o.status == status for o in outcomes) for status in signs}
    typer.echo(f"{name}: {count['held']} held, {count['broken']} broken, {count['not applicable']} not applicable")
    if count["broken"]:
        raise typer.Exit(1)


def doctor(methods: Methods = None, datasets: Datasets = None) -> None:
    """Say what is installed, which device there is, and which methods and datasets can run here and why not.

    Example: `llmrec doctor`
    """
    from llmrec.doctor import examination

    for title, rows in examination(methods):
        typer.echo(f"\n{title}")
        print_table(rows, indent=2)


def score(
    suite: Annotated[str, typer.Argument(help="A suite: its dataset, protocol and metrics are used.")],
    file: Annotated[Path, typer.Argument(help="Answers: .csv, .tsv, .parquet, or a TREC run (.run, .trec).")],
    name: Annotated[str, typer.Option("--name", help="The name that the answers get in tables.")],
    dataset: Annotated[
        str | None,
        typer.Option("-d", "--dataset", help="Which of the suite's datasets; needed where it has several."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The seed that the other program ran with.")] = 0,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Judge answers that any other program made, under the suite's masks and metrics, and keep them as a record.

    The file has columns user, item and score (or rank), by the dataset's raw ids; a TREC run has lines
    `user Q0 item rank score tag`. Users who are not in it count as unanswered. Family: external.

    Example: `llmrec score quickstart my_run.csv --name my-model`, then `llmrec report quickstart`
    """
    from llmrec.scoring import score_file

    record, folder = score_file(suite, file, name, dataset=dataset, seed=seed, root=results)
    shown = "  ".join(f"{metric} {record.metrics[metric]:.4f}" for metric in ("recall@10", "ndcg@10", "coverage@10"))
    typer.echo(f"{record.spec.method} on {record.spec.dataset}: {shown}")
    typer.echo(
        f"{record.counts['answered']} of {record.counts['users']} users answered; record {record.run_id} in {folder}"
    )
    typer.echo(f"next: llmrec report {suite}")


_NEVER_BROKEN = 24
"""Columns of at most so many characters stay whole in a narrow terminal: names, numbers."""


def print_table(rows: Sequence[Sequence[str]], indent: int = 0) -> None:
    """Print rows under their first one: a rich table in a terminal, columns padded with spaces elsewhere."""
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        table = Table(*rows[0], box=box.SIMPLE_HEAD)
        for cells, column in zip(zip(*rows[1:], strict=True), table.columns, strict=False):
            column.no_wrap = max(map(len, cells)) <= _NEVER_BROKEN
        for row in rows[1:]:
            table.add_row(*map(Text, row))
        Console().print(Padding(table, (0, 0, 0, indent)))
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(" " * indent + line.rstrip())
