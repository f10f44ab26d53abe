"""The wheel holds one top-level package with the suite's content inside, and works far from the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_one_package_and_all_content(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"llmrec"}
    for content in ("baselines/ease.py", "benchmarks/quickstart.toml", "datasets/ml-100k.toml"):
        assert f"llmrec/_bundled/{content}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("llmrec/_bundled/results")]


def test_the_installed_wheel_works_outside_the_checkout(wheel, tmp_path):
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    install = ["install", "--quiet", "--no-deps", "--no-compile", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, cwd=tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(site), "LLMREC_CACHE": str(tmp_path / "cache")}

    def said(*arguments: str) -> str:
        command = [sys.executable, "-P", *arguments]
        return subprocess.run(command, env=environment, cwd=work, check=True, capture_output=True, text=True).stdout

    assert Path(said("-c", "import llmrec; print(llmrec.__file__)").strip()).is_relative_to(site)
    for what, expected in (
        ("methods", ("ease", "gpt-semantic-id", "recbole")),
        ("datasets", ("ml-100k",)),
        ("suites", ("quickstart",)),
    ):
        listed = said("-m", "llmrec", "list", what)
        assert all(name in listed for name in expected), listed
    assert list(work.iterdir()) == [], "listing writes nothing"


def test_an_editable_install_exposes_llmrec_alone_and_copies_nothing(tmp_path):
    """A copy in site-packages would hide the checkout's package; datasets/ would pass for Hugging Face's."""
    build = f"""
import os
os.chdir({str(ROOT)!r})
from hatchling.build import build_editable
print(build_editable({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-P", "-c", build], capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (redirect,) = (archive.read(name).decode() for name in names if name.endswith(".py"))
    assert len(names) == 2 and all("/" not in name for name in names), names
    assert redirect.count("map_module") == 1 and str(ROOT / "llmrec") in redirect
