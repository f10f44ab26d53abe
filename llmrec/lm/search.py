"""Search for the titles that a language model finds most likely after a prompt: beams within the catalogue.

A title's score is the sum over its tokens, the end token included, of full-vocabulary log-softmax terms. Items and
scores are those of transformers' ``generate(num_beams=..., prefix_allowed_tokens_fn=..., length_penalty=0)``, whose
rules are kept: of the likeliest continuations of all beams, one that ends a title counts if it is among the first
``beams``, the best that go on stay in the race, and a user is done once the best of them can no longer pass the worst
title found. What makes it fast: a user's prompt is read once and shared by the user's beams, no beam is ever copied (a
mask says which earlier tokens each one continues), only children of live prefixes are looked at, and once few titles
are left below them, what is left is read in one go (`llmrec.lm.rest`): the same tokens, in far fewer passes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from llmrec.gpt.trie import Trie, build_trie
from llmrec.lm.loading import LanguageModel
from llmrec.lm.memory import Memory, Tokens
from llmrec.lm.rest import Rest
from llmrec.types import NO_ITEM, Bools, Int32

FILLING = -1  # stands behind the end token of the shorter titles
BYTES = 256 * 2**20  # of candidates and of scores of next tokens that are held at a time
FEW = 1.1  # titles below a live prefix, on average: from there on all that is left is read at once


def title_trie(titles: Sequence[Tokens], end: int, candidates: Bools | None = None, device: str = "cpu") -> Trie:
    """The trie of the items' titles, each closed by the token ``end``, so that one may begin like another; of the
    candidates alone where they are given [n_items].

    Raises:
        ValueError: a title is empty or holds the end token, or two items have the same one.
    """
    for item, title in enumerate(titles):
        if not title or end in title:
            raise ValueError(f"item {item}: its title is empty or holds the end token {end}")
    ids = np.full((len(titles), 1 + max(map(len, titles), default=0)), FILLING, np.int32)
    for item, title in enumerate(titles):
        ids[item, : len(title)] = title
        ids[item, len(title)] = end
    return build_trie(ids, candidates, device)


@torch.inference_mode()
def title_search(
    lm: LanguageModel,
    trie: Trie,
    end: int,
    prompts: Sequence[Tokens],
    *,
    beams: int,
    excluded: Int32 | None = None,
    renormalise: bool = False,
) -> tuple[Int32, np.ndarray]:
    """The best items of b prompts and their scores, int32 and float32 [b, beams], best first; NO_ITEM and -inf at the
    end of a row that has no more.

    Args:
        end: the token that ends a title; the trie's (`title_trie`).
        excluded: items that a prompt must not get [b, e], NO_ITEM where a row is short. A prefix of which nothing else
            is left is dropped as soon as it comes up.
        renormalise: share each step's probability among the trie's children only.

    Raises:
        ValueError: an empty prompt, or one that leaves no room for the longest title in the model's context.
    """
    room = lm.context - trie.depth + 1  # the end token is never read
    for row, prompt in enumerate(prompts):
        if not 0 < len(prompt) <= room:
            raise ValueError(
                f"prompt {row} has {len(prompt)} tokens, expected 1 to {room}: the context less the longest title"
            )
    items = np.full((len(prompts), beams), NO_ITEM, np.int32)
    scores = np.full((len(prompts), beams), -np.inf, np.float32)
    widest = max([lm.model.config.vocab_size, *(level.widest for level in trie.levels[1:])])
    size = max(1, BYTES // (4 * beams * widest))
    order = np.argsort([len(prompt) for prompt in prompts], kind="stable")  # of one length, so that little is padded
    for start in range(0, len(prompts), size):
        rows = order[start : start + size]
        barred = None if excluded is None else trie.excluded(excluded[rows])
        found = _Search(lm, trie, end, [prompts[row] for row in rows], beams, barred, renormalise).run()
        items[rows], scores[rows] = found[0].cpu().numpy(), found[1].cpu().numpy()
    return items, scores


class _Search:
    """Beams of b prompts. Tensors lead with b; m live beams; s tokens read of a row's beams so far."""

    def __init__(
        self,
        lm: LanguageModel,
        trie: Trie,
        end: int,
        prompts: list[Tokens],
        beams: int,
        excluded: Tensor | None,
        renormalise: bool,
    ) -> None:
        self.trie, self.end, self.beams, self.excluded, self.renormalise = trie, end, beams, excluded, renormalise
        self.memory = Memory(lm.model, prompts)
        b, device = len(prompts), self.memory.following.device
        self.logits = self.memory.following[:, None]  # [b, m, vocabulary]
        self.scores = torch.zeros(b, 1, device=device)
        self.nodes = torch.zeros(b, 1, dtype=torch.long, device=device)
        self.sees = torch.zeros(b, 1, 0, dtype=torch.bool, device=device)  # [b, m, s]: a beam's own earlier tokens
        self.leaves = torch.zeros(b, beams, dtype=torch.long, device=device)  # titles found, best first
        self.found = torch.full((b, beams), -torch.inf, device=device)
        self.done = torch.zeros(b, dtype=torch.bool, device=device)
        self.rest: Rest | None = None

    def run(self) -> tuple[Tensor, Tensor]:
        """Items and scores [b, beams]."""
        for depth in range(self.trie.depth):
            children, candidates = self._candidates(depth)
            tokens = self.trie.levels[depth + 1].token[children]
            chosen = self._finish(depth, children, candidates, tokens)
            if bool(self.done.all()):
                break
            parents = chosen // max(1, children.shape[1] // self.scores.shape[1])
            self.nodes = children.gather(1, chosen)
            self.scores = candidates.gather(1, chosen)
            if self.rest is None:
                self._read(depth, tokens.gather(1, chosen), parents)
        items = self.trie.items[self.leaves].masked_fill(self.found == -torch.inf, NO_ITEM)
        return items, self.found

    def _candidates(self, depth: int) -> tuple[Tensor, Tensor]:
        """Children of the live prefixes and their scores, both [b, m * widest]."""
        here, below = self.trie.levels[depth], self.trie.levels[depth + 1]
        first, last = here.child[self.nodes], here.child[self.nodes + 1]  # [b, m]
        widest = int((last - first).max())  # of the live ones
        children = first[..., None] + torch.arange(widest, device=first.device)  # [b, m, widest]
        real = children < last[..., None]
        children = children.clamp(max=len(below.token) - 1)
        if self.rest is not None:
            terms = self.rest.after(depth, self.nodes, widest)
        else:
            logits, tokens = self.logits.float(), below.token[children].clamp(min=0)
            if self.renormalise:
                terms = logits.gather(2, tokens).masked_fill(~real, -torch.inf).log_softmax(-1)
            else:
                terms = logits.log_softmax(-1).gather(2, tokens).masked_fill(~real, -torch.inf)
        candidates = (terms + self.scores[..., None]).nan_to_num(nan=-torch.inf, neginf=-torch.inf).flatten(1)
        children = children.flatten(1)
        if self.excluded is not None:
            left, right = below.leaf[children], below.leaf[children + 1]
            gone = torch.searchsorted(self.excluded, right) - torch.searchsorted(self.excluded, left)
            candidates = candidates.masked_fill(gone == right - left, -torch.inf)
        return children, candidates

    def _finish(self, depth: int, children: Tensor, candidates: Tensor, tokens: Tensor) -> Tensor:
        """Take the titles that end among the best; return which candidates go on [b, m']."""
        best = candidates.topk(min(2 * self.beams, candidates.shape[1]), dim=1).indices
        values, ends = candidates.gather(1, best), tokens.gather(1, best) == self.end
        ending = values.masked_fill(~ends, -torch.inf)[:, : self.beams].masked_fill(self.done[:, None], -torch.inf)
        leaves = self.trie.levels[depth + 1].leaf[children.gather(1, best)][:, : self.beams]
        pool, order = torch.cat([self.found, ending], 1).topk(self.beams, dim=1)
        self.found, self.leaves = pool, torch.cat([self.leaves, leaves], 1).gather(1, order)
        going = values.masked_fill(ends, -torch.inf)
        kept = going.topk(min(self.beams, going.shape[1]), dim=1)
        candidates.scatter_(1, best, going)  # an ended title is nobody's prefix
        self.done |= kept.values[:, 0] <= self.found[:, -1]
        return best.gather(1, kept.indices)

    def _read(self, depth: int, tokens: Tensor, parents: Tensor) -> None:
        """One more token on each beam [b, m], or all that is left of the catalogue below them."""
        b, m = tokens.shape
        past = self.sees.gather(1, parents[..., None].expand(-1, -1, self.sees.shape[2]))  # [b, m, s]
        live = (self.scores > self.found[:, -1:]) & ~self.done[:, None]
        here = self.trie.levels[depth + 1]
        left = (here.leaf[self.nodes + 1] - here.leaf[self.nodes])[live].sum()
        if bool(left <= FEW * live.sum()):
            self.rest = Rest(
                self.memory, self.trie, self.end, depth + 1, self.nodes, live, past, renormalise=self.renormalise
            )
            return
        itself = torch.eye(m, dtype=torch.bool, device=tokens.device).expand(b, m, m)
        self.sees = torch.cat([past, itself], dim=2)
        depths = torch.full_like(tokens, depth)
        self.logits = self.memory.read(tokens.clamp(min=0), depths, self.sees)
