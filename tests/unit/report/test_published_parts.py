"""Figures of each user on parts of the items: their means are the records' own, and claims are tested on them."""

import numpy as np
import pytest

from llmrec.claims.decide import decide
from llmrec.claims.read import Claim
from llmrec.errors import UserError
from llmrec.published import parts
from llmrec.published.blocks import read_blocks
from llmrec.published.freeze import freeze
from llmrec.published.tables import write_frozen
from llmrec.report.evidence import gather
from llmrec.suite import load_suite


def test_means_over_users_are_those_of_the_record():
    (block,) = gather(load_suite("ml-100k"))
    run = next(line for line in block.lines if line.label == "decayed-transitions").runs[0]
    table = parts.with_parts(run, ("items:head", "items:tail"))
    for part in ("items:head", "items:tail"):
        told = run.record.slices[part]
        values = table[parts.column(part, "ndcg@10")].drop_nulls()
        assert len(values) == told["users"] < len(table)
        assert values.mean() == pytest.approx(told["ndcg@10"], abs=1e-12)


@pytest.fixture
def published(finished_lab, tmp_path, monkeypatch):
    """A published benchmark whose suite asks for cold items: those of even number."""
    lab = type(finished_lab)(tmp_path, users=400)
    lab.set_up()
    lab.keep("decayed-transitions", "random")
    file = tmp_path / "demo.toml"
    file.write_text('slices = ["items:cold"]\n' + file.read_text())
    lab.fill(bad=False)
    even = np.arange(10_000) % 2 == 0
    monkeypatch.setattr(parts, "_groups", lambda *_: {"items:cold": even})
    write_frozen(freeze(lab.suite, root=lab.results), "demo", lab.results)
    return read_blocks("demo", lab.results)


def on_cold_items(**changes):
    usual = {"id": "cold", "text": "A claim", "source": "a test", "datasets": ["ml-100k"], "metrics": ["ndcg@10"],
             "a": {"methods": ["decayed-transitions"]}, "b": {"methods": ["random"]}, "seeds": 3, "users": 10,
             "slice": "items:cold"}  # fmt: skip
    return Claim.model_validate(usual | changes)


def test_a_claim_is_tested_on_the_users_who_have_an_item_of_the_part(published):
    (block,) = published
    (found,) = decide([on_cold_items()], {"demo": [block]})
    (test,) = found.tests
    line = next(line for line in block.lines if line.label == "decayed-transitions")
    asked = int(np.isfinite(line.values("items:cold ndcg@10")[0]).sum())
    assert 0 < asked < 400 and test.metric == "ndcg@10, items:cold"
    assert found.verdict == "supported" and test.low < test.difference < test.high
    (few,) = decide([on_cold_items(users=400)], {"demo": [block]})[0].tests
    assert few.problem == f"{asked} of 400 users"


def test_a_part_that_the_suite_does_not_list(published):
    (found,) = decide([on_cold_items(slice="items:tail")], {"demo": published})
    assert found.tests[0].problem == "ndcg@10, items:tail was not measured"


def test_parts_are_for_lists_of_items_alone(tmp_path):
    file = tmp_path / "some.toml"
    file.write_text(
        'task = "rating"\nslices = ["items:cold"]\ndatasets = ["ml-100k"]\n[[methods]]\nname = "biased-mf"\n'
    )
    with pytest.raises(UserError, match="key 'slices': only the task 'topn' has them"):
        load_suite(file)
