"""Mistakes in a suite, told by the real command line: one clear message, exit code 2, nothing written."""

import pytest

GOOD = """
datasets = ["ml-100k"]
seeds = [0]
metrics = ["ndcg@10"]
[[methods]]
name = "item-knn"
params = { shrink = 10.0 }
"""

MISTAKES = {
    "unknown method": ('"item-knn"', '"item-kn"', ["methods[1]", "'name'", "Did you mean 'item-knn'?"]),
    "unknown dataset": ('"ml-100k"', '"ml-10k"', ["datasets", "Did you mean 'ml-100k'?"]),
    "unknown key": ("seeds =", "seedz =", ["seedz", "Did you mean 'seeds'?"]),
    "unknown metric": ('"ndcg@10"', '"ndgc@10"', ["metrics", "Did you mean 'ndcg@10'?"]),
    "unknown parameter": ("shrink", "shrnk", ["methods[1]", "shrnk", "Did you mean 'shrink'?"]),
    "unknown protocol key": ("[[methods]]", "[protocol]\nmask = true\n[[methods]]", ["protocol", "mask"]),
    "protocol of the wrong name": (
        "[[methods]]",
        '[protocol]\nname = "loo"\n[[methods]]',
        ["protocol", "leave-one-out"],
    ),
    "text for a list of numbers": ("seeds = [0]", 'seeds = "0"', ["seeds", "whole numbers"]),
    "text for a number": ("10.0", '"much"', ["methods[1]", "shrink", "float"]),
    "truth for a number": ("10.0", "true", ["methods[1]", "shrink", "float"]),
    "a seed below zero": ("seeds = [0]", "seeds = [-1]", ["seeds", "0"]),
    "no method": ('[[methods]]\nname = "item-knn"\nparams = { shrink = 10.0 }\n', "", ["methods"]),
    "no TOML": ("[0]", "[0", ["not valid TOML", "line"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_a_suite(llmrec, tmp_path, mistake):
    old, new, expected = MISTAKES[mistake]
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new))
    llmrec.refuses("run", path, says=[str(path), *expected])
    assert not llmrec.results.exists()


def test_unknown_suite(llmrec):
    llmrec.refuses("run", "quikstart", says=["Did you mean 'quickstart'?"])
    llmrec.refuses("run", "no/such/file.toml", says=["no/such/file.toml"])


def test_choices_that_the_suite_does_not_have(llmrec, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    llmrec.refuses("run", path, "-m", "item-kn", says=["item-kn", "Did you mean 'item-knn'?"])
    llmrec.refuses("run", path, "-d", "ml-10k", says=["ml-10k", "Did you mean 'ml-100k'?"])
    llmrec.refuses("run", path, "--methods", tmp_path / "none", says=["none", "no such folder"])


def test_the_good_suite_is_good(llmrec, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    done = llmrec("run", path, "--dry-run")
    assert done.returncode == 0 and "item-knn" in done.stdout + done.stderr
