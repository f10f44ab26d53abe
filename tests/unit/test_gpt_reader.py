"""One position an item: what is trained is what a search asks, nothing is seen too early, and beams find the best."""

import numpy as np
import pytest
import torch

from llmrec.gpt.beam import beam_search, score_all
from llmrec.gpt.leaves import ItemTokens
from llmrec.gpt.model import Shape
from llmrec.gpt.reader import ItemReader
from llmrec.gpt.trie import build_trie

LEVELS, CODES, ITEMS, HISTORY = 3, 6, 60, 4
VOCABULARY = 1 + LEVELS * CODES


@pytest.fixture(params=[0.0, 0.7], ids=["attention", "filter"])
def reader(request):
    torch.manual_seed(0)
    shape = Shape(VOCABULARY, (HISTORY + 1) * LEVELS, layers=2, heads=2, width=16, dropout=0.3, period=LEVELS)
    model = ItemReader(shape, request.param).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(5.0 if weight.ndim == 2 else 1.0)
    return model


@pytest.fixture(scope="module")
def ids():
    cells = np.random.default_rng(0).choice(CODES**LEVELS, ITEMS, replace=False)
    codes = np.stack([cells // CODES**level % CODES for level in range(LEVELS)], axis=1)
    return (codes + 1 + CODES * np.arange(LEVELS)).astype(np.int32)


@pytest.fixture(scope="module")
def tokens(ids):
    """Five histories [5, 1 + items x levels] behind the start token."""
    items = np.random.default_rng(1).integers(0, ITEMS, (5, HISTORY))
    return torch.from_numpy(np.concatenate([np.zeros((5, 1), np.int64), ids[items].reshape(5, -1)], 1))


def test_a_state_sees_what_is_before_it_alone(reader, tokens):
    whole = reader(tokens[:, :-1])
    for place in range(1, tokens.shape[1] - 1):
        other = tokens[:, :-1].clone()
        other[:, place] = (other[:, place] + 1) % VOCABULARY
        assert torch.equal(reader(other)[:, :place], whole[:, :place])
        assert not torch.allclose(reader(other)[:, place], whole[:, place])


def test_a_search_asks_what_was_trained(reader, tokens):
    trained = reader(tokens[:, :-1]).unflatten(1, (HISTORY, LEVELS))
    lengths = torch.tensor([0, 1, 2, 3, 3]) * LEVELS + 1
    state, memory = reader.remember(tokens, lengths)
    state, own = state[:, None], None
    rows, items = torch.arange(5), (lengths - 1) // LEVELS
    for level in range(LEVELS):
        torch.testing.assert_close(state[:, 0], trained[rows, items, level])
        state, own = reader.branch(tokens[rows, lengths + level][:, None], memory, own)


@pytest.mark.parametrize("own", [False, True], ids=["codes", "item tokens"])
def test_beams_and_exact_search_agree(reader, ids, tokens, own):
    trie = build_trie(ids)
    leaves = None
    if own:
        reader.tokens = leaves = ItemTokens(reader.tokens, trie)
    lengths = torch.tensor([1, 1 + LEVELS, 1 + 2 * LEVELS, 1 + 4 * LEVELS, 1 + 3 * LEVELS])
    scores = score_all(reader, trie, tokens, lengths, leaves=leaves)
    best, order = scores.sort(descending=True)
    items, found = beam_search(reader, trie, tokens, lengths, beams=ITEMS, leaves=leaves)
    torch.testing.assert_close(found, best)
    assert (items == trie.items[order]).float().mean() > 0.99
    if own:  # every step is shared out among what there is, but for codes of other levels
        assert (scores.exp().sum(1) < 1).all()
