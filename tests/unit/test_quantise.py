"""Semantic ids: unique, repeatable, and refused when the codebooks have collapsed."""

import numpy as np
import pytest

from llmrec.errors import MethodError
from llmrec.gpt.quantise import semantic_ids


def clusters(n=300, d=8, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 5, (6, d))
    return centres[np.arange(n) % 6] + rng.normal(0, 0.5, (n, d))


@pytest.mark.parametrize("resolve", ["nearest", "level"])
def test_every_item_gets_an_id_of_its_own(resolve):
    ids = semantic_ids(clusters(), levels=2, codes=20, seed=1, resolve=resolve)
    assert len(np.unique(ids.codes, axis=0)) == 300
    assert ids.collisions > 0  # 400 ids for 300 items in 6 clumps
    assert ids.codes.shape[1] == (2 if resolve == "nearest" else 3)
    assert (ids.codes.min(0) >= 0).all() and (ids.codes.max(0) < ids.sizes).all()


def test_similar_items_share_the_front_of_their_ids():
    ids = semantic_ids(clusters(), levels=2, codes=60, seed=1)
    first = ids.codes[:, 0]
    for code in np.unique(first):
        assert len(np.unique(np.arange(300)[first == code] % 6)) == 1


def test_tokens_of_each_level_have_their_own_range():
    ids = semantic_ids(clusters(), levels=3, codes=10, seed=1)
    assert ids.vocabulary == 1 + sum(ids.sizes)
    low = 1
    for level, size in enumerate(ids.sizes):
        column = ids.tokens[:, level]
        assert column.min() >= low and column.max() < low + size
        low += size


def test_same_seed_same_ids_and_other_seed_other_ids():
    one, two, three = (semantic_ids(clusters(), levels=2, codes=40, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.codes, two.codes) and one.fingerprint == two.fingerprint
    assert one.fingerprint != three.fingerprint


def test_more_codes_than_items_and_equal_vectors():
    vectors = np.repeat(np.eye(3), [4, 1, 1], axis=0)  # four items with the same vector
    for resolve in ("nearest", "level"):
        ids = semantic_ids(vectors, levels=2, codes=64, seed=0, resolve=resolve)
        assert len(np.unique(ids.codes, axis=0)) == 6
        assert len(np.unique(ids.codes[:4, 0])) == 1
    assert ids.collisions == 3
    assert semantic_ids(np.ones((1, 4)), levels=3, codes=8, seed=0).sizes == (1, 1, 1)


def test_crowded_prefixes_hand_items_to_their_neighbours():
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.normal(0, 0.1, (30, 2)), rng.normal(0, 0.1, (2, 2)) + 9])
    ids = semantic_ids(vectors, levels=2, codes=16, seed=0)
    assert len(np.unique(ids.codes, axis=0)) == 32
    assert ids.codes.max() < 16


def test_too_few_ids_are_refused():
    with pytest.raises(MethodError, match="Take more levels or more codes"):
        semantic_ids(clusters(), levels=1, codes=20, seed=0)


def test_report_says_what_was_made():
    report = semantic_ids(clusters(), levels=2, codes=20, seed=1).report()
    assert report["sizes"] == "20x20" and report["least_use"] == 1.0
    assert 0.0 < report["unexplained"] < 0.1
    assert len(report["ids"]) == 16
