"""Beam search on models made by hand: the next token's scores depend on the last token alone, by a table."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmrec.gpt.beam import beam_search, score_all
from llmrec.gpt.trie import build_trie
from llmrec.types import NO_ITEM


class Table:
    """A model whose state is its last token. Shaped like `llmrec.gpt.model.GPT` for the search."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.table = logits  # [vocabulary, vocabulary]

    def remember(self, tokens, lengths, extra=None):
        last = tokens[torch.arange(len(tokens)), lengths - 1]
        return self.table[last], None

    def branch(self, tokens, memory, own):
        return self.table[tokens], None

    def logits(self, hidden):
        return hidden


@st.composite
def problems(draw):
    depth, codes = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    cells = draw(st.sets(st.integers(0, codes**depth - 1), min_size=1, max_size=40))
    cells = np.random.default_rng(draw(st.integers(0, 99))).permutation(sorted(cells))
    ids = np.stack([cells // codes**level % codes + 1 + codes * level for level in range(depth)], axis=1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vocabulary = 1 + depth * codes
    table = torch.from_numpy(rng.normal(0, 3, (vocabulary, vocabulary)).astype(np.float32))
    users = draw(st.integers(1, 3))
    tokens = torch.from_numpy(rng.integers(vocabulary, size=(users, 3)))
    lengths = torch.from_numpy(rng.integers(1, 4, size=users))
    excluded = rng.integers(-1, len(ids), size=(users, draw(st.integers(0, len(ids))))).astype(np.int32)
    return ids.astype(np.int32), table, tokens, lengths, excluded


def log_softmax(row):
    top = max(row)
    total = top + math.log(sum(math.exp(v - top) for v in row))
    return [v - total for v in row]


def plain_beams(ids, table, last, excluded, beams):
    """The textbook search, in dictionaries: a prefix lives while an item that may be shown is below it."""
    rows = {tuple(row): item for item, row in enumerate(ids.tolist()) if item not in excluded}
    live = [((), 0.0)]
    for depth in range(ids.shape[1]):
        grown = {}
        for prefix, score in live:
            terms = log_softmax(table[prefix[-1] if prefix else last].tolist())
            for row in rows:
                if row[:depth] == prefix:
                    grown[row[: depth + 1]] = score + terms[row[depth]]
        live = sorted(grown.items(), key=lambda pair: -pair[1])[:beams]
    return [(rows[prefix], score) for prefix, score in live]


@settings(max_examples=60, deadline=None)
@given(problem=problems(), beams=st.integers(1, 12))
def test_beams_are_those_of_the_textbook(problem, beams):
    ids, table, tokens, lengths, excluded = problem
    trie = build_trie(ids)
    items, scores = beam_search(Table(table), trie, tokens, lengths, beams=beams, excluded=trie.excluded(excluded))
    assert items.shape == scores.shape == (len(tokens), beams)
    for user in range(len(tokens)):
        last = int(tokens[user, lengths[user] - 1])
        wanted = plain_beams(ids, table, last, set(excluded[user].tolist()), beams)
        assert items[user, : len(wanted)].tolist() == [item for item, _ in wanted]
        np.testing.assert_allclose(scores[user, : len(wanted)], [score for _, score in wanted], atol=1e-4)
        assert (items[user, len(wanted) :] == NO_ITEM).all() and (scores[user, len(wanted) :] == -torch.inf).all()


@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_wide_beams_and_full_scores_give_the_exact_order(problem):
    ids, table, tokens, lengths, _ = problem
    trie = build_trie(ids)
    scores = score_all(Table(table), trie, tokens, lengths)
    for user in range(len(tokens)):
        last = int(tokens[user, lengths[user] - 1])
        terms = {v: log_softmax(table[v].tolist()) for v in range(len(table))}
        truth = [
            sum(terms[before][token] for before, token in zip([last, *row[:-1]], row, strict=True))
            for row in ids.tolist()
        ]
        np.testing.assert_allclose(scores[user], np.array(truth)[trie.items.numpy()], atol=1e-4)
        items, found = beam_search(
            Table(table), trie, tokens[user : user + 1], lengths[user : user + 1], beams=len(ids)
        )
        np.testing.assert_allclose(found[0], sorted(truth, reverse=True), atol=1e-4)
        assert items[0].tolist() == sorted(range(len(ids)), key=lambda item: -truth[item])
