"""`llmrec fetch` against a server on this machine: cut, killed, two at once, full disk, no network.

Whatever stops a process is done to a real one; the rest calls the command line's main function.
"""

import gzip
import hashlib
import io
import os
import random
import resource
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from llmrec.cli import main
from llmrec.data import download

EVENTS = "".join(f"{user}\t{item}\t{item}\n" for user in range(100) for item in range(9)).encode()
ITEMS = "".join(f"{item}\titem {item}\n" for item in range(9)).encode()
PADDING = random.Random(0).randbytes(1_500_000)  # so that a download takes a while


def zipped(**more: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as members:
        for path, data in {"d/events.tsv": EVENTS, "d/items.tsv": ITEMS, "d/padding": PADDING, **more}.items():
            members.writestr(zipfile.ZipInfo(path), data)
    return packed.getvalue()


ARCHIVE = zipped()


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Fetcher:
    """Cards in a folder, a cache, a server; `llmrec fetch` with all of them."""

    def __init__(self, folder: Path, web, monkeypatch, capsys) -> None:
        self.cards, self.cache, self.web = folder / "cards", folder / "cache", web
        self.monkeypatch, self.capsys = monkeypatch, capsys
        self.cards.mkdir()
        monkeypatch.setenv("LLMREC_DATASETS", str(self.cards))
        monkeypatch.setenv("LLMREC_CACHE", str(self.cache))
        monkeypatch.setenv("PYTHONSAFEPATH", "1")
        monkeypatch.setattr(download, "WAITS", (0.0,) * 5)
        monkeypatch.delenv("LLMREC_MIRROR", raising=False)
        web.files["small.zip"] = ARCHIVE
        self.card()

    def card(self, name: str = "small", address: str = "", sha256: str = "", **replaced: str) -> None:
        text = f"""
title = "Small"
time = "exact"
home = "https://example.org/small"
licence = "for research"
commercial = false
statistics = {{ users = 100, items = 9, interactions = 900 }}
[[sources]]
address = "{address or self.web.address("small.zip")}"
sha256 = "{sha256 or hashlib.sha256(ARCHIVE).hexdigest()}"
interactions = {{ path = "d/events.tsv", names = ["u", "i", "t"], columns = {{ user = "u", item = "i", time = "t" }} }}
items = {{ path = "d/items.tsv", names = ["i", "name"], columns = {{ raw_id = "i", title = "name" }} }}
"""
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        (self.cards / f"{name}.toml").write_text(text)

    def __call__(self, *names: str) -> subprocess.CompletedProcess:
        """The command in this process."""
        self.monkeypatch.setattr(sys, "argv", ["llmrec", "fetch", *(names or ("small",))])
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self.capsys.readouterr()
        return subprocess.CompletedProcess(sys.argv, end.value.code or 0, out, err)

    def refuses(self, *says: str) -> str:
        return self.is_one_message(self(), *says)

    def is_one_message(self, done: subprocess.CompletedProcess, *says: str) -> str:
        assert done.returncode == 2 and done.stderr.startswith("error: "), done
        assert done.stderr.count("\n") == 1 and done.stderr.count("error: ") == 1, done.stderr
        assert all(fragment in done.stderr for fragment in says), done.stderr
        return done.stderr

    def start(self, **options) -> subprocess.Popen:
        """The command in a process of its own, which heeds Ctrl-C even if the tests run in a shell's background."""
        command = [sys.executable, "-P", "-m", "llmrec", "fetch", "small"]
        usual = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heed_interrupts}
        return subprocess.Popen(command, cwd=self.cards, **usual | options)

    def kept(self) -> dict[str, int]:
        """Files below downloads/ with their sizes."""
        folder = self.cache / "downloads"
        return {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}

    def part(self) -> int:
        return next((size for name, size in self.kept().items() if name.endswith(".part")), 0)

    def wait_for_a_part(self, least: int) -> None:
        end = time.monotonic() + 30
        while self.part() < least:
            assert time.monotonic() < end, "the download did not begin"
            time.sleep(0.01)

    def check_whole(self) -> None:
        names = sorted(Path(name).name for name in self.kept())
        assert names == [".llmrec.json", "events.tsv", "items.tsv"]
        (events,) = (self.cache / "downloads").rglob("events.tsv")
        assert events.read_bytes() == EVENTS


