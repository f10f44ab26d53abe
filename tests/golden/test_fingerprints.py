"""Every dataset and every split is what it was when its fingerprint was committed, byte for byte."""

from pathlib import Path

import pytest

from llmrec import fingerprints
from llmrec.data import card
from llmrec.data.fetch import place

MIRROR = Path(__file__).resolve().parents[3] / "shared" / "data"
COMMITTED = fingerprints.committed()
HERE = ("mirror", "package", "cache")
QUICK = ("ml-100k", "ml-latest-small", "amazon2014-beauty", "amazon2018-giftcards", "hetrec2011-lastfm-2k", "mind-mini")


@pytest.fixture(autouse=True)
def mirror(monkeypatch):
    if MIRROR.is_dir():
        monkeypatch.setenv("LLMREC_MIRROR", str(MIRROR))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in COMMITTED]
)
def test_nothing_has_moved(name):
    if place(card(name)) not in HERE:
        pytest.skip(f"no copy of {name} here")
    moved = fingerprints.moved(name, COMMITTED[name], fingerprints.measured(name))
    assert not moved, "\n".join(moved)


def test_ml_100k_is_always_checked():
    assert place(card("ml-100k")) in HERE and COMMITTED["ml-100k"]["leave-one-out"]["test"].startswith("943 ")


def test_one_moved_interaction_is_told():
    before = {"data": {"events": "5 aa"}, "ratio": {"train": "3 bb", "test": "1 cc"}}
    now = {"data": {"events": "5 aa"}, "ratio": {"train": "4 dd", "test": "1 ee"}}
    assert fingerprints.moved("d", before, now) == [
        "d, ratio: train had 3 rows and now has 4", "d, ratio: test has 1 rows as before, but other ones",
    ]  # fmt: skip
    assert fingerprints.moved("d", before, before) == []


def test_written_fingerprints_are_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "path", lambda: tmp_path / "fingerprints.toml")
    first = {"a:b c": {"data": {"events": "5 aa"}}, "b": {"leave-one-out": {"given for test": "1 x"}}}
    fingerprints.write(first)
    fingerprints.write({"b": {"leave-one-out": {"given for test": "2 y"}}})
    assert fingerprints.committed() == {**first, "b": {"leave-one-out": {"given for test": "2 y"}}}
