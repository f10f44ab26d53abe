"""Where and with what a run is made: commit, lock, versions, machine. No secrets: the host is a hash of its name, and
nothing of the environment is kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from llmrec.content import PACKAGE, content_root
from llmrec.discover import MethodFile
from llmrec.records import Provenance
from llmrec.sources import packages

SHAPING = ("llmrec", "baselines", "benchmarks", "datasets", "pyproject.toml")
"""What can change a figure; only changes in these make a tree dirty."""

COMMIT = "COMMIT"
"""The file in which code that came in an archive says what it was: "<commit> clean" or "<commit> dirty"."""

NUMERIC = {
    "torch": "torch", "transformers": "transformers", "implicit": "implicit", "sklearn": "scikit-learn",
    "recbole": "recbole", "surprise": "scikit-surprise",
}  # fmt: skip
"""Packages beside numpy and scipy whose version can change a figure of a method that imports them, and the name that
each is installed by."""

RECORDED = ("llmrec", "numpy", "scipy", "polars", "pydantic", *NUMERIC.values(), "tokenizers", "safetensors")


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, None if it is not there; nothing is imported."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def machine_class(file: MethodFile) -> str:
    """Device kind and numeric libraries of a method's runs here: "cpu-numpy2.4-scipy1.17-torch2.13".

    Libraries beside numpy and scipy count where the method's source imports them. One record is kept per run and class.
    """
    imported = {name.split(".")[0] for path in file.paths for name in packages(path)} | set(file.requires)
    names = ["numpy", "scipy", *(dist for module, dist in NUMERIC.items() if module in imported)]
    versions = [(name, installed_version(name)) for name in names]
    shown = [f"{name}{'.'.join(version.split('.')[:2])}" for name, version in versions if version]
    return "-".join([device(file), *shown])


def needs_torch(file: MethodFile) -> bool:
    """Whether a method's source may import torch, itself or through the llmrec modules it imports."""
    return "torch" in file.requires or any(
        name.split(".")[0] == "torch" for path in file.paths for name in packages(path)
    )


def device(file: MethodFile) -> str:
    """ "cuda" for a method that uses torch where torch can reach a GPU, else "cpu"; $LLMREC_DEVICE overrides."""
    if not needs_torch(file):
        return "cpu"
    return os.environ.get("LLMREC_DEVICE") or ("cuda" if gpus() else "cpu")


@cache
def gpus() -> tuple[tuple[str, str], ...]:
    """(name, driver version) of each NVIDIA GPU that torch may use, found without importing torch."""
    torch = installed_version("torch") or "+cpu"
    if torch.endswith("+cpu") or os.environ.get("CUDA_VISIBLE_DEVICES") == "" or not shutil.which("nvidia-smi"):
        return ()
    listing = _output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    pairs = [line.rsplit(",", 1) for line in listing.splitlines() if "," in line]
    return tuple((name.strip(), driver.strip()) for name, driver in pairs)


def missing_package(file: MethodFile) -> str | None:
    """Why a method cannot run here for want of a package, with the command that installs it; None if it can."""
    return next((reason for module in file.requires if (reason := missing(module))), None)


def missing(module: str) -> str | None:
    """The sentence that says that a top-level module is not installed, and how to; None if it is."""
    if importlib.util.find_spec(module) is not None:
        return None
    distribution = NUMERIC.get(module, module)
    extra = _extra_with(distribution)
    wanted = f"'llmrec[{extra}]'" if extra else distribution
    return f"needs the package {module!r}: pip install {wanted}"


@cache
def provenance(threads: int = 1) -> Provenance:
    """This checkout and this machine, without times and models (each run adds its own)."""
    root = content_root()
    commit, dirty = _commit(root)
    lock = root / "requirements.lock"
    gpu = gpus()
    return Provenance(
        commit=commit,
        dirty=dirty,
        lock=hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "",
        versions={
            "python": platform.python_version(),
            **{name: version for name in RECORDED if (version := installed_version(name))},
        },
        host=hashlib.sha256(platform.node().encode()).hexdigest()[:8],
        platform=platform.platform(),
        cpu=_cpu_name(),
        gpu=", ".join(name for name, _ in gpu),
        driver=gpu[0][1] if gpu else "",
        threads=threads,
    )


def _commit(root: Path) -> tuple[str, bool]:
    """The commit and whether what shapes figures differs from it: git's word, that of the archive which the code came
    in, else a content hash."""
    if (root / ".git").exists() and (commit := _output("git", "-C", str(root), "rev-parse", "HEAD")):
        changed = _output("git", "-C", str(root), "status", "--porcelain", "--", *SHAPING)
        return commit, bool(changed)
    if (root / COMMIT).is_file():
        commit, _, state = (root / COMMIT).read_text("ascii").strip().partition(" ")
        return commit, state != "clean"
    digest = hashlib.sha256()
    for part in SHAPING:
        top = PACKAGE if part == "llmrec" else root / part  # in a wheel the package holds the content, not beside it
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{part}/{path.relative_to(top)}\n".encode() + path.read_bytes())
    return f"content-{digest.hexdigest()[:16]}", False


def _extra_with(distribution: str) -> str | None:
    """The extra of llmrec that installs a distribution."""
    for line in importlib.metadata.requires("llmrec") or []:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if name and extra and name.group().lower().replace("_", "-") == distribution:
            return extra.group(1)
    return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _output(*command: str) -> str:
    """What a command prints; "" if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
