"""Where the suite's content lies: the checkout's folders, or the copies inside the installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def content_root() -> Path:
    """The folder that holds baselines/, benchmarks/ and datasets/: the checkout, else the wheel's _bundled folder."""
    checkout = PACKAGE.parent
    if (checkout / "pyproject.toml").exists() and (checkout / "baselines").is_dir():
        return checkout
    return PACKAGE / "_bundled"


def method_folders(extra: Path | None = None) -> list[Path]:
    """Folders whose .py files are methods, the user's own (``--methods DIR``) first."""
    folders = [content_root() / "baselines", *sorted(p for p in (PACKAGE / "methods").iterdir() if p.is_dir())]
    return [extra, *folders] if extra else folders


def results_folder() -> Path:
    """Where runs are kept: $LLMREC_RESULTS, else the checkout's results/, else ./results."""
    if chosen := os.environ.get("LLMREC_RESULTS"):
        return Path(chosen)
    root = content_root()
    return (root if root != PACKAGE / "_bundled" else Path.cwd()) / "results"


def paper_folder() -> Path:
    """The paper's sources: the checkout's paper/, else ./paper (a wheel holds none)."""
    root = content_root()
    return (root if root != PACKAGE / "_bundled" else Path.cwd()) / "paper"


def cache_folder() -> Path:
    """Where downloads, parsed datasets and embeddings are kept: $LLMREC_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("LLMREC_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "llmrec"
