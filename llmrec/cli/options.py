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


def _replayed(wanted: bool) -> bool:
    if wanted:
        os.environ["LLMREC_REPLAY"] = "1"
    return wanted


def _kept_in(folder: Path | None) -> Path | None:
    if folder is not None:
        os.environ["LLMREC_RESPONSES"] = str(folder.absolute())
    return folder


Replay = Annotated[
    bool,
    typer.Option(
        "--replay",
        callback=_replayed,
        help="Send nothing to any model endpoint: only responses that are kept from earlier runs; $LLMREC_REPLAY.",
    ),
]
Responses = Annotated[
    Path | None,
    typer.Option(
        "--responses",
        metavar="DIR",
        callback=_kept_in,
        help="Where responses of model endpoints are kept; $LLMREC_RESPONSES, default: in llmrec's cache.",
    ),
]
