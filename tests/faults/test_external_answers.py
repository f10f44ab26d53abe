"""`llmrec score` through the real command line: mistakes are told with their line, good files become rows."""

import pytest

SUITE = """
datasets = ["ml-100k"]
seeds = [0]
[[methods]]
name = "popularity"
"""

MISTAKES = {
    "unknown item": ("a.csv", "user,item,score\n1,1,1\n1,9999,1\n", ["line 3", "item '9999'", "ml-100k"]),
    "unknown user": ("a.csv", "user,item,score\nu1,1,1\n", ["line 2", "user 'u1'"]),
    "no score": ("a.csv", "user,item\n1,1\n", ["no column 'score' or 'rank'"]),
    "no number": ("a.csv", "user,item,rank\n1,1,first\n", ["line 2", "rank 'first'"]),
    "short TREC line": ("a.run", "1 Q0 1 1 0.5\n", ["line 1", "5 fields, expected 6"]),
    "another kind": ("a.xlsx", "", [".csv", ".parquet", ".run"]),
}


@pytest.fixture
def suite(llmrec):
    path = llmrec.folder / "mine.toml"
    path.write_text(SUITE)
    return path


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_in_a_file(llmrec, suite, mistake):
    name, text, expected = MISTAKES[mistake]
    path = llmrec.folder / name
    path.write_text(text)
    llmrec.refuses("score", suite, path, "--name", "mine", says=[str(path), *expected])
    assert not llmrec.results.exists()


def test_a_trec_run_becomes_a_row(llmrec, suite):
    path = llmrec.folder / "a.run"
    path.write_text("".join(f"{user} Q0 {item} 1 {1 / item} tag\n" for user in range(1, 101) for item in range(1, 51)))
    done = llmrec("score", suite, path, "--name", "mine")
    assert done.returncode == 0, done.stderr
    assert "100 of 943 users answered" in done.stdout
    shown = llmrec("status", suite)
    assert shown.returncode == 0 and "mine" in llmrec("report", suite).stdout
