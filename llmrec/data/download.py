"""One file over HTTP, in pieces if need be: an interrupted download goes on where it stopped.

pooch and fsspec cannot resume; huggingface-hub's `http_get` can, but does not ask whether the file has changed since,
leaves the part to its caller, and comes with the optional language models. So the connection is requests' work
(redirects, proxies, certificates), and the bookkeeping of the part file stands here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llmrec.errors import UserError

if TYPE_CHECKING:
    from requests import Response, Session

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each new attempt. The count starts anew whenever an attempt has brought something."""

_CONNECT, _SILENCE, _LONGEST_WAIT = 10.0, 60.0, 60.0  # seconds
_CHUNK = 1 << 16  # bytes; what is read of a chunk when the connection is cut is read again
_REDIRECTS = 10
_NO_NETWORK = 2  # new attempts where nothing was ever reached
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class _Transient(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, reason: str, wait: float = 0.0, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.unreachable = wait, unreachable


def download(address: str, target: Path, *, checked: bool = True) -> bool:
    """Download to ``target``, which appears whole or not at all; what came stays in ``<target>.part`` meanwhile.

    A part of an earlier attempt is continued if the server allows it and still has the same file: it is asked with the
    ETag or date that it gave. ``checked`` says that the caller compares a checksum afterwards; without one a part is
    continued only when the server gave such a mark.

    Returns whether bytes of an earlier call were used.

    Raises:
        UserError: no network, no such file, or too little space on the disk.
        OSError: writing failed. A disk that became full is given back what the part took.
    """
    import requests

    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target)
    continued, failures, came = part.bytes() > 0, 0, False
    with requests.Session() as session:
        session.max_redirects = _REDIRECTS
        while True:
            before = part.bytes()
            try:
                continued &= _attempt(session, address, part, checked)
                break
            except _Transient as error:
                progress = part.bytes() > before
                failures, came = 1 if progress else failures + 1, came or progress
                if failures > (_NO_NETWORK if error.unreachable and not came else len(WAITS)):
                    kept = f" {part.bytes():,} bytes are kept and continued next time." if part.bytes() else ""
                    raise UserError(f"{address}: {error}.{kept}") from None
                time.sleep(max(WAITS[failures - 1], min(error.wait, _LONGEST_WAIT)))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    part.forget()
                raise
    part.path.replace(target)
    part.forget()
    return continued


class _Part:
    """What has come so far, and the server's mark (ETag or date) of the file that it is a part of."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")

    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def mark(self) -> str:
        try:
            return str(json.loads(self._note.read_text("utf-8"))["mark"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def begin(self, response: Response) -> None:
        """A new file: forget the old part, note the mark. A weak ETag does not promise equal bytes."""
        self.forget()
        etag = response.headers.get("ETag", "")
        mark = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
        self._note.write_text(json.dumps({"address": response.url, "mark": mark}), "utf-8")

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def _attempt(session: Session, address: str, part: _Part, checked: bool) -> bool:
    """One request; returns whether it went on from what was there."""
    have = part.bytes()
    headers = {"Accept-Encoding": "identity", "User-Agent": "llmrec"}  # the file as it is: its size and sum are known
    if have and (part.mark() or checked):
        headers["Range"] = f"bytes={have}-"
        if part.mark():
            headers["If-Range"] = part.mark()
    with _ask(session, address, headers) as response:
        first, total = _answered(response, part, have)
        if first == total and first:  # all of it was here already
            return True
        if first == 0:
            part.begin(response)
        _room(part.path.parent, (total or 0) - first)
        _write(response, part.path, total, label=_label(address))
    if total is not None and part.bytes() != total:
        raise _Transient(f"ended after {part.bytes():,} of {total:,} bytes")
    return first > 0


def _ask(session: Session, address: str, headers: dict[str, str]) -> Response:
    import requests

    try:
        return session.get(address, headers=headers, stream=True, timeout=(_CONNECT, _SILENCE))
    except requests.exceptions.SSLError as error:
        raise UserError(f"{address}: no safe connection ({_reason(error)}).") from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Transient(f"cannot be reached ({_reason(error)})", unreachable=True) from None
    except requests.TooManyRedirects:
        raise UserError(f"{address}: redirected more than {_REDIRECTS} times.") from None
    except requests.RequestException as error:
        raise UserError(f"{address}: {error}") from None


def _answered(response: Response, part: _Part, have: int) -> tuple[int, int | None]:
    """The first byte that the server sends and the size of the whole file, if it says so."""
    if response.status_code in _TRANSIENT:
        wait = response.headers.get("Retry-After", "")
        raise _Transient(
            f"the server answers {response.status_code} {response.reason}", float(wait) if wait.isdecimal() else 0.0
        )
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    first, total = found.groups() if found else (None, None)
    if response.status_code == 416 and total == str(have):
        return have, have
    if response.status_code == 416 or (response.status_code == 206 and first != str(have)):
        part.forget()
        raise _Transient("the server cannot continue the download")
    if response.status_code not in (200, 206):
        raise UserError(
            f"{response.url}: the server answers {response.status_code} {response.reason}: the file has moved or needs "
            "a login."
        )
    if response.status_code == 206:
        return have, int(total) if total and total != "*" else None
    if response.headers.get("Content-Type", "").startswith("text/html") and not _label(response.url).endswith("html"):
        raise UserError(f"{response.url}: the server answers with a web page, not with a file; it may need a login.")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _write(response: Response, path: Path, total: int | None, label: str) -> None:
    """Append what comes; what was written before the connection broke stays."""
    from urllib3.exceptions import HTTPError

    with path.open("ab") as stream, _progress(label, total, stream.tell()) as advance:
        try:
            for chunk in response.raw.stream(_CHUNK, decode_content=False):
                stream.write(chunk)
                advance(len(chunk))
        except HTTPError:
            of = f" of {total:,}" if total else ""
            raise _Transient(f"the connection broke after {stream.tell():,}{of} bytes") from None


def _room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed:,} bytes are to come, but only {free:,} are free; make room or set LLMREC_CACHE to a "
            "folder on another disk. Nothing was downloaded."
        )


def _label(address: str) -> str:
    return urlsplit(address).path.rsplit("/", 1)[-1] or address


def _reason(error: BaseException) -> str:
    """The last clause of the innermost error: "Connection refused"."""
    inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else error
    text = str(getattr(inner, "reason", None) or inner)
    return re.sub(r"^.*?\): ", "", text)


@contextlib.contextmanager
def _progress(label: str, total: int | None, have: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal's stderr; silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total, completed=have)
        yield lambda count: bars.advance(task, count)
