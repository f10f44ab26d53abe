"""What all tests share: where the copies of public datasets lie, and the count of anchors at the end of the output."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: small matrices are slower with threads

ANCHORS = "test_anchors.py"


def mirror_folder() -> Path | None:
    """The folder with one subfolder per public dataset: $LLMREC_MIRROR, else shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    chosen = Path(os.environ["LLMREC_MIRROR"]) if os.environ.get("LLMREC_MIRROR") else beside
    return chosen if chosen.is_dir() else None


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of dataset copies; tests that need it are skipped where there is none."""
    if (folder := mirror_folder()) is None:
        pytest.skip("no dataset copies: set LLMREC_MIRROR")
    return folder


@pytest.fixture
def server():
    """A model endpoint on this machine."""
    from tests.unit.lm_server import Server

    made = Server()
    yield made
    made.shutdown()
    made.server_close()


def pytest_terminal_summary(terminalreporter):
    ends = {"checked": 0, "failed": 0, "skipped": 0}
    for outcome, end in {"passed": "checked", "failed": "failed", "error": "failed", "skipped": "skipped"}.items():
        reports = terminalreporter.stats.get(outcome, [])
        ends[end] += sum(ANCHORS in getattr(report, "nodeid", "") for report in reports)
    if any(ends.values()):
        checked = ends["checked"] + ends["failed"]
        terminalreporter.write_line(
            f"anchors (published figures reached exactly): {checked} checked, {ends['failed']} of them failed, "
            f"{ends['skipped']} skipped" + (" (no dataset copies: set LLMREC_MIRROR)" if ends["skipped"] else "")
        )
