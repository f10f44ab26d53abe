"""What is left of a catalogue below the live prefixes of a search, read in a few passes of the model.

A title is soon alone with its beginning: of Beauty's titles of up to 16 tokens, nine live prefixes in ten have a single
title below them after five. From there on hardly anything is left to choose, and every token that may still be written
can be read at once: the subtree below a prefix is a tree of tokens, and a mask says which of them continue which.
"""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

from llmrec.gpt.trie import Trie
from llmrec.lm.memory import Memory

WIDTH = 96  # tokens of a row: attention meets all of them, most of them masked
TOKENS = 512  # of a pass, whose activations are to stay in a processor's cache


class Rest:
    """Log-probabilities of what follows each prefix below the live ones of b users' beams. r roots (the live prefixes),
    n prefixes in their subtrees, in the order of the roots."""

    def __init__(
        self,
        memory: Memory,
        trie: Trie,
        end: int,
        level: int,
        nodes: Tensor,
        live: Tensor,
        sees: Tensor,
        *,
        renormalise: bool = False,
    ) -> None:
        """Read the subtrees of the prefixes ``nodes`` of a level [b, m] that are ``live`` [b, m], one at least.

        Args:
            memory: of the prompts and of the prefixes but for their last tokens.
            sees: which of its row's own tokens each prefix continues, its last one not among them, bool [b, m, s].
        """
        self._renormalise = renormalise
        users, beams = live.nonzero(as_tuple=True)  # [r]
        roots, self._levels, self._nodes = _below(trie, end, level, nodes[users, beams])  # [n]
        self._users, self._sees = users[roots], sees[users, beams][roots]  # [n], [n, s]
        self._look_up(trie, level)
        self.terms = torch.full(self._following.shape, -torch.inf, device=nodes.device)  # [n, widest]
        sizes = torch.bincount(roots, minlength=len(users)).tolist()
        rows = _rows(users.tolist(), sizes)
        while rows:
            # of one length as far as possible; the longest comes first
            at_once = max(1, TOKENS // len(rows[0]))
            self._read(memory, rows[:at_once])
            rows = rows[at_once:]
        largest = max(len(here.token) for here in trie.levels)
        self._strides = (len(nodes) * largest, largest)
        self._keys, order = self._key(self._levels, self._users, self._nodes).sort()
        self.terms = self.terms[order]

    def after(self, level: int, nodes: Tensor, widest: int) -> Tensor:
        """Terms of the children of a level's nodes [b, m] -> [b, m, widest]; -inf where there is none, or none was
        read."""
        users = torch.arange(len(nodes), device=nodes.device)[:, None]
        keys = self._key(torch.full_like(nodes, level), users, nodes)
        at = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        terms = self.terms[at, :widest].masked_fill((self._keys[at] != keys)[..., None], -torch.inf)
        return torch.nn.functional.pad(terms, (0, widest - terms.shape[-1]), value=-torch.inf)

    def _key(self, levels: Tensor, users: Tensor, nodes: Tensor) -> Tensor:
        return levels * self._strides[0] + users * self._strides[1] + nodes

    def _look_up(self, trie: Trie, level: int) -> None:
        """Of each prefix its last token, the leaves below it [n], and its children's tokens [n, widest]."""
        n, device = len(self._nodes), self._nodes.device
        self._token, first, last, self._left, self._right = torch.empty(5, n, dtype=torch.long, device=device)
        for depth in range(level, int(self._levels.max()) + 1):
            here, nodes = trie.levels[depth], self._nodes[at := self._levels == depth]
            self._token[at], first[at], last[at] = here.token[nodes], here.child[nodes], here.child[nodes + 1]
            self._left[at], self._right[at] = here.leaf[nodes], here.leaf[nodes + 1]
        children = first[:, None] + torch.arange(int((last - first).max()), device=device)
        self._real = children < last[:, None]
        self._following = torch.empty_like(children)
        for depth in range(level, int(self._levels.max()) + 1):
            below = trie.levels[depth + 1].token
            at = self._levels == depth
            self._following[at] = below[children[at].clamp(max=len(below) - 1)].clamp(min=0)

    def _read(self, memory: Memory, rows: list[list[int]]) -> None:
        """One pass over rows of prefixes, each row of one user."""
        device, q = self._nodes.device, max(map(len, rows))
        index = torch.tensor([row + [row[0]] * (q - len(row)) for row in rows], device=device)  # [rows, q]
        there = torch.tensor([[True] * len(row) + [False] * (q - len(row)) for row in rows], device=device)
        left, right, level = self._left[index], self._right[index], self._levels[index]
        inside = (left[:, :, None] >= left[:, None]) & (right[:, :, None] <= right[:, None])
        inside &= (level[:, :, None] >= level[:, None]) & there[:, None]  # [rows, q, q]: continues it, or is it
        inside |= torch.eye(q, dtype=torch.bool, device=device)  # what only fills a row sees itself
        seen = self._sees[index]  # [rows, q, s]
        needed = seen.any(1)
        columns = (
            needed.float().topk(int(needed.sum(1).max()), dim=1).indices
        )  # a row that needs fewer has others, masked
        seen = seen.gather(2, columns[:, None].expand(-1, q, -1))
        picked = Picked(memory, self._users[index[:, 0]], columns)
        logits = picked.read(self._token[index], level - 1, torch.cat([seen, inside], 2)).float()
        following, real = self._following[index], self._real[index]
        if self._renormalise:
            terms = logits.gather(2, following).masked_fill(~real, -torch.inf).log_softmax(-1)
        else:
            terms = logits.log_softmax(-1).gather(2, following).masked_fill(~real, -torch.inf)
        self.terms[index[there]] = terms[there]


class Picked(Memory):
    """Another memory's prompts ``rows`` [r], one of them perhaps often, each with the own tokens ``columns`` [r, c] of
    its row; what is read into it stays its own."""

    def __init__(self, source: Memory, rows: Tensor, columns: Tensor) -> None:
        from transformers import DynamicCache

        self.model, self.following = source.model, source.following[rows]
        self.lengths, self._there = source.lengths[rows], source._there[rows]
        self._cache = DynamicCache()
        t = self._there.shape[1]
        own = (rows[:, None], t + columns)
        for layer, kept in enumerate(source._cache.layers):
            keys, values = (
                torch.cat([x[rows, :, :t], x.transpose(1, 2)[own].transpose(1, 2)], 2) for x in (kept.keys, kept.values)
            )
            self._cache.update(keys, values, layer)


def _below(trie: Trie, end: int, level: int, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The prefixes that go on in the subtrees of some nodes of a level, these included: root, level and node of each,
    in the order of the roots."""
    roots, found = torch.arange(len(nodes), device=nodes.device), []
    for depth in range(level, trie.depth):
        here = trie.levels[depth]
        on = (here.token[nodes] != end) & (here.token[nodes] >= 0)
        roots, nodes = roots[on], nodes[on]
        found.append((roots, torch.full_like(roots, depth), nodes))
        counts = here.child[nodes + 1] - here.child[nodes]
        starts = here.child[nodes] - (counts.cumsum(0) - counts)
        roots, nodes = roots.repeat_interleave(counts), starts.repeat_interleave(counts)
        nodes = nodes + torch.arange(len(nodes), device=nodes.device)
    all_roots, levels, places = (torch.cat(part) for part in zip(*found, strict=True))
    order = torch.argsort(all_roots, stable=True)
    return all_roots[order], levels[order], places[order]


def _rows(users: list[int], sizes: list[int]) -> list[list[int]]:
    """Share roots among rows of about ``WIDTH`` prefixes of one user, no subtree in two; the longest row first."""
    roots: dict[int, list[int]] = {}
    for root, user in enumerate(users):
        roots.setdefault(user, []).append(root)
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    rows = []
    for some in roots.values():
        shares: list[tuple[int, int, list[int]]] = [
            (0, i, []) for i in range(-(-sum(sizes[root] for root in some) // WIDTH))
        ]
        for root in sorted(some, key=lambda root: -sizes[root]):  # the largest first, each where there is most room
            size, i, held = shares[0]
            heapq.heapreplace(shares, (size + sizes[root], i, [*held, *range(starts[root], starts[root + 1])]))
        rows += [held for _, _, held in shares if held]
    return sorted(rows, key=len, reverse=True)
