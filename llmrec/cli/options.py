"""Arguments and options that several commands share, worded once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name (llmrec list suites) or a .toml file.")]
Methods = Annotated[
    Path | None, typer.Option("--methods", metavar="DIR", help="A folder with method files of your own.")
]
Results = Annotated[
    Path | None, typer.Option("--results", metavar="DIR", help="Results folder; default: $LLMREC_RESULTS or results/.")
]


def _own_cards(folder: Path | None) -> Path | None:
    """Through the environment, so that the processes of runs find them, too."""
    if folder is not None:
        os.environ["LLMREC_DATASETS"] = str(folder.absolute())
    return folder


Datasets = Annotated[
    Path | None,
    typer.Option(
        "--datasets",
        metavar="DIR",
        callback=_own_cards,
        help="A folder with dataset cards of your own; $LLMREC_DATASETS.",
    ),
]
