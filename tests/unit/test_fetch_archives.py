"""Unpacking: only the named files, nowhere else; a broken archive is one clear error."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from llmrec.data.archives import extract
from llmrec.errors import UserError

WANTED = {"pkg/events.tsv": b"u\ti\n1\t2\n" * 500, "pkg/items.jsonl": b'{"id": 2}\n' * 300}
OTHER = {"pkg/readme.txt": b"not asked for"}


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as members:
        for path, data in files.items():
            members.writestr(zipfile.ZipInfo(path), data, method)
    return packed.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz", links: dict[str, str] | None = None) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as members:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            members.addfile(info, io.BytesIO(data))
        for path, target in (links or {}).items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            members.addfile(info)
    return packed.getvalue()


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "packed",
    [zipped(WANTED | OTHER), *(tarred(WANTED | OTHER, mode) for mode in ("w", "w:gz", "w:bz2", "w:xz"))],
    ids=["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"],
)
def test_only_the_named_files_are_written(tmp_path, packed):
    (tmp_path / "archive").write_bytes(packed)
    extract(tmp_path / "archive", WANTED, tmp_path / "out")
    assert files_below(tmp_path / "out") == WANTED


def test_members_may_start_with_the_folder_itself(tmp_path):
    (tmp_path / "archive").write_bytes(tarred({f"./{path}": data for path, data in WANTED.items()}))
    extract(tmp_path / "archive", WANTED, tmp_path / "out")
    assert files_below(tmp_path / "out") == WANTED


def test_one_gzipped_file(tmp_path):
    (tmp_path / "archive").write_bytes(gzip.compress(b"u\ti\n" * 1000))
    extract(tmp_path / "archive", ["events.tsv"], tmp_path / "out")
    assert files_below(tmp_path / "out") == {"events.tsv": b"u\ti\n" * 1000}


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("path", ["../escaped", "pkg/../../escaped", "/escaped", "..\\escaped", "C:\\escaped"])
def test_an_archive_that_climbs_out_is_refused_whole(tmp_path, pack, path):
    (tmp_path / "archive").write_bytes(pack(WANTED | {path: b"evil"}))
    with pytest.raises(UserError, match="outside of the folder"):
        extract(tmp_path / "archive", WANTED, tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.rglob("escaped"))


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "secret").write_text("secret")
    without = {"pkg/items.jsonl": WANTED["pkg/items.jsonl"]}
    (tmp_path / "tar").write_bytes(tarred(without, links={"pkg/events.tsv": str(tmp_path / "secret")}))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as members:
        link = zipfile.ZipInfo("pkg/events.tsv")
        link.external_attr = 0o120777 << 16
        members.writestr(link, str(tmp_path / "secret"))
        members.writestr("pkg/items.jsonl", without["pkg/items.jsonl"])
    (tmp_path / "zip").write_bytes(packed.getvalue())
    for kind in ("tar", "zip"):
        with pytest.raises(UserError, match=r"'pkg/events\.tsv' is a link"):
            extract(tmp_path / kind, WANTED, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("pack", [zipped, tarred, lambda files: tarred(files, "w")], ids=["zip", "tar.gz", "tar"])
def test_a_truncated_archive(tmp_path, pack, share):
    whole = pack(WANTED)
    # A tar ends with blocks of zeros that say nothing: of a plain one cut before them, inside the second file.
    end = len(whole) if pack in (zipped, tarred) else 512 + 4096 + 512 + 3000
    (tmp_path / "archive").write_bytes(whole[: int(end * share)])
    with pytest.raises(UserError, match="bundle: ") as error:
        extract(tmp_path / "archive", WANTED, tmp_path / "out", name="bundle")
    assert "cut short" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("cut", [5, 20, 60])
def test_a_truncated_gzip(tmp_path, cut):
    data = gzip.compress(bytes(range(256)) * 4)
    (tmp_path / "archive").write_bytes(data[:cut])
    with pytest.raises(UserError, match="cut short"):
        extract(tmp_path / "archive", ["events.tsv"], tmp_path / "out")


def test_a_flipped_bit_is_noticed_by_the_archives_own_sum(tmp_path):
    whole = bytearray(zipped(WANTED, zipfile.ZIP_STORED))
    whole[200] ^= 1
    (tmp_path / "archive").write_bytes(whole)
    with pytest.raises(UserError, match="CRC"):
        extract(tmp_path / "archive", WANTED, tmp_path / "out")


def test_what_is_no_archive_at_all(tmp_path):
    for content in (b"", b"<html>please log in</html>"):
        (tmp_path / "archive").write_bytes(content)
        with pytest.raises(UserError, match="not a whole archive"):
            extract(tmp_path / "archive", WANTED, tmp_path / "out")


def test_a_missing_member_is_named_with_the_nearest(tmp_path):
    (tmp_path / "archive").write_bytes(zipped(WANTED))
    with pytest.raises(UserError, match=r"no file 'pkg/event\.tsv'.* Did you mean 'pkg/events\.tsv'"):
        extract(tmp_path / "archive", ["pkg/event.tsv"], tmp_path / "out")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_bomb_stops_at_the_limit(tmp_path, pack):
    (tmp_path / "archive").write_bytes(pack({"pkg/events.tsv": bytes(30_000_000)}))
    assert (tmp_path / "archive").stat().st_size < 100_000
    with pytest.raises(UserError, match="far more than"):
        extract(tmp_path / "archive", ["pkg/events.tsv"], tmp_path / "out", limit=2_000_000)
    assert (tmp_path / "out" / "pkg" / "events.tsv").stat().st_size <= 2_000_000


def test_a_password_is_told(tmp_path):
    whole = bytearray(zipped(WANTED))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # set "encrypted" in every header
        at = whole.find(signature)
        while at >= 0:
            whole[at + flags] |= 1
            at = whole.find(signature, at + 4)
    (tmp_path / "archive").write_bytes(whole)
    with pytest.raises(UserError, match="password"):
        extract(tmp_path / "archive", WANTED, tmp_path / "out")
