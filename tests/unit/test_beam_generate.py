"""Beam search gives what transformers' generate gives on the same weights, and agrees with scoring every item."""

import numpy as np
import pytest
import torch

from llmrec.gpt.beam import beam_search, score_all
from llmrec.gpt.model import GPT, Shape, from_gpt2, to_gpt2
from llmrec.gpt.trie import build_trie
from llmrec.types import NO_ITEM

LEVELS, CODES, HISTORY = 3, 12, 13
VOCABULARY = 1 + LEVELS * CODES


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    gpt = GPT(Shape(VOCABULARY, HISTORY + LEVELS, layers=2, heads=2, width=16, period=LEVELS)).eval()
    with torch.no_grad():
        for weight in gpt.parameters():
            weight.mul_(8.0 if weight.ndim == 2 else 1.0).add_(0.05 * torch.randn_like(weight))
    return gpt


@pytest.fixture(scope="module")
def ids():
    cells = np.random.default_rng(0).choice(CODES**LEVELS, 400, replace=False)
    codes = np.stack([cells // CODES**level % CODES for level in range(LEVELS)], axis=1)
    return (codes + 1 + CODES * np.arange(LEVELS)).astype(np.int32)


@pytest.fixture(scope="module")
def histories():
    return torch.from_numpy(np.random.default_rng(2).integers(1, VOCABULARY, (6, HISTORY)))


def generate(model, ids, tokens, lengths, beams, forbidden=None):
    """Items and scores by transformers: histories padded on the left, allowed tokens by a dictionary per user."""
    peer = to_gpt2(model)
    b, t = tokens.shape
    left = torch.zeros_like(tokens)
    mask = torch.zeros_like(tokens)
    for row, n in enumerate(lengths.tolist()):
        left[row, t - n :], mask[row, t - n :] = tokens[row, :n], 1
    item_of = {tuple(row): item for item, row in enumerate(ids.tolist())}
    children = []
    for user in range(b):
        allowed = {}
        for row, item in item_of.items():
            if forbidden is None or item not in forbidden[user]:
                for level in range(LEVELS):
                    allowed.setdefault(row[:level], set()).add(row[level])
        children.append(allowed)
    out = peer.generate(
        left, attention_mask=mask, max_new_tokens=LEVELS, num_beams=beams, num_return_sequences=beams, do_sample=False,
        length_penalty=0.0, early_stopping=True, pad_token_id=0, return_dict_in_generate=True, output_scores=True,
        prefix_allowed_tokens_fn=lambda user, sequence: sorted(children[user][tuple(sequence[t:].tolist())]),
    )  # fmt: skip
    items = np.array([item_of[tuple(row)] for row in out.sequences[:, t:].tolist()])
    return items.reshape(b, beams), out.sequences_scores.numpy().reshape(b, beams)


@pytest.mark.parametrize("beams", [3, 10])
def test_same_items_and_scores_as_generate(model, ids, histories, beams):
    lengths = torch.full((6,), HISTORY)
    items, scores = beam_search(model, build_trie(ids), histories, lengths, beams=beams)
    theirs, their_scores = generate(model, ids, histories, lengths, beams)
    assert np.array_equal(items.numpy(), theirs)
    np.testing.assert_allclose(scores.numpy(), their_scores, atol=1e-4)


def test_same_as_generate_with_histories_of_different_lengths_and_exclusion(model, ids, histories):
    lengths = torch.tensor([13, 1, 4, 7, 10, 13])
    rng = np.random.default_rng(3)
    forbidden = rng.choice(400, (6, 150))
    trie = build_trie(ids)
    items, scores = beam_search(
        model, trie, histories, lengths, beams=10, excluded=trie.excluded(forbidden.astype(np.int32))
    )
    theirs, their_scores = generate(model, ids, histories, lengths, 10, [set(row.tolist()) for row in forbidden])
    assert np.array_equal(items.numpy(), theirs)
    np.testing.assert_allclose(scores.numpy(), their_scores, atol=1e-4)


def test_scores_of_all_items_are_the_logits_of_whole_sequences(model, ids, histories):
    trie = build_trie(ids)
    lengths = torch.tensor([13, 1, 4, 7, 10, 13])
    scores = score_all(model, trie, histories, lengths)
    for user in (1, 2, 5):
        n = int(lengths[user])
        own = torch.from_numpy(ids[trie.items.numpy()].astype(np.int64))
        whole = torch.cat([histories[user, :n].expand(len(own), -1), own], dim=1)
        with torch.no_grad():
            terms = model.logits(model(whole[:, :-1]))[:, n - 1 :].log_softmax(-1)
        wanted = terms.gather(2, own[..., None]).sum((1, 2))
        torch.testing.assert_close(scores[user], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("renormalise", [False, True])
def test_wide_beams_are_exact(model, ids, histories, renormalise):
    trie = build_trie(ids)
    lengths = torch.tensor([13, 1, 4, 7, 10, 13])
    scores = score_all(model, trie, histories, lengths, renormalise=renormalise)
    best, leaves = scores.topk(400)
    items, found = beam_search(model, trie, histories, lengths, beams=400, renormalise=renormalise)
    torch.testing.assert_close(found, best, atol=1e-4, rtol=1e-4)
    assert (items == trie.items[leaves]).float().mean() > 0.99  # but for scores equal up to rounding
    if renormalise:
        torch.testing.assert_close(scores.exp().sum(1), torch.ones(6), atol=1e-4, rtol=0)


def test_neighbours_in_the_batch_do_not_matter(model, ids, histories):
    trie = build_trie(ids)
    lengths = torch.tensor([13, 1, 4, 7, 10, 13])
    items, scores = beam_search(model, trie, histories, lengths, beams=10)
    for user in range(6):
        one = slice(user, user + 1)
        alone, its_scores = beam_search(model, trie, histories[one, : lengths[user]], lengths[one], beams=10)
        assert torch.equal(alone, items[one])
        torch.testing.assert_close(its_scores, scores[one], atol=1e-5, rtol=1e-5)


def test_prefixes_with_nothing_left_take_no_beam(model, ids, histories):
    """All items but three are excluded: narrow beams still find all three."""
    trie = build_trie(ids)
    left = [7, 123, 399]
    gone = np.setdiff1d(np.arange(400), left).astype(np.int32)
    excluded = trie.excluded(np.broadcast_to(gone, (6, len(gone))))
    items, scores = beam_search(model, trie, histories, torch.full((6,), HISTORY), beams=5, excluded=excluded)
    assert all(sorted(row[:3]) == left and row[3:] == [NO_ITEM] * 2 for row in items.tolist())
    assert torch.isfinite(scores[:, :3]).all() and (scores[:, 3:] == -torch.inf).all()


def test_more_beams_than_items(model, histories):
    ids = np.array([[1, 13, 25], [1, 13, 26], [2, 14, 25]], np.int32)
    items, scores = beam_search(model, build_trie(ids), histories, torch.full((6,), HISTORY), beams=8)
    assert items.shape == scores.shape == (6, 8)
    assert all(sorted(row[:3]) == [0, 1, 2] and row[3:] == [NO_ITEM] * 5 for row in items.tolist())


def test_bfloat16_finds_nearly_the_same(model, ids, histories):
    trie = build_trie(ids)
    lengths = torch.tensor([13, 1, 4, 7, 10, 13])
    whole = score_all(model, trie, histories, lengths)
    half = from_gpt2(to_gpt2(model)).to(torch.bfloat16)
    items, scores = beam_search(half, trie, histories, lengths, beams=10)
    assert scores.dtype == torch.float32
    truth = whole[torch.arange(6)[:, None], torch.from_numpy(trie.leaf_of)[items]]
    assert (scores - truth).abs().max() < 0.5  # of scores between -4 and -40