@pytest.fixture
def fetch(tmp_path, web, monkeypatch, capsys):
    return Fetcher(tmp_path, web, monkeypatch, capsys)


def test_a_fetch_and_another(fetch):
    first, second = fetch(), fetch()
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "licence: for research; commercial use not allowed" in first.stdout and "licence" not in second.stdout
    assert "2 files" in first.stdout and fetch.web.address("small.zip") in first.stdout and "cache" in second.stdout
    assert first.stderr == second.stderr == "", "no progress bar where there is no terminal"
    assert len(fetch.web.asked) == 1
    fetch.check_whole()


def test_a_connection_that_breaks_in_between(fetch):
    fetch.web.cuts = [700_000, 300_000]
    done = fetch()
    assert done.returncode == 0, done.stderr
    fetch.check_whole()
    assert [bool(asked) for _, asked in fetch.web.asked] == [False, True, True]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_stopped_is_continued_by_the_next(fetch, how):
    fetch.web.pause = 0.01
    running = fetch.start()
    fetch.wait_for_a_part(300_000)
    running.send_signal(how)
    output = "".join(running.communicate(timeout=30))
    assert "Traceback" not in output
    if how == signal.SIGINT:
        assert running.returncode == 130 and "goes on where this one stopped" in output
    else:
        assert running.returncode == -how
    kept = fetch.part()
    assert kept >= 300_000
    fetch.web.pause = 0
    done = fetch()
    assert done.returncode == 0, done.stderr
    assert fetch.web.asked == [("small.zip", ""), ("small.zip", f"bytes={kept}-")]
    fetch.check_whole()


def test_a_part_of_another_file_is_noticed_by_the_checksum(fetch):
    """The server gives no mark by which a change could be seen, and the file did change."""
    fetch.web.pause, fetch.web.mark = 0.01, {}
    fetch.web.files["small.zip"] = bytes(len(ARCHIVE))
    running = fetch.start()
    fetch.wait_for_a_part(300_000)
    running.kill()
    running.communicate()
    fetch.web.pause, fetch.web.files["small.zip"] = 0, ARCHIVE
    done = fetch()
    assert done.returncode == 0, done.stderr
    assert [bool(asked) for _, asked in fetch.web.asked] == [False, True, False]
    fetch.check_whole()


def test_two_processes_at_once_download_once(fetch):
    fetch.web.pause = 0.01
    running = [fetch.start(), fetch.start()]
    outputs = []
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and "2 files" in out, err
        outputs.append(out)
    assert sum("downloading" in out for out in outputs) == sum("waiting" in out for out in outputs) == 1
    assert len(fetch.web.asked) == 1
    fetch.check_whole()


def test_a_wrong_checksum(fetch):
    fetch.card(sha256="0" * 64)
    message = fetch.refuses(fetch.web.address("small.zip"), "0" * 64, hashlib.sha256(ARCHIVE).hexdigest())
    assert message.count("SHA-256") == 1
    assert fetch.kept() == {} and len(fetch.web.asked) == 1


@pytest.mark.parametrize("path", ["../escaped.txt", "/tmp/llmrec-escaped.txt", "d/../../escaped.txt"])
def test_an_archive_that_climbs_out_of_the_folder(fetch, tmp_path, path):
    evil = zipped(**{path: b"evil"})
    fetch.web.files["small.zip"] = evil
    fetch.card(sha256=hashlib.sha256(evil).hexdigest())
    fetch.refuses(fetch.web.address("small.zip"), path, "outside of the folder")
    assert fetch.kept() == {} and not list(tmp_path.rglob("*escaped*")) and not Path("/tmp/llmrec-escaped.txt").exists()


