"""The audit's findings, on tables made by hand and on real data whose oddities are known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from llmrec import toy
from llmrec.audit import audit
from llmrec.audit.catalogue import agree, catalogue_findings, duplicates, near_duplicates, normal
from llmrec.audit.split import split_findings
from llmrec.data import Dataset, load
from llmrec.records import Protocol
from llmrec.types import Histories, Impressions, Items, Requests, Users

MIRROR = Path(__file__).resolve().parents[3] / "shared" / "data"


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_titles_that_are_alike():
    gold = ["Ulee's Gold (1997)", "ulees gold 1997", "ULEE S GOLD, 1997"]
    titles = [*gold, "Heat", "", "", "Crème brûlée", "Creme Brulee"]
    assert [sorted(group) for group in duplicates(titles)] == [[0, 2], [6, 7]]
    assert normal("Crème  brûlée!") == "creme brulee"
    long = "The Lord of the Rings: The Fellowship of the Ring, special extended edition"
    found = near_duplicates([long, long + " 2", "Heat", "Alien", "Blade Runner", "Casablanca", "Vertigo", "Jaws"])
    assert found == [(0, 1)]
    assert near_duplicates(["", ""]) == []


def test_agreement_of_two_titles():
    assert agree("Heat (1995)", "Heat") and agree("Das Boot", "das boot (1981)")
    assert not agree("Heat", "Alien") and not agree("One two three four", "one other thing altogether")


def test_ids_in_order_of_appearance_are_told():
    sequences = [[0, 1, 2, 3], [4, 5, 6, 7]]  # numbered as they appear: every target is the largest id + 1
    split = toy.leave_one_out(sequences, 8)
    found = by_name(split_findings(split))
    for what in ("publisher's ids", "ids by first appearance"):
        assert found[f"hit@1 of 'the largest id of the history + 1', {what}"].share == 1.0
    assert found["test targets that training never saw (cold items)"].count == 2
    assert found["warm test users (user and target known from training)"].count == 0


def test_times_that_leak():
    split = toy.leave_one_out([[0, 1, 2], [2, 1, 0]], 3)

    def timed(part, times):
        return part.__class__(part.frame.with_columns(time=pl.Series(times, dtype=pl.Int64)), 2, 3)

    object.__setattr__(split, "train", timed(split.train, [0, 50]))
    object.__setattr__(split, "test", timed(split.test, [20, 70]))
    found = by_name(split_findings(split))
    assert found["test events earlier than some training event"].count == 1  # user 0's, at 20 < 50
    assert found["share of training that lies after a test event, on average"].value == pytest.approx(0.25)
    assert found["test events whose item others take later, in training"].count == 1  # item 2, taken by user 1 at 50


def test_impressions_are_counted_as_such():
    split = toy.leave_one_out([[0, 1, 2], [2, 1, 0]], 4)
    users = Users(np.array([0, 1, 1], np.int32), Histories(np.array([0, 1, 3, 3]), np.array([0, 2, 1], np.int32), 4))
    shown = Histories(np.array([0, 2, 4, 6]), np.array([3, 1, 0, 2, 1, 2], np.int32), 4)
    log = Impressions(users, shown, np.array([True, False, False, True, True, True]))
    nothing = split.test.__class__(split.test.frame.clear(), 2, 4)
    asked = {"valid": np.array([0, 1], np.int32), "test": np.array([0, 1], np.int32)}
    found = by_name(
        split_findings(replace(split, test=nothing, asked=asked, impressions={"fit": log, "valid": log, "test": log}))
    )
    assert found["test impressions"].count == 3
    assert found["test impressions without a choice (nothing or everything clicked)"].count == 1
    assert found["test impressions without any history"].count == 1
    assert found["clicked candidates that training never saw (cold items)"].count == 2  # items 3 and 1
    assert found["test impressions of users that training never saw (cold users)"].count == 0
    assert not any("test users" in name for name in found)


def test_requests_are_counted_as_such():
    split = toy.leave_one_out([[0, 1, 2], [2, 1, 0]], 4)
    asks = Requests(["a", "b"], Histories(np.array([0, 1, 3]), np.array([0, 3, 1], np.int32), 4), ["k", "k"])
    found = by_name(split_findings(replace(split, requests={"valid": asks, "test": asks})))
    assert found["test requests"].count == 2
    assert found["answers of test requests that training never saw (cold items)"].share == pytest.approx(2 / 3)
    assert not any("test users" in name for name in found)


def test_users_without_events_have_no_items_without_text():
    here = Dataset("d", None, toy.interactions([[0, 1], [2], []], 3), toy_items(["a", "", ""]), ["1", "2", "3"], "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmrec.audit.catalogue.second_titles", lambda card: {})
        found = by_name(catalogue_findings(here))["users all of whose items are without text"]
    assert (found.count, found.of) == (1, 2)


def toy_items(texts):
    ids = [str(i) for i in range(len(texts))]
    return Items(pl.DataFrame({"raw_id": ids, "title": ids, "text": texts, "categories": [[""]] * len(texts)}))


def test_ml_100k_is_as_odd_as_is_known():
    found = audit(load("ml-100k"), Protocol(name="leave-one-out"))
    ties = by_name(found.findings)["test users whose target the tie rule decides"]
    assert ties.share == pytest.approx(0.44, abs=0.005)
    text = json.dumps(found.as_json())
    assert json.loads(text)["fingerprints"]["data"] == found.data and len(found.rows()) == len(found.findings) + 1
    temporal = by_name(audit(load("ml-100k"), Protocol(name="temporal")).findings)
    assert temporal["test events earlier than some training event"].count == 0
    asked, strangers = 166, temporal["test users without any history when asked"].count
    assert temporal["test users without any history when asked"].of == asked and asked - strangers == 90


@pytest.mark.skipif(not MIRROR.is_dir(), reason="needs the mirror's copy of Beauty")
def test_numbering_by_appearance_would_leak_on_beauty(monkeypatch):
    """'Recommend the largest id + 1' scores hit@1 .044 on Beauty as P5 numbers its items."""
    monkeypatch.setenv("LLMREC_MIRROR", str(MIRROR))
    from llmrec.split import make_split

    split, _ = make_split(load("amazon2014-beauty"), Protocol(name="leave-one-out", ties="file"))
    found = by_name(split_findings(split))
    assert found["hit@1 of 'the largest id of the history + 1', ids by first appearance"].share == pytest.approx(
        0.0441, abs=1e-4
    )
    assert np.isclose(found["hit@1 of 'the largest id of the history + 1', publisher's ids"].share, 0.0)
