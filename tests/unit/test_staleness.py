"""What makes a record stale, and what does not."""

import shutil
from pathlib import Path

import pytest

from llmrec import beside, cardfiles, equal_sources, prepare, sources
from llmrec.cardfiles import raw_card
from llmrec.content import PACKAGE, content_root
from llmrec.discover import MethodFile, find_methods, read_method_file
from llmrec.provenance import device, machine_class, missing_package, needs_torch
from llmrec.records import Record, RunSpec, Status
from llmrec.sources import closure, meaning_hash, packages
from llmrec.staleness import card_fingerprint, code_fingerprint, evaluation_fingerprint, state

METHOD = '''"""A method."""
from dataclasses import dataclass

@dataclass
class Mine:
    """It does this."""

    def fit(self, split, ctx):
        self.n = 1  # one
'''


def hash_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return meaning_hash([path])


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("# one", "# the first", True),
        ("It does this.", "It does\n    this, and says more.", True),
        ("@dataclass", "\n\n@dataclass", True),
        ('"""A method."""\n', "", True),
        ("self.n = 1", "self.n = 2", False),
        ("self.n = 1", "self.n = '# one'", False),
    ],
)
def test_comments_and_documentation_do_not_count_code_does(tmp_path, old, new, same):
    assert old in METHOD
    assert (hash_of(tmp_path, METHOD) == hash_of(tmp_path, METHOD.replace(old, new))) is same


def test_a_hash_sign_in_a_string_is_no_comment(tmp_path):
    first, second = (METHOD.replace("1  # one", f"'# {word}'") for word in ("one", "two"))
    assert hash_of(tmp_path, first) != hash_of(tmp_path, second)


def test_the_closure_follows_imports_inside_functions_and_for_type_checkers(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD + "        from llmrec.stats import holm\n        from llmrec import toy\n")
    files = {p.relative_to(PACKAGE).as_posix() for p in closure([path]) if p.is_relative_to(PACKAGE)}
    assert {"stats.py", "toy.py", "types.py"} <= files  # types through toy
    assert not files & {"__init__.py", "runner.py", "worker.py", "records.py", "errors.py"}


def test_what_cannot_change_a_figure_is_no_part_of_any_fingerprint():
    files = {p.path for p in find_methods().values()}
    roots = [PACKAGE / name for name in ("split/__init__.py", "fitting.py", "data/__init__.py", "evaluate/__init__.py")]
    reached = {p.relative_to(PACKAGE).parts[0] for p in closure([*files, *roots]) if p.is_relative_to(PACKAGE)}
    neutral = {"cli", "report", "runner.py", "worker.py", "results.py", "track.py", "provenance.py", "progress.py"}
    assert not reached & neutral
    assert {"split", "data", "evaluate", "types.py", "seeds.py"} <= reached


def test_packages_leave_out_type_checking_and_what_only_the_harness_lends(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nfrom llmrec.context import Context\nfrom llmrec.types import Split\n"
        "if TYPE_CHECKING:\n    import torch\n" + METHOD + "        import implicit.als\n"
    )
    found = {name.split(".")[0] for name in packages(path)}
    assert "implicit" in found and "numpy" in found
    assert not found & {"torch", "transformers"}


def test_machine_class_names_what_the_method_uses():
    methods = find_methods()
    plain, neural = machine_class(methods["popularity"]), machine_class(methods["sasrec"])
    assert plain.startswith("cpu-numpy") and "-scipy" in plain and "torch" not in plain
    assert "-torch" in neural and "transformers" not in neural
    assert needs_torch(methods["sasrec"]) and not needs_torch(methods["popularity"])
    assert device(methods["popularity"]) == "cpu"


def test_a_missing_package_comes_with_the_command_that_installs_it():
    file = MethodFile("mine", Path("mine.py"), requires=("no_such_package_anywhere",))
    assert missing_package(file) == "needs the package 'no_such_package_anywhere': pip install no_such_package_anywhere"
    assert missing_package(MethodFile("mine", Path("mine.py"), requires=("numpy",))) is None


