"""The real command line in a process of its own, with a results folder of its own; and a web server with moods."""

import contextlib
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

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


class Web:
    """A web server on this machine whose moods can be set: it serves ``files`` and remembers what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []  # path, Range header or ""
        self.first: list[tuple[int, dict[str, str]]] = []  # answers given before any file, one a request
        self.ranges = True  # honours Range
        self.mark: dict[str, str] = {"ETag": '"one"'}
        self.cuts: list[int] = []  # bytes after which the connection breaks, one a request
        self.length: int | None = None  # what Content-Length says, if not the truth
        self.headers: dict[str, str] = {}
        self.pause = 0.0  # seconds between pieces of 16 KiB
        self.port = 0

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path, asked = handler.path.lstrip("/"), handler.headers.get("Range", "")
        self.asked.append((path, asked))
        status, headers = self.first.pop(0) if self.first else (200 if path in self.files else 404, {})
        data = self.files.get(path, b"") if status == 200 else b""
        start = 0
        if status == 200 and asked and self.ranges and handler.headers.get("If-Range", "same") in (
            "same", *self.mark.values(),
        ):  # fmt: skip
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            status = 206 if start < len(data) else 416
            headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            if status == 416:
                headers = {"Content-Range": f"bytes */{len(data)}"}
        body = data[start:] if status != 416 else b""
        length = len(body) if self.length is None else self.length
        handler.send_response(status)
        for name, value in {"Content-Length": str(length), **self.mark, **self.headers, **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        sent = body[: self.cuts.pop(0)] if self.cuts else body
        for at in range(0, len(sent), 1 << 14):
            handler.wfile.write(sent[at : at + (1 << 14)])
            time.sleep(self.pause)


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    server = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(ConnectionError):
                server.answer(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        server.port = running.server_port
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        running.shutdown()
