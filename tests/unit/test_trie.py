"""The catalogue's trie: ranges, order, exclusion."""

import numpy as np
import pytest

from llmrec.gpt.trie import build_trie
from llmrec.types import NO_ITEM

IDS = np.array([[2, 5, 9], [1, 5, 8], [2, 5, 8], [1, 4, 8], [2, 6, 8]], np.int32)


def paths(trie):
    """Every root-to-leaf path, read through the child ranges, with its item."""

    def walk(depth, node, prefix):
        if depth == trie.depth:
            yield tuple(prefix), int(trie.items[node])
            return
        here, below = trie.levels[depth], trie.levels[depth + 1]
        for child in range(int(here.child[node]), int(here.child[node + 1])):
            yield from walk(depth + 1, child, [*prefix, int(below.token[child])])

    return dict(walk(0, 0, []))


def test_every_id_is_a_path_to_its_item():
    assert paths(build_trie(IDS)) == {tuple(row): item for item, row in enumerate(IDS.tolist())}


def test_leaf_ranges_count_the_items_below():
    trie = build_trie(IDS)
    assert [level.leaf.diff().tolist() for level in trie.levels] == [[5], [2, 3], [1, 1, 2, 1], [1] * 5]
    assert [level.widest for level in trie.levels] == [2, 2, 2, 0]


def test_only_candidates_are_in_it():
    trie = build_trie(IDS, np.array([True, False, True, False, False]))
    assert paths(trie) == {(2, 5, 9): 0, (2, 5, 8): 2}


def test_excluded_leaves_are_sorted_single_and_filled_up():
    trie = build_trie(IDS, np.array([True, True, True, True, False]))  # leaves: items 3, 1, 2, 0
    rows = np.array([[0, 3, 0], [NO_ITEM, 4, 2]], np.int32)  # a repetition; no item; no candidate
    assert trie.excluded(rows).tolist() == [[0, 3, 4], [2, 4, 4]]


def test_equal_ids_are_refused():
    with pytest.raises(ValueError, match="items 1 and 4 have the same id"):
        build_trie(np.array([[1, 2], [3, 4], [1, 3], [5, 6], [3, 4]], np.int32))


def test_empty_catalogue_is_refused():
    with pytest.raises(ValueError, match="at least one item"):
        build_trie(IDS, np.zeros(5, bool))


def test_large_random_catalogue():
    rng = np.random.default_rng(0)
    ids = np.unique(rng.integers(0, 50, (20_000, 4)), axis=0).astype(np.int32)
    ids = rng.permutation(ids)
    trie = build_trie(ids)
    assert sorted(trie.items.tolist()) == list(range(len(ids)))
    last = trie.levels[-1]
    assert np.array_equal(last.token.numpy(), ids[trie.items.numpy(), -1])
    assert len(trie.levels[1].token) == len(np.unique(ids[:, 0]))
    assert len(trie.levels[2].token) == len(np.unique(ids[:, :2], axis=0))
