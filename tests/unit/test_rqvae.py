"""The RQ-VAE: uses its codes, tells the vectors back better than their mean, revives dead codes, repeats itself."""

import numpy as np
import torch

from llmrec.gpt.quantise import semantic_ids
from llmrec.gpt.rqvae import _Book, rqvae


def clusters(n=300, d=8, groups=12):
    rng = np.random.default_rng(0)
    return rng.normal(0, 5, (groups, d))[np.arange(n) % groups] + rng.normal(0, 0.3, (n, d))


def test_codes_tell_the_vectors_back_and_clumps_share_their_first_code():
    made = rqvae(clusters(), levels=2, codes=12, seed=0)
    assert made.labels.shape == (300, 2) and made.error < 0.1
    first = made.labels[:, 0]
    assert np.mean([len(np.unique(np.arange(300)[first == code] % 12)) == 1 for code in np.unique(first)]) > 0.8
    assert len(np.unique(first)) >= 10


def test_ids_are_unique_and_repeat_with_the_seed():
    vectors = np.random.default_rng(1).normal(0, 1, (300, 6))
    one, two = (semantic_ids(vectors, levels=2, codes=20, seed=3, quantiser="rq-vae") for _ in range(2))
    assert len(np.unique(one.codes, axis=0)) == 300 and one.fingerprint == two.fingerprint
    assert one.fingerprint != semantic_ids(vectors, levels=2, codes=20, seed=3).fingerprint
    assert one.report()["quantiser"] == "rq-vae"


def test_equal_vectors_and_few_items():
    ids = semantic_ids(np.repeat(np.eye(3), [4, 1, 1], axis=0), levels=2, codes=64, seed=0, quantiser="rq-vae")
    assert len(np.unique(ids.codes, axis=0)) == 6


def test_a_code_that_nothing_is_near_to_is_revived():
    torch.manual_seed(0)
    book = _Book(torch.tensor([[0.0, 0.0], [100.0, 100.0]]))
    left = torch.randn(64, 2) + torch.tensor([3.0, 0.0])
    for _ in range(200):
        book.follow(left, book.nearest(left))
    assert len(book.nearest(left).unique()) == 2