def test_cards_count_without_what_only_describes(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMREC_DATASETS", str(tmp_path))

    def fingerprint(text: str) -> str:
        (tmp_path / "d.toml").write_text(text)
        return card_fingerprint("d")

    first = fingerprint('title = "A"\n[filters]\ncore = 5\n')
    assert fingerprint('title = "B"\n# more\n[filters]\ncore = 5\n') == first
    assert fingerprint('title = "A"\n[filters]\ncore = 6\n') != first


def test_the_files_of_a_private_dataset_count(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMREC_DATASETS", str(tmp_path))
    (tmp_path / "d.toml").write_text(
        'title = "A"\ntime = "none"\n[[sources]]\n'
        'interactions = { path = "orders.csv", columns = { user = "a", item = "b" } }\n'
        'items = [{ archive = "all.zip", path = "names.csv" }]\n'
    )

    def fingerprints() -> tuple[str, str]:
        return card_fingerprint("d"), prepare._made_by("d")

    (tmp_path / "orders.csv").write_text("a,b\n1,2\n")
    first = fingerprints()
    (tmp_path / "orders.csv").write_text("a,b\n1,3\n")
    changed = fingerprints()
    assert all(old != new for old, new in zip(first, changed, strict=True))
    (tmp_path / "all.zip").write_bytes(b"names")
    assert all(old != new for old, new in zip(changed, fingerprints(), strict=True))


def test_the_words_of_requests_count_for_requests_alone(monkeypatch, tmp_path):
    table = content_root() / "datasets" / "words" / f"{raw_card('mind-mini-zh')['requests']['words']}.toml"
    (tmp_path / "datasets" / "words").mkdir(parents=True)
    for path in (table.parents[1] / "mind-mini-zh.toml", table):
        shutil.copy(path, tmp_path / path.relative_to(content_root()))
    for module in (beside, cardfiles):
        monkeypatch.setattr(module, "content_root", lambda: tmp_path)
    file = find_methods()["tfidf"]
    asked, read = code_fingerprint(file, "mind-mini-zh", "request"), code_fingerprint(file, "mind-mini-zh")
    copy = tmp_path / "datasets" / "words" / table.name
    copy.write_text(copy.read_text("utf-8") + "# a comment\n", "utf-8")
    assert code_fingerprint(file, "mind-mini-zh", "request") == asked
    copy.write_text(copy.read_text("utf-8").replace("and_named = ", "and_named = '; ' # "), "utf-8")
    assert code_fingerprint(file, "mind-mini-zh", "request") != asked
    assert code_fingerprint(file, "mind-mini-zh") == read


def test_of_the_readers_those_count_that_the_card_names(monkeypatch, tmp_path):
    monkeypatch.setenv("LLMREC_DATASETS", str(tmp_path))
    source = '[[sources]]\ninteractions = { path = "d.csv", reader = "%s" }\n'
    (tmp_path / "d.toml").write_text(source % "table")
    seen = []
    monkeypatch.setattr("llmrec.staleness.closure", lambda files: seen.extend(files) or [])
    for reader in ("table", "sequences"):
        (tmp_path / "d.toml").write_text(source % reader)
        code_fingerprint(MethodFile("mine", tmp_path / "mine.py"), "d")
    assert [path.stem for path in seen].count("sequences") == 1 and [path.stem for path in seen].count("table") == 2


def test_a_method_that_stops_early_depends_on_the_evaluation(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    file = read_method_file(path)
    early = MethodFile(file.name, path, early_stops=True)
    assert code_fingerprint(file, "ml-100k") != code_fingerprint(early, "ml-100k")


def test_states(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    file = read_method_file(path)

    def record(status: Status = Status.OK, **changes: str) -> Record:
        spec = RunSpec(dataset="ml-100k", method="mine")
        current = {"code": code_fingerprint(file, "ml-100k"), "evaluation": evaluation_fingerprint()}
        return Record(
            run_id=spec.run_id, machine_class="x", spec=spec, family="content", status=status,
            fingerprints=current | changes,
        )  # fmt: skip

    assert state(None, file) == "missing"
    assert state(record(), file) == "fresh"
    assert state(record(code="other"), file) == "stale"
    assert state(record(evaluation="other"), file) == "stale evaluation"
    assert [state(record(s), file) for s in (Status.FAILED, Status.OOM, Status.TIMEOUT)] == ["failed"] * 3
    assert [state(record(s), file) for s in (Status.SKIPPED, Status.INTERRUPTED)] == ["undone"] * 2
    fresh = record()
    path.write_text(METHOD.replace("# one", "# another word"))
    assert state(fresh, file) == "fresh"
    path.write_text(METHOD.replace("self.n = 1", "self.n = 2"))
    assert state(fresh, file) == "stale"


def test_a_change_that_moves_no_figure_counts_as_what_was_there_before(tmp_path, monkeypatch):
    (tmp_path / "m.py").write_text("x = 1\n")
    before = meaning_hash([tmp_path / "m.py"])
    digest = sources._digest(tmp_path / "m.py")
    (tmp_path / "m.py").write_text("import new\nx = 2 - 1\n")
    (tmp_path / "new.py").write_text("y = 1\n")
    assert meaning_hash([tmp_path / "m.py"]) != before
    same = {sources._digest(tmp_path / "m.py"): digest, sources._digest(tmp_path / "new.py"): None}
    monkeypatch.setattr(equal_sources, "_BEFORE", same)
    assert meaning_hash([tmp_path / "m.py", tmp_path / "new.py"]) == before
    assert closure([tmp_path / "new.py"]) == set()


@pytest.mark.parametrize("entry", equal_sources.ENTRIES, ids=lambda entry: entry.file)
def test_what_counts_as_something_else_is_the_source_as_it_stands(entry):
    now = sources._digest(PACKAGE / entry.file)
    assert entry.now == now, f"{entry.file} has changed since: take its entry out, or prove the change anew (now {now})"
    assert entry.why
