"""Many short branches after a prompt: the prompt is read once, and all its branches attend to the same keys and values.

A beam, a candidate title, a node of a trie: each is a branch of a few tokens after a user's prompt. transformers' own
cache wants the prompt's keys and values copied for every branch; here the tokens of all branches of all users go
through the model as ONE packed sequence without padding, and an attention function of ours (transformers'
`AttentionInterface`) sends each token to its prompt (a matrix product for all branches of a user) and to its own branch
(a few keys). The two parts are joined by their common softmax, so that nothing but rounding differs from reading prompt
and branch as a text.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from llmrec.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTION = "llmrec_branches"
PROMPTS_AT_ONCE = 8  # prompts of similar length that are read together
LOGITS_AT_ONCE = 2**26  # most logits held at a time: 256 MiB in float32


@contextmanager
def branching(model: PreTrainedModel) -> Iterator[None]:
    """Within it the model's attention is ours; `Prompts` are read and used in it.

    Raises:
        UserError: the model's attention cannot be replaced.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, _attend)
    before = model.config._attn_implementation
    model.set_attn_implementation(ATTENTION)
    if model.config._attn_implementation != ATTENTION:
        raise UserError(
            f"model type {model.config.model_type!r}: its attention cannot be shared between branches of a prompt, "
            "because it does not use transformers' attention interface. Take a GPT-2, Llama or Qwen."
        )
    try:
        with torch.inference_mode():
            yield
    finally:
        model.set_attn_implementation(before)


def check_prompts(model: PreTrainedModel, prompts: Sequence[Sequence[int]], room: int, first: int = 0) -> None:
    """Raises ValueError for an empty prompt, or one that leaves less than ``room`` tokens of the model's context;
    ``first`` is the number of the first prompt, for the message."""
    context = int(getattr(model.config, "max_position_embeddings", 0) or 2**31)
    window = getattr(model.config, "sliding_window", None)
    if window and getattr(model.config, "use_sliding_window", True):
        context = min(context, int(window))
    for place, prompt in enumerate(prompts, first):
        if not len(prompt):
            raise ValueError(f"prompt {place} is empty: at least one token is needed, for instance the begin token")
        if len(prompt) + room > context:
            raise ValueError(
                f"prompt {place} has {len(prompt)} tokens and up to {room} follow it, but the model's context is "
                f"{context} tokens: drop the oldest part of the history"
            )


@dataclass(frozen=True)
class Rows:
    """Branches to be read on, sorted by user; a row's tokens are read in order, each seeing those before it."""

    user: Tensor  # [r] ascending
    tokens: Tensor  # [r, q] token ids, -1 at a row's end where it has fewer
    past: Tensor  # [r, s] places of the row's tokens that were read before, oldest first; -1 where it has fewer

    def part(self, begin: int, end: int) -> Rows:
        tokens = self.tokens[begin:end]
        return Rows(
            self.user[begin:end], tokens[:, : int((tokens >= 0).sum(1).max())].contiguous(), self.past[begin:end]
        )


