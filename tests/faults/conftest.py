"""The real command line in a process of its own, with a results folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


class CommandLine:
    """Calls `llmrec`; ``results`` is its results folder, which does not exist at first."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.folder = folder
        self.environment = {
            **os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "LLMREC_RESULTS": str(self.results),
            "COLUMNS": "200", "NO_COLOR": "1",
        }  # fmt: skip

    def __call__(self, *arguments, **options) -> subprocess.CompletedProcess:
        command = [sys.executable, "-P", "-m", "llmrec", *map(str, arguments)]
        environment = self.environment | options.pop("env", {})
        return subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=300, **options
        )

    def refuses(self, *arguments, says=(), **options) -> str:
        """The call ends with exit code 2 and one message, its last line, without a traceback; returns the message."""
        done = self(*arguments, **options)
        assert done.returncode == 2, (done.stdout, done.stderr)
        message = done.stderr.strip().splitlines()[-1]
        assert "Traceback" not in done.stderr + done.stdout
        assert message.startswith("error: ") and done.stderr.count("error: ") == 1, done.stderr
        for fragment in says:
            assert fragment in message, message
        return message


@pytest.fixture(scope="session")
def command_line():
    """The class itself, for fixtures of a wider scope."""
    return CommandLine


@pytest.fixture
def llmrec(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return CommandLine(folder)
