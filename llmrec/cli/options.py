"""Arguments and options that several commands share, worded once."""

from __future__ import annotations

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
