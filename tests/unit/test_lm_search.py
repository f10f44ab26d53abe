"""Titles written within the catalogue: what transformers' generate writes, and no worse than scoring every title."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llmrec.lm import rest, search
from llmrec.lm.likelihood import score_continuations
from llmrec.lm.loading import load_language_model
from llmrec.lm.search import title_search, title_trie
from llmrec.types import NO_ITEM
from tests.unit.lm_models import save_tiny

N, END = 120, 0


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def lm(request, tmp_path_factory):
    return load_language_model(str(save_tiny(tmp_path_factory.mktemp(request.param), request.param)))


@pytest.fixture(scope="module")
def titles():
    """Titles of 1 to 5 tokens out of few, so that many share a beginning and some begin others."""
    rng = np.random.default_rng(0)
    made = {tuple(rng.integers(1, 9, rng.integers(1, 6)).tolist()) for _ in range(3 * N)}
    return [list(title) for title in sorted(made)][:N]


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(1)
    return [rng.integers(1, 300, n).tolist() for n in (7, 1, 12, 7, 3)]


def generate(lm, titles, prompt, beams, forbidden=()):
    allowed: dict[tuple[int, ...], set[int]] = {}
    item_of = {(*title, END): item for item, title in enumerate(titles) if item not in forbidden}
    for row in item_of:
        for i in range(len(row)):
            allowed.setdefault(row[:i], set()).add(row[i])
    out = lm.model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=7,
        num_beams=beams, num_return_sequences=beams, do_sample=False, length_penalty=0.0, early_stopping=False,
        eos_token_id=END, pad_token_id=END, return_dict_in_generate=True, output_scores=True,
        prefix_allowed_tokens_fn=lambda _, ids: sorted(allowed.get(tuple(ids[len(prompt) :].tolist()), {END})),
    )  # fmt: skip
    items, scores = [], []
    for row, score in zip(out.sequences[:, len(prompt) :].tolist(), out.sequences_scores.tolist(), strict=True):
        items.append(item_of.get((*row[: row.index(END)], END), NO_ITEM) if END in row else NO_ITEM)
        scores.append(score)
    return items, scores


@pytest.mark.parametrize("beams", [2, 10])
@pytest.mark.parametrize("few", [0.0, 2.0, np.inf])  # token by token; all that is left at once, late and from the start
def test_same_items_and_scores_as_generate(lm, titles, prompts, beams, few, monkeypatch):
    monkeypatch.setattr(search, "FEW", few)
    items, scores = title_search(lm, title_trie(titles, END), END, prompts, beams=beams)
    for row, prompt in enumerate(prompts):
        theirs, their_scores = generate(lm, titles, prompt, beams)
        assert items[row].tolist() == theirs
        np.testing.assert_allclose(scores[row], their_scores, atol=1e-4)


@pytest.mark.parametrize("few", [0.0, 1.5, np.inf])
def test_excluded_items_are_as_if_they_were_not_there(lm, titles, prompts, few, monkeypatch):
    monkeypatch.setattr(search, "FEW", few)
    rng = np.random.default_rng(2)
    excluded = rng.choice(N, (len(prompts), 60)).astype(np.int32)
    excluded[0, 20:] = NO_ITEM
    items, scores = title_search(lm, title_trie(titles, END), END, prompts, beams=8, excluded=excluded)
    for row, prompt in enumerate(prompts):
        theirs, their_scores = generate(lm, titles, prompt, 8, set(excluded[row].tolist()))
        assert items[row].tolist() == theirs
        np.testing.assert_allclose(scores[row], their_scores, atol=1e-4)


@pytest.mark.parametrize("few", [0.0, 1.2, np.inf])
def test_as_many_beams_as_titles_find_what_scoring_every_title_finds(lm, titles, prompts, few, monkeypatch):
    monkeypatch.setattr(search, "FEW", few)
    items, scores = title_search(lm, title_trie(titles, END), END, prompts, beams=N)
    every = score_continuations(lm, prompts, [[[*title, END] for title in titles]] * len(prompts))
    for row, truth in enumerate(every):
        assert sorted(items[row].tolist()) == list(range(N))
        np.testing.assert_allclose(scores[row], np.sort(truth)[::-1], atol=1e-3)
        np.testing.assert_allclose(scores[row], truth[items[row]], atol=1e-3)


def test_batches_make_no_difference(lm, titles, prompts, monkeypatch):
    trie = title_trie(titles, END)
    together = title_search(lm, trie, END, prompts, beams=5)
    monkeypatch.setattr(search, "BYTES", 1)
    alone = title_search(lm, trie, END, prompts, beams=5)
    assert np.array_equal(together[0], alone[0])
    np.testing.assert_allclose(together[1], alone[1], atol=1e-4)


def test_what_is_left_is_read_in_short_rows_alike(lm, titles, prompts, monkeypatch):
    trie = title_trie(titles, END)
    monkeypatch.setattr(search, "FEW", np.inf)
    together = title_search(lm, trie, END, prompts, beams=10)
    monkeypatch.setattr(rest, "WIDTH", 3)
    monkeypatch.setattr(rest, "TOKENS", 1)
    apart = title_search(lm, trie, END, prompts, beams=10)
    assert np.array_equal(together[0], apart[0])
    np.testing.assert_allclose(together[1], apart[1], atol=1e-4)


def test_candidates_alone_are_written_and_a_short_catalogue_leaves_places_empty(lm, titles, prompts):
    only = np.zeros(N, bool)
    only[[3, 50, 51]] = True
    items, scores = title_search(lm, title_trie(titles, END, only), END, prompts, beams=5)
    assert all(sorted(row[:3].tolist()) == [3, 50, 51] for row in items)
    assert (items[:, 3:] == NO_ITEM).all()
    assert (scores[:, 3:] == -np.inf).all()


@pytest.mark.parametrize("few", [0.0, 3.0, np.inf])
def test_renormalised_scores_are_a_distribution_over_the_catalogue(lm, titles, prompts, few, monkeypatch):
    monkeypatch.setattr(search, "FEW", few)
    _, scores = title_search(lm, title_trie(titles, END), END, prompts, beams=N, renormalise=True)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1.0, atol=1e-3)


def test_half_precision_scores_titles_alike_within_its_rounding(lm, titles, prompts):
    half = load_language_model(lm.name, dtype="bfloat16")
    exact = title_search(lm, title_trie(titles, END), END, prompts, beams=20)
    rounded = title_search(half, title_trie(titles, END), END, prompts, beams=20)
    for row in range(len(prompts)):
        theirs = dict(zip(rounded[0][row].tolist(), rounded[1][row].tolist(), strict=True))
        both = [
            (score, theirs[item])
            for item, score in zip(*(x[row].tolist() for x in exact), strict=True)
            if item in theirs
        ]
        assert len(both) >= 10
        np.testing.assert_allclose(*zip(*both, strict=True), atol=0.5)


def test_what_cannot_be_searched_is_said(lm, titles):
    trie = title_trie(titles, END)
    with pytest.raises(ValueError, match="prompt 0 has 0 tokens"):
        title_search(lm, trie, END, [[]], beams=2)
    with pytest.raises(ValueError, match="prompt 0 has 255 tokens, expected 1 to 251"):
        title_search(lm, trie, END, [[1] * 255], beams=2)
    with pytest.raises(ValueError, match="items 0 and 1 have the same id"):
        title_trie([[5, 6], [5, 6]], END)
    with pytest.raises(ValueError, match="item 1: its title is empty or holds the end token"):
        title_trie([[5, 6], [END]], END)
