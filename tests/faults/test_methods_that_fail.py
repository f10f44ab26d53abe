"""Methods that break the contract: each leaves a failed record with the reason, the others go on, exit code 1."""

import json

import pytest

pytestmark = pytest.mark.xdist_group("methods-that-fail")  # one process: the fixture that all share is dear

BODY = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
{imports}

@dataclass
class Broken:
    """{doc}"""

    seeded: ClassVar[bool] = False
    {attributes}

    def fit(self, split, ctx):
        self.n_items = split.n_items

    def {answer}
'''

GENERATED = """generate(self, users, k, exclude):
        from llmrec.types import Generated
        items = np.full((len(users), {width}), {item}, np.int32)
        none = np.zeros(len(users), np.int32)
        return Generated(items, np.zeros(items.shape), none, none, none, none + k)
"""

NAN = "score(self, users):\n        return np.full((len(users), self.n_items), np.nan)"

FAILING = {
    "not_a_number": (
        "score(self, users):\n        return np.full((len(users), self.n_items), np.nan)",
        ["nan", "finite"],
    ),
    "too_narrow": ("score(self, users):\n        return np.zeros((len(users), 3))", ["shape", "(512, 3)"]),
    "out_of_range": (GENERATED.format(width="k", item="self.n_items"), ["item ids go from 0 to 1681"]),
    "too_wide": (GENERATED.format(width="k + 1", item="0"), ["shape"]),
    "own_error": ("score(self, users):\n        raise ValueError('the reason')", ["ValueError", "the reason"]),
}


def write(
    folder, name, answer="score(self, users):\n        return np.zeros((len(users), 1))", imports="", attributes=""
):
    folder.mkdir(exist_ok=True)
    text = BODY.format(answer=answer, imports=imports, attributes=attributes, doc=name)
    (folder / f"{name}.py").write_text(text)


def suite(folder, *names):
    path = folder / "mine.toml"
    rows = "".join(f'[[methods]]\nname = "{name.replace("_", "-")}"\n' for name in names)
    path.write_text(f'datasets = ["ml-100k"]\nseeds = [0]\n{rows}')
    return path


def records(results):
    found = [json.loads(path.read_text()) for path in results.glob("runs/*/*/record.json")]
    return {record["spec"]["method"].replace("-", "_"): record for record in found}


@pytest.fixture(scope="module")
def failing(tmp_path_factory, command_line):
    """One run of a suite in which all but the last method fail: what it printed, and the records that it left."""
    folder = tmp_path_factory.mktemp("failing")
    methods = folder / "methods"
    for name, (answer, _) in FAILING.items():
        write(methods, name, answer)
    write(methods, "on_import", imports="raise RuntimeError('at import')")
    write(methods, "needy", attributes="requires: ClassVar[tuple[str, ...]] = ('no_such_package',)")
    llmrec = command_line(folder)
    done = llmrec("run", suite(folder, *FAILING, "on_import", "needy", "popularity"), "--methods", methods)
    return done, records(llmrec.results)


@pytest.mark.parametrize("name", FAILING)
def test_broken_answers_leave_a_failed_record(failing, name):
    record = failing[1][name]
    assert record["status"] == "failed"
    for fragment in FAILING[name][1]:
        assert fragment in record["error"]
    assert record["metrics"] == {}


def test_a_file_that_raises_on_import_leaves_a_failed_record(failing):
    record = failing[1]["on_import"]
    assert record["status"] == "failed"
    assert "at import" in record["error"] and "on_import.py" in record["error"]


def test_a_missing_package_is_skipped_with_the_command_that_installs_it(failing):
    record = failing[1]["needy"]
    assert record["status"] == "skipped"
    assert "pip install no_such_package" in record["error"]


def test_the_others_go_on_and_the_exit_code_says_so(failing):
    done, found = failing
    assert done.returncode == 1
    assert found["popularity"]["status"] == "ok" and found["popularity"]["metrics"]["ndcg@10"] > 0
    assert "Traceback" not in done.stdout + done.stderr
    for name in FAILING:
        assert name.replace("_", "-") in done.stdout + done.stderr


def test_nothing_half_written_stays(failing, tmp_path):
    _, found = failing
    assert set(found) == {*FAILING, "on_import", "needy", "popularity"}


def test_broken_files_list_and_the_others_too(llmrec, tmp_path):
    methods = tmp_path / "methods"
    write(methods, "on_import", imports="raise RuntimeError('at import')")
    (methods / "no_syntax.py").write_text("def fit(:\n")
    done = llmrec("list", "methods", "--methods", methods)
    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "SyntaxError" in lines["no-syntax"]
    assert "on-import" in lines and "ease" in lines


def test_a_file_that_cannot_be_parsed_is_refused_by_a_suite(llmrec, tmp_path):
    methods = tmp_path / "methods"
    methods.mkdir()
    (methods / "no_syntax.py").write_text("def fit(:\n")
    llmrec.refuses("run", suite(tmp_path, "no-syntax"), "--methods", methods, says=["no_syntax.py", "line 1"])
    llmrec.refuses("check", "no-syntax", "--methods", methods, says=["no_syntax.py", "line 1"])
    assert not llmrec.results.exists()


def test_check_tells_what_is_broken(llmrec, tmp_path):
    methods = tmp_path / "methods"
    write(methods, "not_a_number", FAILING["not_a_number"][0])
    done = llmrec("check", "not-a-number", "--methods", methods)
    assert done.returncode == 1
    assert "FAIL  shape and range" in done.stdout and "Traceback" not in done.stdout + done.stderr
    write(methods, "on_import", imports="raise RuntimeError('at import')")
    llmrec.refuses("check", "on-import", "--methods", methods, says=["on_import.py", "at import"])
    write(methods, "needy", attributes="requires: ClassVar[tuple[str, ...]] = ('no_such_package',)")
    llmrec.refuses("check", "needy", "--methods", methods, says=["pip install no_such_package"])
    llmrec.refuses("check", "eese", says=["Did you mean 'ease'?"])


def test_new_makes_a_method_that_passes_and_never_overwrites(llmrec, tmp_path):
    folder = tmp_path / "mine"
    done = llmrec("new", "my-method", "--methods", folder)
    assert done.returncode == 0 and "llmrec check my-method" in done.stdout
    passed = llmrec("check", "my-method", "--methods", folder)
    assert passed.returncode == 0 and "0 broken" in passed.stdout, passed.stdout
    (folder / "my_method.py").write_text("mine")
    llmrec.refuses("new", "my-method", "--methods", folder, says=["my_method.py", "there already"])
    assert (folder / "my_method.py").read_text() == "mine"
    llmrec.refuses("new", "../evil", "--methods", folder, says=["no method name"])
