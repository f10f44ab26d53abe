"""Where a card's files are looked for, in which order, and what is kept: nothing here touches a network."""

import gzip
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import pytest

from llmrec.data import fetch
from llmrec.data.cards import Card
from llmrec.errors import ChecksumError, UserError

EVENTS, ITEMS = b"u\ti\n1\t2\n1\t3\n", b'{"id": 2}\n{"id": 3}\n'
PLAIN = {"events.tsv": EVENTS, "items.jsonl": ITEMS}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(files: dict[str, bytes], folder: str = "pkg") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as members:
        for path, data in files.items():
            members.writestr(zipfile.ZipInfo(f"{folder}/{path}"), data)
    return packed.getvalue()


ARCHIVE = zipped(PLAIN | {"readme.txt": b"not asked for"})
PLAIN_MIRROR = {
    "address": "mirror",
    "interactions": {"path": "plain/events.tsv", "sha256": sha256(EVENTS)},
    "items": {"path": "plain/items.jsonl", "sha256": sha256(ITEMS)},
}
PACKED_MIRROR = {
    "address": "mirror",
    "checksums": {"original/small.zip": sha256(ARCHIVE)},
    "interactions": {"path": "pkg/events.tsv", "archive": "original/small.zip"},
    "items": {"path": "pkg/items.jsonl", "archive": "original/small.zip"},
}
PACKAGE = {
    "address": "pypi:small==1.0",
    "sha256": sha256(ARCHIVE),
    "interactions": {"path": "pkg/events.tsv", "sha256": sha256(EVENTS)},
    "items": {"path": "pkg/items.jsonl", "sha256": sha256(ITEMS)},
}
WEB = PACKAGE | {"address": "https://example.org/files/small.zip"}
WEB_FOLDER = {
    "address": "https://example.org/files/",
    "interactions": {"path": "events.tsv.gz", "sha256": "unpublished"},
    "items": {"path": "pkg/items.jsonl", "archive": "all.zip"},
    "checksums": {"all.zip": "md5:" + hashlib.md5(ARCHIVE).hexdigest()},
}


def small(*sources: dict, name: str = "small", folder: Path = Path()) -> Card:
    return Card(name=name, title="Small", time="order", home="https://example.org", sources=sources, folder=folder)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """An empty cache, an empty mirror, and neither an index nor a network."""

    def unreachable(*_, **__):
        raise UserError("no network in this test.")

    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLMREC_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(fetch, "pip_download", unreachable)
    monkeypatch.setattr(fetch, "download", unreachable)


@pytest.fixture
def served(monkeypatch) -> dict[str, bytes]:
    """A web of the test's own: address -> content. What was asked for is removed, so that nothing is asked twice."""
    content: dict[str, bytes] = {}

    def download(address, target, *, checked=True):
        write(target.parent, {target.name: content.pop(address)})
        return False

    monkeypatch.setattr(fetch, "download", download)
    return content


def contents(files: dict[str, Path]) -> dict[str, bytes]:
    return {where: path.read_bytes() for where, path in files.items()}


def test_the_mirror_comes_first_and_is_not_copied(tmp_path, served):
    write(tmp_path / "mirror" / "small", {f"plain/{name}": data for name, data in PLAIN.items()})
    card = small(WEB, PLAIN_MIRROR)
    assert fetch.place(card) == "mirror"
    source, files = fetch.obtain(card)
    assert source.address == "mirror"
    assert files["plain/events.tsv"] == tmp_path / "mirror" / "small" / "plain" / "events.tsv"
    assert not (tmp_path / "cache").exists()


def test_an_archive_in_the_mirror_is_unpacked_once(tmp_path):
    write(tmp_path / "mirror" / "small", {"original/small.zip": ARCHIVE})
    _, files = fetch.obtain(small(PACKED_MIRROR))
    assert contents(files) == {
        "original/small.zip!pkg/events.tsv": EVENTS,
        "original/small.zip!pkg/items.jsonl": ITEMS,
    }
    times = {path: path.stat().st_mtime_ns for path in files.values()}
    _, again = fetch.obtain(small(PACKED_MIRROR))
    assert {path: path.stat().st_mtime_ns for path in again.values()} == times
    unpacked = [p.name for p in (tmp_path / "cache" / "downloads").rglob("*") if p.is_file()]
    assert sorted(unpacked) == [".llmrec.json", "events.tsv", "items.jsonl"]


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_damage_to_what_was_unpacked_is_noticed_and_mended(tmp_path, harm):
    write(tmp_path / "mirror" / "small", {"original/small.zip": ARCHIVE})
    _, files = fetch.obtain(small(PACKED_MIRROR))
    path = files["original/small.zip!pkg/events.tsv"]
    path.unlink() if harm == "gone" else path.write_bytes(EVENTS[:-3])
    _, files = fetch.obtain(small(PACKED_MIRROR))
    assert contents(files)["original/small.zip!pkg/events.tsv"] == EVENTS


