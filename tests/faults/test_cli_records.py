"""Corrupt records and tables, folders that cannot be written, a full disk: one clear message, nothing half-written."""

import json
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.xdist_group("records")  # one process: the fixture that all share is dear

SUITE = """
datasets = ["ml-100k"]
seeds = [0]
[[methods]]
name = "popularity"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, command_line):
    """A finished run of one method."""
    llmrec = command_line(tmp_path_factory.mktemp("finished"))
    (llmrec.folder / "mine.toml").write_text(SUITE)
    assert llmrec("run", "mine.toml").returncode == 0
    return llmrec


@pytest.fixture
def copied(finished, tmp_path, command_line):
    """A copy of the finished run to spoil, and its folder."""
    llmrec = command_line(tmp_path)
    shutil.copytree(finished.results, llmrec.results)
    shutil.copy(finished.folder / "mine.toml", tmp_path)
    (record,) = llmrec.results.glob("runs/*/*/record.json")
    return llmrec, record


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "not valid JSON"), ("{}", "schema version None"), ('{"schema_version": 99}', "schema version 99")],
)
def test_a_corrupt_record_is_named(copied, text, expected):
    llmrec, record = copied
    record.write_text(text)
    run_id = record.parent.parent.name
    for command in (("status", "mine.toml"), ("show", run_id), ("report", "mine.toml")):
        llmrec.refuses(*command, says=[str(record), expected])


def test_a_record_with_a_wrong_value_is_named(copied):
    llmrec, record = copied
    record.write_text(json.dumps(json.loads(record.read_text()) | {"metrics": {"ndcg@10": "good"}}))
    llmrec.refuses("status", "mine.toml", says=[str(record), "metrics.ndcg@10"])


@pytest.mark.parametrize("name", ["ranks.parquet", "answers.parquet"])
def test_a_corrupt_table_is_named(copied, name):
    llmrec, record = copied
    (record.parent / name).write_bytes(b"no parquet at all")
    before = record.read_text()
    done = llmrec("reeval", "mine.toml")
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    assert name in done.stderr and "cannot be read" in done.stderr
    assert record.read_text() == before


def test_a_results_folder_that_cannot_be_written(llmrec, tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE)
    (tmp_path / "file").write_text("")
    message = llmrec.refuses("run", tmp_path / "mine.toml", env={"LLMREC_RESULTS": str(tmp_path / "file" / "results")})
    assert str(tmp_path / "file") in message


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting wants root on Linux")
@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_a_disk_that_is_read_only_or_full(llmrec, tmp_path, kind):
    (tmp_path / "mine.toml").write_text(SUITE)
    disk = tmp_path / "disk"
    disk.mkdir()
    options = {"read-only": "ro", "full": "size=32k"}[kind]
    script = f'mount -t tmpfs -o {options} none "{disk}" && shift && exec "$@"'
    probe = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "-", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no mount namespaces here")
    command = [sys.executable, "-P", "-m", "llmrec", "run", str(tmp_path / "mine.toml")]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{script}', "sh", "-", *command],
        env=llmrec.environment | {"LLMREC_RESULTS": str(disk / "results")},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    expected = {"read-only": "Read-only file system", "full": "no space left"}[kind]
    assert expected.lower() in done.stderr.lower()
