"""Search for the items whose ids a GPT finds most likely: beams within the catalogue, or every item.

An item's score is the log of its id's probability: the sum over its tokens of full-vocabulary log-softmax terms, as in
transformers' ``generate(num_beams=..., prefix_allowed_tokens_fn=..., length_penalty=0)``, whose items and scores the
beam search reproduces. Where items have tokens of their own (`llmrec.gpt.leaves`), the last term is a softmax over the
items below the prefix. What makes it fast: a user's history is read once and shared by the user's beams, only children
of live prefixes are looked at, and masks are gathered from the trie for the whole batch at once.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from llmrec.gpt.leaves import ItemTokens
from llmrec.gpt.trie import Trie
from llmrec.types import NO_ITEM


class Decoder(Protocol):
    """What a search asks: `llmrec.gpt.model.GPT` and `llmrec.gpt.reader.ItemReader` answer."""

    def remember(self, tokens: Tensor, lengths: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Any]: ...
    def branch(self, tokens: Tensor, memory: Any, own: Tensor | None) -> tuple[Tensor, Tensor]: ...
    def logits(self, hidden: Tensor) -> Tensor: ...


@torch.inference_mode()
def beam_search(
    model: Decoder,
    trie: Trie,
    tokens: Tensor,
    lengths: Tensor,
    *,
    beams: int,
    excluded: Tensor | None = None,
    leaves: ItemTokens | None = None,
    extra: Tensor | None = None,
    renormalise: bool = False,
) -> tuple[Tensor, Tensor]:
    """The best items of b users and their scores, int64 and float32 [b, beams], best first; NO_ITEM and -inf at the end
    of a row where the catalogue has no more.

    Args:
        tokens: histories [b, t], at least one token each, padded on the right with anything.
        lengths: tokens of each history [b].
        excluded: leaves that a user must not get (`Trie.excluded`). A prefix of which nothing else is left is dropped
            as soon as it comes up, so that it takes no beam from the others.
        leaves: the model's tokens of the items, if it has them: the last step is theirs. Made of the same trie.
        extra: what is added to the histories' embeddings (`llmrec.gpt.extras`).
        renormalise: share each step's probability among the trie's children only.
    """
    b = len(tokens)
    hidden, memory = model.remember(tokens, lengths, extra)
    hidden, own = hidden[:, None], None  # [b, 1, d]
    scores = torch.zeros(b, 1, device=tokens.device)
    nodes = torch.zeros(b, 1, dtype=torch.long, device=tokens.device)  # of the root level
    for depth in range(trie.depth):
        here, below = trie.levels[depth], trie.levels[depth + 1]
        first, last = here.child[nodes], here.child[nodes + 1]  # [b, m]
        children = first[..., None] + torch.arange(here.widest, device=tokens.device)  # [b, m, widest]
        real = children < last[..., None]
        children = children.clamp_(max=len(below.token) - 1)
        if leaves is not None and depth + 1 == trie.depth:
            terms = leaves.log_probabilities(hidden.flatten(0, 1), nodes.flatten()).view(children.shape)
        else:
            logits = model.logits(hidden).float()  # [b, m, vocabulary]
            picked = logits.gather(2, below.token[children]).masked_fill_(~real, -torch.inf)  # [b, m, widest]
            terms = picked - (picked if renormalise else logits).logsumexp(-1, keepdim=True)
        candidates = (terms + scores[..., None]).flatten(1)  # [b, m * widest]
        if excluded is not None:
            left, right = below.leaf[children].flatten(1), below.leaf[children + 1].flatten(1)
            gone = torch.searchsorted(excluded, right) - torch.searchsorted(excluded, left)
            candidates = candidates.masked_fill_(gone == right - left, -torch.inf)
        scores, chosen = candidates.topk(min(beams, candidates.shape[1]), dim=1)  # [b, m']
        nodes = children.flatten(1).gather(1, chosen)
        if depth + 1 < trie.depth:
            parents = chosen // here.widest
            if own is not None:
                own = own.gather(3, parents[None, None, :, :, None, None].expand(*own.shape[:3], -1, *own.shape[4:]))
            hidden, own = model.branch(below.token[nodes], memory, own)
    items = trie.items[nodes].masked_fill_(scores == -torch.inf, NO_ITEM)
    short = beams - items.shape[1]
    return (
        torch.nn.functional.pad(items, (0, short), value=NO_ITEM),
        torch.nn.functional.pad(scores, (0, short), value=-torch.inf),
    )


@torch.inference_mode()
def score_all(
    model: Decoder,
    trie: Trie,
    tokens: Tensor,
    lengths: Tensor,
    *,
    leaves: ItemTokens | None = None,
    extra: Tensor | None = None,
    renormalise: bool = False,
) -> Tensor:
    """The score of every item of the catalogue, float32 [b, leaves]: column j is item ``trie.items[j]``.

    Each prefix is computed once. It is the truth that beam search is measured against, and affordable for small
    catalogues: the work grows with b x the number of prefixes.
    """
    b = len(tokens)
    hidden, memory = model.remember(tokens, lengths, extra)
    hidden, own = hidden[:, None], None
    scores = torch.zeros(b, 1, device=tokens.device)
    for depth in range(trie.depth):
        here, below = trie.levels[depth], trie.levels[depth + 1]
        parents = torch.repeat_interleave(here.child.diff())  # [nodes below]
        if leaves is not None and depth + 1 == trie.depth:
            return scores[:, parents] + _every_leaf(leaves, hidden, parents, here.child)
        logits = model.logits(hidden).float()  # [b, nodes here, vocabulary]
        picked = logits.flatten(1)[:, parents * logits.shape[2] + below.token]  # [b, nodes below]
        if renormalise:
            total = torch.zeros(b, len(here.token), device=tokens.device)
            top = logits.amax(-1)  # [b, nodes here], keeps exp() in range
            total = total.index_add_(1, parents, (picked - top[:, parents]).exp()).log() + top
        else:
            total = logits.logsumexp(-1)
        scores = scores[:, parents] + picked - total[:, parents]
        if depth + 1 < trie.depth:
            own = None if own is None else own[:, :, :, parents]
            hidden, own = model.branch(below.token.expand(b, -1), memory, own)
    return scores


def _every_leaf(leaves: ItemTokens, hidden: Tensor, parents: Tensor, first: Tensor) -> Tensor:
    """Log-probabilities of all leaves given their prefixes [b, leaves]; ``hidden`` [b, p, d]: after all prefixes."""
    b, p, _ = hidden.shape
    prefixes = torch.arange(p, device=hidden.device).repeat(b)
    terms = leaves.log_probabilities(hidden.flatten(0, 1), prefixes).view(b, p, -1)  # [b, p, widest]
    place = torch.arange(len(parents), device=hidden.device) - first[parents]
    return terms[:, parents, place]