def test_a_mirror_folder_of_another_name(tmp_path):
    write(tmp_path / "mirror" / "shared-one", {f"plain/{name}": data for name, data in PLAIN.items()})
    assert fetch.obtain(small(PLAIN_MIRROR | {"address": "mirror:shared-one"}))


@pytest.mark.parametrize("folder", ["", "original/"])
def test_what_comes_from_the_web_may_lie_in_the_mirror(tmp_path, folder):
    """So that a machine without a network can be served by hand."""
    assert f"Put into {tmp_path / 'mirror'} (LLMREC_MIRROR) group-one/small.zip" in refusal(
        small(WEB, name="group:one")
    )
    write(tmp_path / "mirror" / "group-one", {f"{folder}small.zip": ARCHIVE})
    card = small(WEB, name="group:one")
    assert fetch.place(card) == "mirror"
    assert contents(fetch.obtain(card)[1]) == {"pkg/events.tsv": EVENTS, "pkg/items.jsonl": ITEMS}


def test_files_beside_the_card_need_no_checksum(tmp_path):
    write(tmp_path / "cards", {"events.tsv": EVENTS, "my.zip": ARCHIVE})
    source = {"interactions": {"path": "events.tsv"}, "items": {"path": "pkg/items.jsonl", "archive": "my.zip"}}
    card = small(source, folder=tmp_path / "cards")
    assert fetch.place(card) == "local"
    assert contents(fetch.obtain(card)[1]) == {"events.tsv": EVENTS, "my.zip!pkg/items.jsonl": ITEMS}
    write(tmp_path / "cards", {"my.zip": zipped(PLAIN | {"items.jsonl": b'{"id": 9}\n'})})  # the user's newer file
    assert contents(fetch.obtain(card)[1])["my.zip!pkg/items.jsonl"] == b'{"id": 9}\n'
    (tmp_path / "cards" / "my.zip").unlink()
    assert str(tmp_path / "cards" / "my.zip") in refusal(card)


def refusal(card: Card) -> str:
    with pytest.raises(UserError) as error:
        fetch.obtain(card, say=lambda _: None)
    message = str(error.value)
    assert "\n" not in message and message.startswith(f"{card.name}: ")
    return message


def test_without_any_copy_the_message_says_what_was_tried_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("LLMREC_MIRROR")
    message = refusal(small(PLAIN_MIRROR, PACKAGE, WEB))
    assert message.count("no network in this test.") == 2
    wanted = "Set LLMREC_MIRROR to a folder that holds small/plain/events.tsv, small/plain/items.jsonl"
    assert wanted in message and "https://example.org" in message
    assert fetch.obtainable(small(PLAIN_MIRROR)) == fetch.obtainable(small(PACKED_MIRROR)).replace(
        "small/original/small.zip", "small/plain/events.tsv, small/plain/items.jsonl"
    )
    assert fetch.obtainable(small(PLAIN_MIRROR, WEB)) is None
    assert [fetch.place(small(s)) for s in (PLAIN_MIRROR, PACKAGE, WEB)] == ["nowhere", "download", "download"]
    assert not list((tmp_path / "cache" / "downloads").glob("*"))


def test_a_download_keeps_the_named_files_and_is_not_asked_twice(tmp_path, served):
    served[WEB["address"]] = ARCHIVE
    said: list[str] = []
    for _ in range(2):
        assert contents(fetch.obtain(small(WEB), said.append)[1]) == {
            "pkg/events.tsv": EVENTS,
            "pkg/items.jsonl": ITEMS,
        }
    assert fetch.place(small(WEB)) == "cache"
    kept = [p.name for p in (tmp_path / "cache" / "downloads").rglob("*") if p.is_file()]
    assert sorted(kept) == [".llmrec.json", "events.tsv", "items.jsonl"]
    assert len(said) == 2 and "licence: not stated; commercial use not stated" in said[0] and WEB["address"] in said[1]


