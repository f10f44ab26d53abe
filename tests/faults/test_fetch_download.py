"""Downloading from a server on this machine that cuts connections, changes files, redirects, lies and refuses."""

import errno
import random
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from llmrec.data import download as module
from llmrec.data.download import download
from llmrec.errors import UserError

DATA = random.Random(0).randbytes(600_000)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(module, "WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def target(web, tmp_path) -> Path:
    web.files["data.zip"] = DATA
    return tmp_path / "cache" / "data.zip"


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_download(web, target):
    assert download(web.address("data.zip"), target) is False
    assert target.read_bytes() == DATA
    assert only(target.parent) == ["data.zip"] and web.asked == [("data.zip", "")]


def test_a_connection_that_breaks_is_continued(web, target):
    web.cuts = [200_000, 150_000]
    download(web.address("data.zip"), target)
    assert target.read_bytes() == DATA and only(target.parent) == ["data.zip"]
    ranges = [int(asked.removeprefix("bytes=").rstrip("-")) for _, asked in web.asked[1:]]
    assert len(ranges) == 2 and 100_000 < ranges[0] < ranges[1] < 350_001
    assert web.asked[0] == ("data.zip", "")


def broken(web, target) -> int:
    """Let all attempts of one call fail; returns how much is kept."""
    web.cuts = [200_000, 0, 0, 0]
    with pytest.raises(UserError, match=r"bytes are kept and continued next time") as error:
        download(web.address("data.zip"), target)
    assert "the connection broke" in str(error.value) and web.address("data.zip") in str(error.value)
    assert not target.exists()
    web.asked.clear()
    return target.with_name("data.zip.part").stat().st_size


def test_a_later_call_continues_what_an_earlier_one_left(web, target):
    kept = broken(web, target)
    assert kept > 100_000
    assert download(web.address("data.zip"), target) is True
    assert target.read_bytes() == DATA and web.asked == [("data.zip", f"bytes={kept}-")]
    assert only(target.parent) == ["data.zip"]


def test_a_file_that_changed_in_between_is_downloaded_anew(web, target):
    broken(web, target)
    web.mark, web.files["data.zip"] = {"ETag": '"two"'}, DATA[::-1]
    assert download(web.address("data.zip"), target) is False
    assert target.read_bytes() == DATA[::-1] and len(web.asked) == 1


def test_a_server_without_ranges_is_asked_anew(web, target):
    broken(web, target)
    web.ranges = False
    assert download(web.address("data.zip"), target) is False
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("checked", [True, False])
def test_a_file_without_a_mark_is_continued_only_if_a_checksum_will_tell(web, target, checked):
    web.mark = {}
    kept = broken(web, target)
    assert download(web.address("data.zip"), target, checked=checked) is checked
    assert target.read_bytes() == DATA
    assert web.asked == [("data.zip", f"bytes={kept}-" if checked else "")]


def test_a_weak_etag_is_no_mark_but_a_date_is(web, target):
    web.mark = {"ETag": 'W/"one"', "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}
    kept = broken(web, target)
    assert download(web.address("data.zip"), target, checked=False) is True
    assert web.asked == [("data.zip", f"bytes={kept}-")] and target.read_bytes() == DATA


@pytest.mark.parametrize("length", [len(DATA), len(DATA) + 5])
def test_a_part_that_is_whole_already_or_too_long(web, target, length):
    """As after a kill between the last byte and the renaming, or when the server's file shrank."""
    target.parent.mkdir(parents=True)
    target.with_name("data.zip.part").write_bytes((DATA + b"extra")[:length])
    assert download(web.address("data.zip"), target) is (length == len(DATA))
    assert target.read_bytes() == DATA and only(target.parent) == ["data.zip"]


def test_a_wrong_range_is_not_appended(web, target):
    kept = broken(web, target)
    web.first = [(206, {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"})]
    download(web.address("data.zip"), target)
    assert target.read_bytes() == DATA
    assert web.asked == [("data.zip", f"bytes={kept}-"), ("data.zip", "")]


def test_less_than_the_length_that_was_promised(web, target):
    web.length, web.ranges = len(DATA) + 10, False
    with pytest.raises(UserError, match=r"data\.zip"):
        download(web.address("data.zip"), target)
    assert not target.exists()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(web, target, status):
    web.first = [(status, {"Retry-After": "0"}), (status, {"Content-Length": "0"})]
    download(web.address("data.zip"), target)
    assert target.read_bytes() == DATA and len(web.asked) == 3


def test_a_server_that_stays_busy(web, target):
    web.first = [(503, {})] * 10
    with pytest.raises(UserError, match="the server answers 503 Service Unavailable"):
        download(web.address("data.zip"), target)
    assert len(web.asked) == 1 + len(module.WAITS) and only(target.parent) == []


def test_the_wait_grows_and_follows_the_server(web, target, monkeypatch):
    slept = []
    monkeypatch.setattr(module, "WAITS", (0.5, 1.0, 2.0))
    monkeypatch.setattr(module.time, "sleep", slept.append)
    web.first = [(503, {}), (503, {"Retry-After": "7"}), (503, {"Retry-After": "100000"})]
    download(web.address("data.zip"), target)
    # The server sleeps through the same module between its pieces of 16 KiB; those zeros are not ours.
    assert [seconds for seconds in slept if seconds] == [0.5, 7.0, 60.0]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_file_that_is_not_there(web, target, status):
    web.first = [(status, {})]
    with pytest.raises(UserError, match=f"the server answers {status} .*moved or needs a login"):
        download(web.address("data.zip"), target)
    assert len(web.asked) == 1 and only(target.parent) == []


def test_a_web_page_instead_of_the_file(web, target):
    web.headers = {"Content-Type": "text/html; charset=utf-8"}
    with pytest.raises(UserError, match="a web page, not with a file"):
        download(web.address("data.zip"), target)
    assert only(target.parent) == []


def test_redirects_are_followed_also_when_continuing(web, target):
    redirect = (302, {"Location": web.address("data.zip"), "Content-Length": "0"})
    web.cuts = [0, 200_000]  # the redirect has no body
    web.first = [redirect, (200, {}), redirect]
    download(web.address("old.zip"), target)
    assert target.read_bytes() == DATA
    assert [path for path, _ in web.asked] == ["old.zip", "data.zip", "old.zip", "data.zip"]
    assert web.asked[3][1].startswith("bytes=")


def test_redirects_without_end(web, target):
    web.first = [(302, {"Location": web.address("again")})] * 20
    with pytest.raises(UserError, match="redirected more than 10 times"):
        download(web.address("data.zip"), target)


def test_no_network(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/data.zip"
        with pytest.raises(UserError, match=r"cannot be reached .*Connection refused") as error:
            download(address, tmp_path / "data.zip")
    assert "object at 0x" not in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"cannot be reached .*resolve"):
        download("http://no-such-host.invalid/data.zip", tmp_path / "data.zip")
    with pytest.raises(UserError):
        download("http:///data.zip", tmp_path / "data.zip")
    assert only(tmp_path) == []


def test_a_network_that_is_gone_for_a_while_gets_more_patience_once_something_came(web, target, monkeypatch):
    """All attempts instead of two: the server cannot be reached twice after its connection broke."""
    ask, calls = module._ask, []

    def unreachable(*arguments):
        calls.append(arguments)
        if 2 <= len(calls) <= 3:
            raise module._Transient("cannot be reached", unreachable=True)
        return ask(*arguments)

    monkeypatch.setattr(module, "_ask", unreachable)
    web.cuts = [200_000]
    download(web.address("data.zip"), target)
    assert target.read_bytes() == DATA and len(calls) == 4


def test_too_little_room_is_told_before_anything_comes(web, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(UserError, match=r"600,000 bytes are to come, but only 1,000 are free.*LLMREC_CACHE"):
        download(web.address("data.zip"), target)
    assert not target.exists() and target.with_name("data.zip.part").exists() is False


@pytest.mark.parametrize(("code", "kept"), [(errno.ENOSPC, False), (errno.EIO, True)])
def test_a_disk_that_becomes_full_gets_its_room_back(web, target, monkeypatch, code, kept):
    class Full:
        def __init__(self, stream):
            self.stream, self.left = stream, 3

        def write(self, chunk):
            self.left -= 1
            if self.left < 0:
                raise OSError(code, "it failed")
            return self.stream.write(chunk)

        def __getattr__(self, name):
            return getattr(self.stream, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.stream.close()

    def filling(path, mode="r", *rest, **named):
        stream = opened(path, mode, *rest, **named)
        return Full(stream) if mode == "ab" else stream

    opened = Path.open
    monkeypatch.setattr(Path, "open", filling)
    with pytest.raises(OSError, match="it failed"):
        download(web.address("data.zip"), target)
    assert not target.exists() and target.with_name("data.zip.part").exists() is kept
