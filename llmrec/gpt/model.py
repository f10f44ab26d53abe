"""A small decoder-only GPT (GPT-2's architecture) whose users' histories are computed once and shared by all beams.

Weights go to and from a Hugging Face `GPT2LMHeadModel` of the same shape without loss: both give the same logits.
In shapes: b users, t tokens of history, m branches (beams) of one user, s own tokens of a branch, d width, h heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel


@dataclass(frozen=True)
class Shape:
    """The size of a GPT. With ``period`` L, the positions are factorised: position p has the sum of the embedding of
    slot p // L (which item) and of phase p % L (which of its L tokens); 1 gives plain learned positions."""

    vocabulary: int
    context: int  # longest input, tokens
    layers: int = 4
    heads: int = 4
    width: int = 128
    dropout: float = 0.0
    period: int = 1


@dataclass(frozen=True)
class Memory:
    """Keys and values of b users' histories, one pair a layer, and what has to be masked in them."""

    keys: list[Tensor]  # layers x [b, h, t, d / h]
    values: list[Tensor]
    lengths: Tensor  # [b] tokens of each history
    padding: Tensor | None  # [b, 1, 1, t]: 0 or -inf; None when no history is shorter than t


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each behind a layer norm (pre-norm)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d = shape.width
        self.heads = shape.heads
        self.norm_1, self.norm_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.mix = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.drop = nn.Dropout(shape.dropout)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x [b, t, d], each [b, h, t, d / h]."""
        b, t, d = x.shape
        qkv = self.qkv(self.norm_1(x)).view(b, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return q, k, v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """What follows attention: x [b, t, d], attended [b, h, t, d / h] -> [b, t, d]."""
        x = x + self.drop(self.mix(attended.transpose(1, 2).reshape(x.shape)))
        hidden = F.gelu(self.up(self.norm_2(x)), approximate="tanh")
        return x + cast(Tensor, self.drop(self.down(hidden)))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x)
        return self.finish(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))


class GPT(nn.Module):
    """Token ids in, hidden states out; `logits` turns them into scores of the next token (tied embeddings)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.slots = nn.Embedding(-(-shape.context // shape.period), shape.width)
        self.phases = nn.Embedding(shape.period, shape.width)
        self.drop = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:  # GPT-2: the two layers that write into the residual stream start smaller
                narrow = name.endswith(("mix.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / ((2 * shape.layers) ** 0.5 if narrow else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    @property
    def stack(self) -> list[Block]:
        return cast("list[Block]", list(self.blocks))

    @property
    def device(self) -> torch.device:
        return self.tokens.weight.device

    def positions(self) -> Tensor:
        """Position embeddings [context, d]."""
        table = self.slots.weight[:, None] + self.phases.weight[None]  # [slots, period, d]
        return table.flatten(0, 1)[: self.shape.context]

    def forward(self, tokens: Tensor, extra: Tensor | None = None) -> Tensor:
        """Hidden states [b, t, d] of token ids [b, t]; what stands behind a position does not change it.

        ``extra`` [b, 1 + items, d] is added to the first token and to each item's last (`llmrec.gpt.extras`): while an
        item is written, nothing is known of it but its tokens."""
        x = self.drop(self._embedded(tokens, extra) + self.positions()[: tokens.shape[1]])
        for block in self.stack:
            x = block(x)
        return cast(Tensor, self.norm(x))

    def _embedded(self, tokens: Tensor, extra: Tensor | None) -> Tensor:
        embedded: Tensor = self.tokens(tokens)
        if extra is None:
            return embedded
        ends = embedded[:, :: self.shape.period]
        ends += extra[:, : ends.shape[1]]  # in place
        return embedded

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token [..., vocabulary]."""
        return F.linear(hidden, self.tokens.weight)

    def remember(self, tokens: Tensor, lengths: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Memory]:
        """Read histories [b, t], padded on the right; return the hidden state of each one's last token [b, d] and the
        keys and values. The last layer is finished for the last tokens only: nothing else reads it."""
        b, t = tokens.shape
        x = self._embedded(tokens, extra) + self.positions()[:t]
        keys, values = [], []
        *early, final = self.stack
        for block in early:
            q, k, v = block.project(x)
            x = block.finish(x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
            keys.append(k)
            values.append(v)
        q, k, v = final.project(x)
        beyond = torch.arange(t, device=tokens.device) >= lengths[:, None]  # [b, t]
        padding = None
        if bool(beyond.any()):
            padding = torch.zeros(beyond.shape, dtype=x.dtype, device=x.device).masked_fill_(beyond, -torch.inf)
            padding = padding[:, None, None]
        last = (torch.arange(b, device=tokens.device), lengths - 1)
        attended = F.scaled_dot_product_attention(q.transpose(1, 2)[last].unsqueeze(2), k, v, attn_mask=padding)
        x = final.finish(x[last].unsqueeze(1), attended)
        return self.norm(x).squeeze(1), Memory([*keys, k], [*values, v], lengths, padding)

    def branch(self, tokens: Tensor, memory: Memory, own: Tensor | None) -> tuple[Tensor, Tensor]:
        """One more token on each of m branches of each user: token ids [b, m] -> hidden states [b, m, d].

        ``own`` holds the keys and values of the branches' own earlier tokens [layers, 2, b, m, s, d]; it comes back
        with the new token's appended. The history's keys and values are read by all branches and never copied.
        """
        b, m = tokens.shape
        h, d = self.shape.heads, self.shape.width
        s = 0 if own is None else own.shape[4]
        x = self.tokens(tokens) + self.positions()[memory.lengths + s][:, None]
        written = x.new_empty(self.shape.layers, 2, b, m, s + 1, d)
        if own is not None:
            written[..., :s, :] = own
        for layer, block in enumerate(self.stack):
            q, k, v = block.qkv(block.norm_1(x)).chunk(3, dim=-1)  # each [b, m, d]
            written[layer, 0, ..., s, :], written[layer, 1, ..., s, :] = k, v
            own_k, own_v = written[layer].unflatten(-1, (h, d // h))  # each [b, m, s + 1, h, d / h]
            q = q.unflatten(-1, (h, d // h)) * (d // h) ** -0.5  # [b, m, h, d / h]
            far = q.transpose(1, 2) @ memory.keys[layer].transpose(-1, -2)  # [b, h, m, t]
            if memory.padding is not None:
                far = far + memory.padding
            near = (q[:, :, None] * own_k).sum(-1).permute(0, 3, 1, 2)  # [b, h, m, s + 1]
            weights = torch.cat([far, near], dim=-1).softmax(-1)
            far, near = weights[..., : -s - 1], weights[..., -s - 1 :]
            attended = far @ memory.values[layer]  # [b, h, m, d / h]
            attended = attended + (near.permute(0, 2, 3, 1)[..., None] * own_v).sum(2).transpose(1, 2)
            x = block.finish(x, attended)
        return self.norm(x), written


def from_gpt2(source: GPT2LMHeadModel) -> GPT:
    """Our GPT with the weights of a Hugging Face GPT-2 (dropout left out)."""
    config = source.config
    model = GPT(Shape(config.vocab_size, config.n_positions, config.n_layer, config.n_head, config.n_embd))
    state = {}
    for name, weight in source.transformer.state_dict().items():
        if name == "wpe.weight":
            state["slots.weight"], state["phases.weight"] = weight, torch.zeros(1, config.n_embd)
        else:  # Conv1D keeps its matrices as [in, out]
            transposed = name.startswith("h.") and weight.ndim == 2
            state[_our_name(name)] = weight.T if transposed else weight
    model.load_state_dict(state)
    return model.to(source.device, source.dtype).eval()


def to_gpt2(model: GPT) -> GPT2LMHeadModel:
    """A Hugging Face GPT-2 with the weights of ours, for other people's tools and for comparison."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = model.shape
    config = GPT2Config(
        vocab_size=shape.vocabulary, n_positions=shape.context, n_layer=shape.layers, n_head=shape.heads,
        n_embd=shape.width, embd_pdrop=shape.dropout, resid_pdrop=shape.dropout, attn_pdrop=0.0,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    result = GPT2LMHeadModel(config)
    ours = model.state_dict() | {"slots.weight": model.positions().detach()}
    state = {}
    for name in result.transformer.state_dict():
        weight = ours[_our_name(name)]
        state[name] = weight.T.contiguous() if name.startswith("h.") and weight.ndim == 2 else weight
    result.transformer.load_state_dict(state)
    return cast("GPT2LMHeadModel", nn.Module.to(result, model.tokens.weight).train(False))


def _our_name(name: str) -> str:
    for theirs, our in (
        ("wte", "tokens"), ("wpe", "slots"), ("ln_f", "norm"), ("h.", "blocks."), ("ln_", "norm_"),
        ("attn.c_attn", "qkv"), ("attn.c_proj", "mix"), ("mlp.c_fc", "up"), ("mlp.c_proj", "down"),
    ):  # fmt: skip
        name = name.replace(theirs, our)
    return name
