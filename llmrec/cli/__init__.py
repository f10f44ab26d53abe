"""The command line. Each command is a function of a module beside this one; heavy imports stand in function bodies, so
that `llmrec --help` starts at once."""

from __future__ import annotations

import errno
import importlib
import sys

import typer

from llmrec.errors import UserError

COMMANDS = {
    "run": ("run", "status", "show", "verify", "reeval"),
    "pack": ("pack",),
    "merge": ("merge",),
    "tune": ("tune",),
    "report": ("report", "compare"),
    "explain": ("explain",),
    "site": ("site",),
    "paper": ("publish", "claims", "paper"),
    "datasets": ("fetch",),
    "probe": ("probe",),
    "listing": ("list_", "new", "check", "doctor", "score"),
}
"""Module of llmrec.cli -> its commands, in the order of `llmrec --help`."""

DATASETS = {"datasets": ("show",), "auditing": ("audit", "fingerprints")}
"""Module of llmrec.cli -> its commands below `llmrec datasets`."""

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def app() -> typer.Typer:
    """The whole command line."""
    root = typer.Typer(
        help="When does a language model recommend better than collaborative filtering, and at what cost?",
        epilog="Start with: llmrec run quickstart",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module_name, names in COMMANDS.items():
        module = importlib.import_module(f"llmrec.cli.{module_name}")
        for name in names:
            root.command(name.rstrip("_"))(getattr(module, name))
    root.add_typer(_datasets(), name="datasets")
    root.add_typer(importlib.import_module("llmrec.cli.recbole").group(), name="recbole")
    return root


def _datasets() -> typer.Typer:
    """`llmrec datasets`, which lists when it is called bare, and what stands below it."""
    from llmrec.cli.datasets import list_all

    group = typer.Typer(invoke_without_command=True, callback=list_all)
    for module_name, names in DATASETS.items():
        module = importlib.import_module(f"llmrec.cli.{module_name}")
        for name in names:
            group.command(name)(getattr(module, name))
    return group


def main() -> None:
    """Run the command line. A mistake that the user can mend is one line on stderr and exit code 2."""
    try:
        app()()
    except UserError as error:
        sys.exit(_say(str(error)))
    except OSError as error:
        if error.errno not in _DISK:
            raise
        sys.exit(_say(f"{error.filename or 'disk'}: {error.strerror}. Nothing was left half-written."))


def _say(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
