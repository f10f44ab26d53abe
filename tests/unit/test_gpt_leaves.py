"""Tokens of the items: their loss is the cross-entropy of a masked softmax over siblings, gradients and all."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmrec.gpt.beam import beam_search, score_all
from llmrec.gpt.leaves import ItemTokens
from llmrec.gpt.model import GPT, Shape
from llmrec.gpt.trie import build_trie

CODES, LEVELS, ITEMS, WIDTH = 5, 3, 40, 16


def catalogue():
    cells = np.random.default_rng(0).choice(CODES**LEVELS, ITEMS, replace=False)
    return np.stack([cells // CODES**level % CODES + 1 + CODES * level for level in range(LEVELS)], 1).astype(np.int32)


@pytest.fixture
def model():
    torch.manual_seed(0)
    trie = build_trie(catalogue())
    gpt = GPT(Shape(1 + LEVELS * CODES, 12, layers=2, heads=2, width=WIDTH, period=LEVELS)).eval()
    gpt.tokens = ItemTokens(gpt.tokens, trie)
    with torch.no_grad():
        for weight in gpt.parameters():
            if weight.ndim == 2:
                weight.mul_(8.0)  # fresh weights give nearly equal scores
    return gpt, trie


def siblings(leaves, hidden, prefixes):
    """Every leaf's logit for every state, -inf where it is not below the state's prefix [n, leaves]."""
    return (hidden @ leaves.items.T).masked_fill(leaves.parent[None] != prefixes[:, None], -torch.inf)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradients_are_those_of_a_softmax_over_the_siblings(model, smoothing):
    gpt, trie = model
    leaves = gpt.tokens
    hidden = torch.randn(60, WIDTH, requires_grad=True)
    wanted = torch.from_numpy(np.random.default_rng(1).integers(len(trie), size=60))
    inputs = [hidden, leaves.own, leaves.weight]
    ours = leaves.loss(hidden, wanted, smoothing)
    got = torch.autograd.grad(ours * 0.5, inputs)
    logs = siblings(leaves, hidden, leaves.parent[wanted]).log_softmax(1)
    mean = logs.masked_fill(logs.isinf(), 0.0).sum(1) / logs.isfinite().sum(1)
    truth = -((1 - smoothing) * logs.gather(1, wanted[:, None]).sum() + smoothing * mean.sum())
    torch.testing.assert_close(ours, truth)
    for one, two in zip(got, torch.autograd.grad(truth * 0.5, inputs), strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_probabilities_below_each_prefix(model):
    gpt, trie = model
    prefixes = torch.arange(len(trie.levels[-2].token)).repeat(2).flip(0)
    hidden = torch.randn(len(prefixes), WIDTH)
    logs = gpt.tokens.log_probabilities(hidden, prefixes)
    truth = siblings(gpt.tokens, hidden, prefixes).log_softmax(1)
    for row in range(len(prefixes)):
        below = gpt.tokens.parent == prefixes[row]
        torch.testing.assert_close(logs[row, : int(below.sum())], truth[row, below])
        assert torch.isneginf(logs[row, int(below.sum()) :]).all()
    torch.testing.assert_close(logs.exp().sum(1), torch.ones(len(prefixes)))


def test_an_items_token_is_read_as_its_code_plus_its_own(model):
    gpt, trie = model
    leaves = gpt.tokens
    read = leaves(torch.tensor([3, 1 + LEVELS * CODES + 7]))
    torch.testing.assert_close(read[0], leaves.weight[3])
    torch.testing.assert_close(read[1], leaves.weight[trie.levels[-1].token[7]] + leaves.own[7])


def test_search_agrees_with_scores_from_whole_passes(model):
    gpt, trie = model
    ids = torch.from_numpy(catalogue().astype(np.int64))
    history = torch.tensor([[0, *ids[3, :-1], 1 + LEVELS * CODES + int(trie.leaf_of[3])]])
    lengths = torch.tensor([history.shape[1]])
    exact = score_all(gpt, trie, history, lengths, leaves=gpt.tokens)[0]
    for leaf in range(len(trie)):
        written = ids[trie.items[leaf]]
        hidden = gpt(torch.cat([history[0], written[:-1]])[None])[0, -LEVELS:]
        codes = F.log_softmax(gpt.logits(hidden[:-1]), 1).gather(1, written[:-1, None]).sum()
        last = siblings(gpt.tokens, hidden[-1:], gpt.tokens.parent[leaf : leaf + 1]).log_softmax(1)[0, leaf]
        torch.testing.assert_close(exact[leaf], codes + last, atol=1e-4, rtol=1e-4)
    items, scores = beam_search(gpt, trie, history, lengths, beams=ITEMS, leaves=gpt.tokens)
    torch.testing.assert_close(scores[0], exact.sort(descending=True).values, atol=1e-5, rtol=1e-5)
    assert items[0].tolist() == trie.items[exact.argsort(descending=True)].tolist()


def test_it_takes_the_place_of_an_embedding():
    trie = build_trie(catalogue())
    codes = nn.Embedding(1 + LEVELS * CODES, WIDTH)
    leaves = ItemTokens(codes, trie)
    assert torch.equal(leaves.weight, codes.weight) and leaves.items.shape == (ITEMS, WIDTH)
