"""Commands of `llmrec datasets` that look hard at data: audit, fingerprints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from llmrec.cli.options import Datasets
from llmrec.errors import UserError, nearest


def audit(
    name: Annotated[str, typer.Argument(help="A dataset, for example ml-100k.")],
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            "-p",
            help="A protocol that its card admits (llmrec datasets show NAME); default: the first, the strictest.",
        ),
    ] = "",
    fold: Annotated[int | None, typer.Option("--fold", min=1, help="Of an official split with folds: which.")] = None,
    candidates: Annotated[str, typer.Option("--candidates", help="all, or train: items seen in training.")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the JSON to a file, too.")] = None,
    datasets: Datasets = None,
) -> None:
    """Measure what is odd about a dataset under a protocol: duplicates, ties, missing text, cold items, leakage.

    Example: `llmrec datasets audit ml-100k --protocol leave-one-out`
    """
    from llmrec.audit import audit as examine
    from llmrec.cli.listing import print_table
    from llmrec.data import card, load
    from llmrec.fingerprints import default_protocol, task_of
    from llmrec.records import Protocol

    this = card(name)
    chosen = protocol or this.protocols[0]
    if chosen not in this.protocols:
        raise UserError(
            f"--protocol {chosen}: {name}, whose card says time = {this.time!r}, does not admit it."
            f"{nearest(chosen, this.protocols)}"
        )
    if candidates not in ("all", "train"):
        raise UserError(f"--candidates {candidates}: expected all or train.")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise UserError(f"--out {out}: expected a file in a folder that exists.")
    dataset = load(name)
    options = {"candidates": candidates, **({"fold": fold} if fold else {})}
    asked = default_protocol(dataset, chosen)
    asked = Protocol.model_validate({**asked.model_dump(), **options})
    found = examine(dataset, asked, task_of(asked.name))
    text = json.dumps(found.as_json(), indent=1, ensure_ascii=False)
    if out is not None:
        out.write_text(text + "\n", "utf-8")
    if as_json:
        typer.echo(text)
        return
    typer.echo(f"{name} under {asked.name}: data {found.data[:16]}, split {found.split[:16]}")
    print_table(found.rows())


def fingerprints(
    names: Annotated[list[str] | None, typer.Argument(help="Datasets; default: all that can be had here.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Put what is measured in place of what is committed.")] = False,
    datasets: Datasets = None,
) -> None:
    """Compare every dataset and split with the committed fingerprints, and say what moved. Exit code 1 if anything did.

    Example: `llmrec datasets fingerprints ml-100k`
    """
    from llmrec import fingerprints as prints
    from llmrec.data import card, dataset_names, obtainable

    known, found, said = prints.committed(), {}, []
    chosen = names or [name for name in known if name in dataset_names() and obtainable(card(name)) is None]
    for name in chosen:
        found[name] = prints.measured(name)
        said += prints.moved(name, known.get(name, {}), found[name])
        typer.echo(f"{name}: {sum(map(len, found[name].values()))} fingerprints")
    for line in said:
        typer.echo(line)
    if write:
        prints.write(found)
        typer.echo(f"wrote {prints.path()}")
    elif said:
        raise typer.Exit(1)
    else:
        typer.echo("nothing has moved")
