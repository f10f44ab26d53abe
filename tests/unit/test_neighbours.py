"""The nearest neighbours' products and choices: the same to the last bit, whichever way they are computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix, random_array

from llmrec import neighbours, toy
from llmrec.context import Context
from llmrec.discover import load_method


def sparse(rows: int, columns: int, share: float, seed: int = 0) -> csr_matrix:
    return csr_matrix(random_array((rows, columns), density=share, rng=np.random.default_rng(seed), format="csr"))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_product_is_scipys(share: float, kind: Any) -> None:
    left, right = sparse(40, 70, share, 1).astype(kind), sparse(70, 55, share, 2)
    found = neighbours.product(left[3:20], right[:, 5:])
    expected = (left[3:20] @ right[:, 5:]).toarray()
    assert found.dtype == expected.dtype and np.array_equal(found.toarray(), expected)


def test_indices_of_64_bits_are_taken() -> None:
    left, right = sparse(9, 8, 0.4), sparse(8, 7, 0.4)
    left.indices = left.indices.astype(np.int64)
    assert np.array_equal(neighbours.product(left, right).toarray(), (left @ right).toarray())


@pytest.mark.parametrize("k", [1, 4, 30, 50])
def test_of_equals_the_smaller_id_stays(k: int) -> None:
    values = sparse(60, 30, 0.7).toarray().round(1)  # many ties, some rows with fewer values than k
    values[0] = 0.0
    expected = np.zeros_like(values)
    for row, kept in zip(values, expected, strict=True):
        best = np.argsort(-row, kind="stable")[:k]
        kept[best] = row[best]
    assert np.array_equal(neighbours.nearest_of_dense(values, k).toarray(), expected)
    assert np.array_equal(neighbours.nearest(csr_matrix(values), k).toarray(), expected)
    wide = csr_matrix(np.pad(values, ((0, 0), (0, 500))))  # few values of many: the way without a dense matrix
    assert np.array_equal(neighbours.nearest(wide, k).toarray()[:, :30], expected)


@pytest.mark.parametrize(("name", "k"), [("item-knn", 0), ("item-knn", 5), ("user-knn", 5)])
def test_threads_and_blocks_change_nothing(name: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    split = toy.leave_one_out([list(rng.permutation(50)[: rng.integers(4, 30)]) for _ in range(41)], 50)
    found = []
    for threads, block in ((1, 512), (2, 16), (3, 7)):
        monkeypatch.setattr(neighbours, "THREADS", threads)
        method: Any = load_method(name)(neighbours=k, shrink=2.0)
        if name == "item-knn":
            monkeypatch.setitem(type(method).fit.__globals__, "BLOCK", block)
        method.fit(split, Context(seed=0, items=toy.items(50)))
        found.append(np.concatenate([method.score(users) for users, _ in split.batches("test", 20)]))
    assert found[0].any() and np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