class Prompts:
    """Prompts that have been read, and the keys and values of every branch token read after them."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
        self.model = model
        self.device = model.device
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        self.keys: list[Tensor] = []  # a layer: [b, key heads, t, head width]
        self.values: list[Tensor] = []
        self.read_tokens = 0  # of branches: the used length of the pools
        self.pool: list[tuple[Tensor, Tensor]] = []  # a layer: keys and values [capacity, key heads, head width]
        self._trims = "logits_to_keep" in inspect.signature(model.forward).parameters
        self.first = self._read_prompts(prompts)  # [b, vocabulary] float32 log-probabilities after each prompt

    def _read_prompts(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        longest = len(prompts[order[-1]])
        first: Tensor | None = None
        for begin in range(0, len(order), PROMPTS_AT_ONCE):
            chosen = order[begin : begin + PROMPTS_AT_ONCE]
            t = len(prompts[chosen[-1]])
            tokens = torch.tensor(
                [[*prompts[place], *[prompts[place][0]] * (t - len(prompts[place]))] for place in chosen],
                device=self.device,
            )  # padded on the right, where nothing sees it
            at = torch.tensor(chosen, device=self.device)
            ends, which = (self.lengths[at] - 1).unique(return_inverse=True)
            out = self._call(tokens, ends, attention_mask=torch.ones_like(tokens), use_cache=True)
            logits = out.logits[torch.arange(len(chosen), device=self.device), which].float()
            if first is None:
                first = logits.new_empty(len(prompts), logits.shape[1])
                self._make_room(out.past_key_values, len(prompts), longest)
            first[at] = logits.log_softmax(-1)
            for layer, (keys, values) in enumerate(_layers(out.past_key_values)):
                self.keys[layer][at, :, :t] = keys
                self.values[layer][at, :, :t] = values
        assert first is not None
        return first

    def _make_room(self, cache: Any, b: int, t: int) -> None:
        for keys, values in _layers(cache):
            _, heads, _, width = keys.shape
            self.keys.append(keys.new_zeros(b, heads, t, width))
            self.values.append(values.new_zeros(b, heads, t, values.shape[3]))
            self.pool.append((keys.new_empty(0, heads, width), values.new_empty(0, heads, values.shape[3])))

    def _call(self, tokens: Tensor, keep: Tensor, **options: Any) -> Any:
        if self._trims:
            return self.model(tokens, logits_to_keep=keep, **options)
        out = self.model(tokens, **options)
        out.logits = out.logits[:, keep]
        return out

    def terms(self, rows: Rows, at: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """Read rows on and return log-probabilities float32 [n] and the places [r, q] of the tokens read (-1: none).

        Args:
            at: [n] ascending, after which token: row * q + its place within the row.
            token: [n] whose log-probability (over the full vocabulary) there.
        """
        r, q = rows.tokens.shape
        vocabulary = self.first.shape[1]
        here = rows.tokens >= 0
        ends = here.sum(1).cumsum(0)  # tokens up to and with row i
        places = torch.where(here, here.flatten().cumsum(0).view(r, q) - 1 + self.read_tokens, -1)
        result = torch.empty(len(at), device=self.device)
        most = max(1, LOGITS_AT_ONCE // vocabulary)
        bounds, totals = [0], ends.tolist()
        for row in range(r):  # few rows, or many tokens: a part takes as many rows as `most` allows
            if totals[row] - (totals[bounds[-1] - 1] if bounds[-1] else 0) > most and row > bounds[-1]:
                bounds.append(row)
        cuts = torch.searchsorted(at, torch.tensor([row * q for row in [*bounds, r]], device=self.device)).tolist()
        for part, begin in enumerate(bounds):
            end = bounds[part + 1] if part + 1 < len(bounds) else r
            some = rows.part(begin, end)
            packed = _Packed(self, some)
            wanted = slice(cuts[part], cuts[part + 1])
            before = totals[begin - 1] if begin else 0
            order = places.flatten()[at[wanted]] - self.read_tokens  # index within this part's packed tokens
            keep, which = order.unique(return_inverse=True)
            out = self._call(
                packed.tokens[None], keep, position_ids=packed.positions[None], use_cache=False, branches=packed
            )
            logits = out.logits[0].float()
            total = logits.logsumexp(-1)
            result[wanted] = logits[which, token[wanted]] - total[which]
            self.read_tokens += totals[end - 1] - before
        return result, places


class _Packed:
    """One call's branch tokens in a row, and who sees what."""

    def __init__(self, prompts: Prompts, rows: Rows) -> None:
        self.prompts, device = prompts, prompts.device
        r, q = rows.tokens.shape
        here = rows.tokens >= 0
        self.tokens = rows.tokens[here]  # [n]
        n, self.shape = len(self.tokens), (r, q)
        self.cell = here.flatten().nonzero().squeeze(1)  # [n] row * q + place
        seen = rows.past >= 0
        place = torch.arange(q, device=device)
        self.positions = (prompts.lengths[rows.user] + seen.sum(1))[:, None].add(place)[here]
        # the prompt's part: tokens side by side, user by user
        self.low, self.high = int(rows.user[0]), int(rows.user[-1]) + 1
        user = rows.user[:, None].expand(r, q)[here] - self.low
        counts = torch.bincount(user, minlength=self.high - self.low)
        self.widest = int(counts.max())
        starts = counts.cumsum(0) - counts
        self.slot = user * self.widest + torch.arange(n, device=device) - starts[user]
        lengths = prompts.lengths[self.low : self.high]
        self.t = int(lengths.max())
        hidden = torch.arange(self.t, device=device) >= lengths[:, None]
        self.far_mask = hidden[:, None, None] if bool(hidden.any()) else None  # [users, 1, 1, t]
        # the branch's own part
        self.begin = prompts.read_tokens
        new = torch.full((r * q,), -1, device=device)
        new[self.cell] = torch.arange(self.begin, self.begin + n, device=device)
        own = torch.cat([rows.past, new.view(r, q)], dim=1)  # [r, s + q]
        visible = (own >= 0)[:, None, :].expand(r, q, -1).clone()
        visible[:, :, rows.past.shape[1] :] &= place[None, :] <= place[:, None]
        self.near_mask = None if bool(visible.all()) else ~visible[:, None]  # [r, 1, q, s + q]
        self.own = own.clamp(min=0)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """query [1, h, n, d], key and value [1, key heads, n, d] -> [1, n, h, d]."""
        pool_keys, pool_values = self._keep(layer, key, value)
        r, q = self.shape
        queries = (query[0].transpose(0, 1) * scaling).unflatten(1, (key.shape[1], -1))  # [n, k, g, d]
        far = _attention(
            _spread(queries, self.slot, self.high - self.low, self.widest),
            self.prompts.keys[layer][self.low : self.high, :, : self.t],
            self.prompts.values[layer][self.low : self.high, :, : self.t],
            self.far_mask,
        )
        near = _attention(
            _spread(queries, self.cell, r, q),
            pool_keys[self.own].transpose(1, 2),
            pool_values[self.own].transpose(1, 2),
            self.near_mask,
        )
        top_far, sum_far, mix_far = (part.flatten(0, 1)[self.slot] for part in far)  # [n, k, g, 1 or d]
        top_near, sum_near, mix_near = (part.flatten(0, 1)[self.cell] for part in near)
        top = torch.maximum(top_far, top_near)
        far_weight, near_weight = (top_far - top).exp_(), (top_near - top).exp_()
        mixed = mix_far * far_weight + mix_near * near_weight
        mixed = mixed / (sum_far * far_weight + sum_near * near_weight)
        return mixed.to(query.dtype).view(1, query.shape[2], -1, mixed.shape[-1])

    def _keep(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new tokens' keys and values into the layer's pool, which doubles when it is full."""
        end = self.begin + key.shape[2]
        keys, values = self.prompts.pool[layer]
        if end > len(keys):
            size = max(end, 2 * len(keys))
            keys, values = (
                torch.cat([part, part.new_empty(size - len(part), *part.shape[1:])]) for part in (keys, values)
            )
            self.prompts.pool[layer] = keys, values
        keys[self.begin : end], values[self.begin : end] = key[0].transpose(0, 1), value[0].transpose(0, 1)
        return keys, values


def _attend(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """transformers' attention function: a prompt is read as always, branches by `_Packed`."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    packed = options.pop("branches", None)
    if packed is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    for unknown in ("softcap", "position_bias", "s_aux"):
        if options.get(unknown) is not None:
            raise UserError(f"{type(module).__name__}: attention with {unknown} cannot be shared between branches.")
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    return packed.attend(module.layer_idx, query, key, value, scaling), None


def _spread(queries: Tensor, slot: Tensor, groups: int, widest: int) -> Tensor:
    """Packed queries [n, k, g, d] -> [groups, widest, k, g, d] with gaps."""
    if len(queries) == groups * widest:
        return queries.view(groups, widest, *queries.shape[1:])
    padded = queries.new_zeros(groups * widest, *queries.shape[1:]).index_copy_(0, slot, queries)
    return padded.view(groups, widest, *queries.shape[1:])


def _attention(queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Unfinished attention of queries [b, q, k, g, d] to keys and values [b, k, t, d], float32 [b, q, k, g, 1 or d]:
    the largest score, the sum of exp(score - largest), the values weighted by exp(score - largest). ``hidden`` marks
    what is not seen [b, 1, q or 1, t]."""
    b, q, k, g, _ = queries.shape
    scores = (queries.transpose(1, 2).reshape(b, k, q * g, -1) @ keys.transpose(-1, -2)).float()  # [b, k, q * g, t]
    if hidden is not None:
        scores = scores.masked_fill_(hidden.repeat_interleave(g, dim=2) if hidden.shape[2] > 1 else hidden, -torch.inf)
    top = scores.amax(-1, keepdim=True).clamp_(min=-1e30)  # where a gap sees nothing
    weights = scores.sub_(top).exp_()
    mixed = (weights.to(values.dtype) @ values).float()
    parts = top, weights.sum(-1, keepdim=True), mixed
    return tuple(part.view(b, k, q, g, -1).transpose(1, 2) for part in parts)  # type: ignore[return-value]


def _layers(cache: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys and values of each layer [b, key heads, t, head width]."""
    for layer in cache.layers:
        if not isinstance(getattr(layer, "keys", None), Tensor):
            raise UserError(
                f"{type(layer).__name__}: a layer without keys and values cannot be shared between branches."
            )
        yield layer.keys, layer.values