def test_a_link_in_place_of_a_file(fetch):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as members:
        link = tarfile.TarInfo("d/events.tsv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        members.addfile(link)
    fetch.web.files["small.tar.gz"] = packed.getvalue()
    fetch.card(address=fetch.web.address("small.tar.gz"), sha256=hashlib.sha256(packed.getvalue()).hexdigest())
    fetch.refuses("'d/events.tsv' is a link")
    assert fetch.kept() == {}


@pytest.mark.parametrize("length", [1000, len(ARCHIVE) // 2, len(ARCHIVE) - 10])
def test_a_truncated_archive_without_a_published_checksum(fetch, length):
    fetch.web.files["small.zip"] = ARCHIVE[:length]
    fetch.card(sha256="unpublished")
    fetch.refuses(fetch.web.address("small.zip"), "not a whole archive", "cut short")
    assert fetch.kept() == {} and not (fetch.cache / "first-seen").exists()


def test_a_truncated_archive_in_the_mirror(fetch, tmp_path, monkeypatch):
    mirror = tmp_path / "mirror" / "small"
    mirror.mkdir(parents=True)
    (mirror / "small.zip").write_bytes(ARCHIVE[:-10])
    fetch.card(sha256="unpublished")
    monkeypatch.setenv("LLMREC_MIRROR", str(tmp_path / "mirror"))
    fetch.refuses(str(mirror / "small.zip"), "cut short")
    assert fetch.kept() == {} and fetch.web.asked == []


def test_a_single_file_that_was_never_given_a_checksum(fetch):
    data = gzip.compress(EVENTS, mtime=0)
    fetch.web.files["events.tsv.gz"] = data
    fetch.card(address=fetch.web.address("events.tsv.gz"), sha256="unpublished")
    card = (fetch.cards / "small.toml").read_text().replace("d/events.tsv", "events.tsv.gz").splitlines()
    (fetch.cards / "small.toml").write_text("\n".join(line for line in card if not line.startswith("items")))
    done = fetch()
    assert done.returncode == 0, done.stderr
    assert "no checksum is published" in done.stdout and hashlib.sha256(data).hexdigest() in done.stdout
    assert "no checksum" not in fetch().stdout
    for file in (fetch.cache / "downloads").rglob("events.tsv.gz"):
        file.unlink()
    fetch.web.files["events.tsv.gz"] = data + b"\0"
    fetch.refuses("small/events.tsv.gz", hashlib.sha256(data).hexdigest(), "first seen")


def test_no_network(fetch):
    fetch.card(address="http://127.0.0.1:9/small.zip")  # the port of "discard": nobody listens
    message = fetch.refuses(
        "http://127.0.0.1:9/small.zip: cannot be reached", "refused", "LLMREC_MIRROR", "small/small.zip",
        "https://example.org/small",
    )  # fmt: skip
    assert "Connection" in message and "object at 0x" not in message and fetch.kept() == {}


def test_a_cache_that_cannot_be_written(fetch, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "file"))
    fetch.refuses(str(tmp_path / "file"), "LLMREC_CACHE")
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "closed"))
        fetch.refuses(str(tmp_path / "closed"), "LLMREC_CACHE")
        assert list((tmp_path / "closed").iterdir()) == []


@pytest.mark.parametrize("room", [400_000, len(ARCHIVE) + 4000])
def test_a_disk_that_becomes_full(fetch, room):
    """No file of this process may grow beyond ``room`` bytes: while downloading, or only while unpacking."""
    if room > len(ARCHIVE):
        big = b"x" * 3 * len(ARCHIVE)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as members:
            members.writestr("d/events.tsv", big)
        fetch.web.files["small.zip"] = packed.getvalue()
        fetch.card(sha256=hashlib.sha256(packed.getvalue()).hexdigest())
    running = fetch.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)))
    out, err = running.communicate(timeout=60)
    done = subprocess.CompletedProcess(running.args, running.returncode, out, err)
    fetch.is_one_message(done, "File too large", "LLMREC_CACHE", "Nothing was left half-written")
    assert fetch.kept() == {}


def test_a_misspelt_name_stops_everything_and_a_failure_only_itself(fetch):
    fetch.card("other", address=fetch.web.address("gone.zip"))
    done = fetch("small", "smal")
    assert done.returncode == 2 and "Did you mean 'small'?" in done.stderr and fetch.web.asked == []
    done = fetch("other", "small")
    assert done.returncode == 2 and "small: 2 files" in done.stdout
    assert done.stderr.startswith("error: other: ") and "404" in done.stderr and done.stderr.count("\n") == 1


def test_a_terminal_sees_how_far_it_is(fetch):
    pty = pytest.importorskip("pty")
    fetch.web.pause = 0.01
    ours, theirs = pty.openpty()
    running = fetch.start(stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    assert running.wait(timeout=30) == 0
    assert b"small.zip" in seen and b"/1.5 MB" in seen and b"MB/s" in seen
    running.stdout.close()
