"""Co-occurrence vectors: neighbours are near each other, unseen items stand at zero."""

import numpy as np

from llmrec.gpt.signals import for_unseen, neighbour_factors
from llmrec.types import Histories


def histories(sequences, n_items):
    indptr = np.concatenate([[0], np.cumsum([len(s) for s in sequences])])
    return Histories(indptr, np.concatenate([np.array(s, np.int32) for s in sequences]), n_items)


def test_items_with_the_same_neighbours_are_similar():
    rng = np.random.default_rng(0)
    groups = [np.arange(0, 10), np.arange(10, 20)]
    some = histories([rng.permutation(groups[u % 2])[:6] for u in range(80)], 22)
    vectors = neighbour_factors(some, reach=3, dims=2)
    assert vectors.shape == (22, 2) and vectors.dtype == np.float32
    alike = vectors @ vectors.T
    assert alike[:10, :10].min() > 0.5 and np.abs(alike[:10, 10:20]).max() < 0.1
    np.testing.assert_allclose(np.linalg.norm(vectors[:20], axis=1), 1.0, rtol=1e-5)
    assert not vectors[20:].any()  # never seen
    assert np.array_equal(vectors, neighbour_factors(some, reach=3, dims=2))


def test_the_order_of_the_users_does_not_matter():
    """Neighbours in the array who belong to two users do not count."""
    rng = np.random.default_rng(1)
    users = [rng.permutation(12)[: rng.integers(1, 6)] for _ in range(40)]
    one, two = (neighbour_factors(histories(order, 12), reach=4, dims=3) for order in (users, users[::-1]))
    np.testing.assert_allclose(one @ one.T, two @ two.T, atol=1e-4)


def test_more_dimensions_than_items_and_nothing_to_learn():
    assert neighbour_factors(histories([[0, 1, 2]], 3), reach=1, dims=8).shape == (3, 8)
    assert not neighbour_factors(histories([[0], [1]], 3), reach=5, dims=2).any()
    assert not neighbour_factors(histories([[0, 0, 0]], 1), reach=1, dims=2).any()


def test_unseen_items_stand_beside_what_their_texts_resemble():
    factors = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [0, 0]], np.float32)
    texts = np.array([[1, 0], [0.9, 0.1], [0, 1], [1, 0.1], [0.1, 1]], np.float32)
    filled = for_unseen(factors, texts, nearest=1)
    np.testing.assert_allclose(filled, [[1, 0], [1, 0], [0, 1], [1, 0], [0, 1]])
    np.testing.assert_allclose(for_unseen(factors, texts, nearest=9)[3], np.array([2, 1]) / 5**0.5, rtol=1e-6)
    assert for_unseen(filled, texts) is filled
    assert not for_unseen(0 * factors, texts).any()
