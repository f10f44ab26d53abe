"""What is committed under results/ keeps the limits of the design: small, and nothing that a rerun gives back."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest

from llmrec.stored import read_ranks

ROOT = Path(__file__).parents[2]
MIB, KB = 2**20, 1000
NEVER = {"answers.parquet", "users.parquet", "log.txt", "explanations.jsonl", "report.html"}
WEIGHTS_AND_DATA = {".safetensors", ".pt", ".pth", ".bin", ".onnx", ".npy", ".npz", ".pkl", ".inter", ".zip", ".whl"}


@pytest.fixture(scope="module")
def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_results_are_small(committed: list[Path]) -> None:
    results, runs = 0, defaultdict[Path, int](int)
    for path in committed:
        if path.is_relative_to(ROOT / "results"):
            results += path.stat().st_size
        if path.is_relative_to(ROOT / "results/runs"):
            runs[path.parent] += path.stat().st_size
    assert results <= 25 * MIB, f"results/ holds {results / MIB:.1f} MiB; python results/compact.py makes it smaller"
    assert runs
    assert {str(run): size for run, size in runs.items() if size > 300 * KB} == {}


def test_every_file_of_ranks_finds_the_users_and_items_that_it_shares(committed: list[Path]) -> None:
    runs = [path.parent for path in committed if path.name == "ranks.parquet" and "runs" in path.parts]
    named = {pl.read_parquet_metadata(run / "ranks.parquet").get("targets") for run in runs} - {None}
    there = {path.stem for path in committed if path.parent == ROOT / "results" / "targets"}
    assert named == there
    assert {str(run) for run in runs if read_ranks(run).columns != ["user", "item", "rank"]} == set()


def test_nothing_is_committed_that_a_rerun_gives_back(committed: list[Path]) -> None:
    assert [str(path) for path in committed if path.is_relative_to(ROOT / "results") and path.name in NEVER] == []


def test_no_data_and_no_weights_are_committed(committed: list[Path]) -> None:
    assert [str(path) for path in committed if path.suffix in WEIGHTS_AND_DATA] == []


def test_the_overview_shows_what_is_published() -> None:
    command = [sys.executable, ROOT / "results" / "overview.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
