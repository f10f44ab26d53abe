"""What README shows is what works: its method file is the template, and its suite and library example are valid."""

import os
import re
import subprocess
import sys
from pathlib import Path

from llmrec import template
from llmrec.suite import load_suite

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_method_file_is_the_template():
    method, _ = blocks("python")
    assert method == template.TEXT.format(cls="MyMethod")
    assert method.count("\n") < 25


def test_the_method_of_readme_passes_the_check(tmp_path):
    (tmp_path / "my_method.py").write_text(blocks("python")[0])
    command = [sys.executable, "-P", "-m", "llmrec", "check", "my-method", "--methods", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0 and "0 broken" in done.stdout, done.stdout + done.stderr


def test_the_library_example_of_readme_runs(tmp_path):
    environment = os.environ | {"LLMREC_RESULTS": str(tmp_path)}
    command = [sys.executable, "-P", "-c", blocks("python")[1]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    ndcg, seconds = map(float, done.stdout.split())
    assert 0 < ndcg < 1 and seconds > 0


def test_the_suite_of_readme_is_valid(tmp_path):
    (tmp_path / "my.toml").write_text(blocks("toml")[0])
    suite = load_suite(tmp_path / "my.toml")
    assert [entry.label for entry in suite.entries] == ["ease", "lightgcn"]


def test_the_commands_of_readme_exist():
    from llmrec.cli import COMMANDS

    shown = set(re.findall(r"^llmrec (\w+)", "\n".join(blocks("sh")), re.MULTILINE))
    known = {name.rstrip("_") for names in COMMANDS.values() for name in names}
    assert shown <= known | {"datasets", "recbole"}
    assert shown >= {"run", "status", "report", "check", "score", "doctor", "verify"}