def test_the_same_archive_is_shared_by_cards_and_gets_further_files(tmp_path, served):
    served[WEB["address"]] = ARCHIVE
    _, first = fetch.obtain(small(WEB))
    events = first["pkg/events.tsv"].stat()
    assert fetch.obtain(small(WEB, name="other"))
    more = {k: WEB[k] for k in ("address", "sha256", "items")} | {"interactions": {"path": "pkg/readme.txt"}}
    assert fetch.place(small(more)) == "download"
    served[WEB["address"]] = ARCHIVE
    assert contents(fetch.obtain(small(more))[1])["pkg/readme.txt"] == b"not asked for"
    assert first["pkg/events.tsv"].stat().st_ctime_ns == events.st_ctime_ns  # another process may be reading it
    assert contents(fetch.obtain(small(WEB))[1]) == contents(first)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (ARCHIVE[:-100], "https://example.org/files/small.zip: SHA-256"),
        (ARCHIVE + b"x", sha256(ARCHIVE)),
        (ARCHIVE + b"x", sha256(ARCHIVE + b"x")),
    ],
)
def test_a_wrong_archive_is_not_kept(tmp_path, served, sent, said):
    served[WEB["address"]] = sent
    with pytest.raises(ChecksumError, match=said):
        fetch.obtain(small(WEB))
    assert not list((tmp_path / "cache" / "downloads").iterdir())


def test_a_wrong_member_of_a_right_archive_is_not_kept(tmp_path, served):
    served[WEB["address"]] = ARCHIVE
    card = small(WEB | {"items": {"path": "pkg/items.jsonl", "sha256": "0" * 64}})
    with pytest.raises(ChecksumError, match=r"small\.zip: pkg/items\.jsonl: SHA-256"):
        fetch.obtain(card)
    assert not list((tmp_path / "cache" / "downloads").iterdir())


def test_a_whole_made_of_wrong_parts_is_fetched_once_more_in_one_go(tmp_path, monkeypatch):
    calls = []

    def download(address, target, *, checked=True):
        calls.append(target.exists())
        write(target.parent, {target.name: b"half old, half new" if len(calls) == 1 else ARCHIVE})
        return len(calls) == 1  # "continued"

    monkeypatch.setattr(fetch, "download", download)
    assert contents(fetch.obtain(small(WEB))[1])["pkg/items.jsonl"] == ITEMS
    assert calls == [False, False]


@pytest.mark.parametrize("whole", [True, False])
def test_a_download_whose_unpacking_was_stopped_is_used(tmp_path, served, whole):
    file = tmp_path / "cache" / "downloads" / f"{sha256(ARCHIVE)[:16]}.download"
    write(file.parent, {file.name: ARCHIVE if whole else b"of another time"})
    if not whole:
        served[WEB["address"]] = ARCHIVE
    assert contents(fetch.obtain(small(WEB))[1])["pkg/items.jsonl"] == ITEMS
    assert not file.exists() and not served


def test_an_interrupt_while_unpacking_keeps_the_download(tmp_path, served, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    served[WEB["address"]] = ARCHIVE
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetch, "store", stopped)
        fetch.obtain(small(WEB))
    assert contents(fetch.obtain(small(WEB))[1])["pkg/items.jsonl"] == ITEMS


def test_a_changed_file_in_the_mirror_is_refused_with_both_sums(tmp_path, served):
    folder = write(tmp_path / "mirror" / "small" / "plain", PLAIN | {"events.tsv": EVENTS + b"1\t4\n"})
    with pytest.raises(ChecksumError) as error:
        fetch.obtain(small(PLAIN_MIRROR, WEB))
    for part in (str(folder / "events.tsv"), sha256(EVENTS), sha256(EVENTS + b"1\t4\n")):
        assert part in str(error.value)


def folder_files() -> dict[str, bytes]:
    address = WEB_FOLDER["address"]
    return {f"{address}events.tsv.gz": gzip.compress(EVENTS, mtime=0), f"{address}all.zip": ARCHIVE}


def test_without_a_published_sum_the_first_download_is_trusted_and_later_ones_compared(tmp_path, served):
    served |= folder_files()
    said: list[str] = []
    _, files = fetch.obtain(small(WEB_FOLDER), said.append)
    assert gzip.decompress(files["events.tsv.gz"].read_bytes()) == EVENTS
    assert files["all.zip!pkg/items.jsonl"].read_bytes() == ITEMS
    (note,) = (tmp_path / "cache" / "first-seen").iterdir()
    assert sum("no checksum is published" in sentence for sentence in said) == 1
    assert any(sha256(gzip.compress(EVENTS, mtime=0)) in sentence and str(note) in sentence for sentence in said)

    files["events.tsv.gz"].unlink()
    served |= {f"{WEB_FOLDER['address']}events.tsv.gz": b"another release"}
    with pytest.raises(ChecksumError) as error:
        fetch.obtain(small(WEB_FOLDER))
    for part in ("small/events.tsv.gz", sha256(b"another release"), sha256(gzip.compress(EVENTS, mtime=0)), str(note)):
        assert part in str(error.value)
    note.unlink()
    served |= {f"{WEB_FOLDER['address']}events.tsv.gz": b"another release"}
    assert fetch.obtain(small(WEB_FOLDER))[1]["events.tsv.gz"].read_bytes() == b"another release"


def test_an_unpublished_sum_is_compared_in_the_mirror_too(tmp_path):
    folder = write(tmp_path / "mirror" / "small", {"events.tsv.gz": gzip.compress(EVENTS), "all.zip": ARCHIVE})
    fetch.obtain(small(WEB_FOLDER))
    write(folder, {"events.tsv.gz": b"another release"})
    with pytest.raises(ChecksumError, match="first seen"):
        fetch.obtain(small(WEB_FOLDER))


def test_an_answer_that_cannot_be_unpacked_is_not_trusted(tmp_path, served):
    card = small(WEB | {"sha256": "unpublished", "md5": None})
    served[WEB["address"]] = b"not what was wanted"
    assert "not a whole archive" in refusal(card)
    assert not (tmp_path / "cache" / "first-seen").exists()
    assert not list((tmp_path / "cache" / "downloads").iterdir())
    served[WEB["address"]] = ARCHIVE
    assert fetch.obtain(card)


def test_a_package_is_downloaded_once(tmp_path, monkeypatch):
    calls = []

    def pip(source, folder):
        calls.append(source.address)
        return write(folder, {"small.whl": ARCHIVE}) / "small.whl"

    monkeypatch.setattr(fetch, "pip_download", pip)
    for _ in range(2):
        assert contents(fetch.obtain(small(PACKAGE))[1]) == {"pkg/events.tsv": EVENTS, "pkg/items.jsonl": ITEMS}
    assert calls == ["pypi:small==1.0"]


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """An installed package "small" that must not be executed."""
    folder = write(
        tmp_path / "site",
        {f"pkg/{name}": data for name, data in PLAIN.items()}
        | {"small/__init__.py": b"raise SystemExit('the package was executed')\n"}
        | {"small-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: small\nVersion: 1.0\n"},
    )
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_an_installed_package_is_read_without_being_executed(site):
    assert fetch.place(small(PACKAGE)) == "package"
    _, files = fetch.obtain(small(PACKAGE))
    assert files["pkg/events.tsv"] == site / "pkg" / "events.tsv" and "small" not in sys.modules


def test_another_version_of_the_package_is_not_read(site):
    assert "no network in this test" in refusal(small(PACKAGE | {"address": "pypi:small==2.0"}))


def test_an_installed_package_whose_files_were_changed_is_refused(site):
    write(site, {"pkg/items.jsonl": ITEMS + b"\n"})
    with pytest.raises(ChecksumError, match=str(site)):
        fetch.obtain(small(PACKAGE))


def test_one_file_cannot_be_several():
    card = small(WEB | {"address": "https://example.org/events.tsv"})
    with pytest.raises(UserError, match=r"one file, but the card wants pkg/events\.tsv, pkg/items\.jsonl"):
        fetch.obtain(card)


def test_the_licence_is_shown_once_and_again_when_it_changes():
    card = small(WEB)
    assert "Terms: https://example.org" in fetch.terms(card) and fetch.terms(card) == ""
    stricter = card.model_copy(update={"licence": "research only", "commercial": False})
    assert "licence: research only; commercial use not allowed" in fetch.terms(stricter)


def test_pip_says_why_it_could_not(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    source = small(PACKAGE | {"address": "pypi:llmrec-no-such-package==1.0"}).sources[0]
    with pytest.raises(UserError, match=r"`pip download llmrec-no-such-package==1\.0` failed: .*No matching"):
        fetch.pip_download(source, tmp_path)
