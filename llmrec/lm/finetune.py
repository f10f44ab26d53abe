"""Teaching a causal language model to go on: documents without waste in batches, and the steps over them.

A document is what is read first and never asked for (an opening), and texts one after another, each closed by an end
token; every token of these is a target. Documents of like length stand in one batch, padded on the right, where the
causal mask hides it and no loss is computed: what is padded is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmrec.bert.depth import DEPTHS, at_depth
from llmrec.bert.tune import schedule
from llmrec.errors import Skip, UserError, nearest
from llmrec.gpt.descent import Descent
from llmrec.gpt.windows import window_batches
from llmrec.types import Histories, Int64

if TYPE_CHECKING:
    from llmrec.context import Context


@dataclass(frozen=True)
class Texts:
    """Texts as rows of tokens, each closed by the end token."""

    rows: Histories

    @classmethod
    def of(cls, tokens: Sequence[Sequence[int]], end: int) -> Texts:
        indptr = np.cumsum([0, *(len(some) + 1 for some in tokens)])
        flat = np.fromiter((t for some in tokens for t in (*some, end)), np.int32, count=int(indptr[-1]))
        return cls(Histories(indptr, flat, end + 1))

    def documents(self, sequences: Histories) -> Histories:
        """The texts of each sequence, one after another: a row of tokens for each."""
        texts = self.rows.take(sequences.items)
        return Histories(texts.indptr[sequences.indptr], texts.items, self.rows.n_items)


def windows(histories: Histories, size: int, rng: np.random.Generator) -> Histories:
    """Every event of the histories in exactly one sequence of at most ``size``, cut at a random offset, anew at each
    call; so that each begins at a whole item."""
    batches = window_batches(histories, size=size, events=len(histories.items) + 1, rng=rng)
    if not batches:
        return Histories(np.zeros(1, np.int64), np.empty(0, np.int32), histories.n_items)
    starts, lengths = batches[0]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    events = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
    return Histories(indptr, histories.items[events], histories.n_items)


def pack(lengths: Int64, tokens: int, rng: np.random.Generator) -> list[Int64]:
    """Rows in batches of at most ``tokens`` tokens, padding counted (or of one row), those of like length together;
    batches come in random order."""
    order = rng.permutation(len(lengths))
    order = order[np.argsort(-lengths[order], kind="stable")]
    batches, start = [], 0
    while start < len(order):
        many = max(1, tokens // max(int(lengths[order[start]]), 1))
        batches.append(order[start : start + many])
        start += many
    return [batches[i] for i in rng.permutation(len(batches))]


def token_loss(
    model: Any, opening: Sequence[int], documents: Histories, rows: Int64, device: Any
) -> tuple[Tensor, int]:
    """Summed cross-entropy of all tokens of some documents, and how many there are."""
    some = documents.take(rows)
    longest = int(some.lengths.max())
    ids = np.zeros((len(rows), len(opening) + longest), np.int64)
    ids[:, : len(opening)] = opening
    there = np.arange(longest) < some.lengths[:, None]
    ids[:, len(opening) :][there] = some.items
    tokens = torch.from_numpy(ids).to(device)
    asked = torch.from_numpy(there).to(device)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = inner.base_model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state[:, len(opening) - 1 :]
    logits = inner.get_output_embeddings()(hidden[asked]).float()
    return F.cross_entropy(logits, tokens[:, len(opening) :][asked], reduction="sum"), len(some.items)


@torch.inference_mode()
def perplexity(model: Any, opening: Sequence[int], documents: Histories, at_once: int = 8192) -> float:
    """exp of the mean cross-entropy of the documents' tokens."""
    total, count = 0.0, 0
    for rows in pack(documents.lengths, at_once, np.random.default_rng(0)):
        loss, n = token_loss(model, opening, documents, rows, model.device)
        total, count = total + loss.item(), count + n
    return float(np.exp(min(total / max(count, 1), 50.0)))


def amount(documents: Histories, at_once: int) -> dict[str, int]:
    """Tokens that a pass over documents asks for, and places of its batches that are padded."""
    batches = pack(documents.lengths, at_once, np.random.default_rng(0))
    places = sum(int(documents.lengths[rows].max()) * len(rows) for rows in batches)
    return {"tokens_an_epoch": len(documents.items), "padded_an_epoch": places - len(documents.items)}


@dataclass(frozen=True)
class Pace:
    """How a stage steps. The learning rate rises over the first ``warm_up`` of all steps and falls linearly to 0."""

    epochs: int
    learning_rate: float
    warm_up: float = 0.05
    weight_decay: float = 0.01
    batch_tokens: int = 4096  # of a step
    at_once: int = 4096  # tokens that are computed together; fewer than batch_tokens: gradients are accumulated
    mixed: bool = False  # products in bfloat16 while training


def stepper(
    model: Any, opening: Sequence[int], documents: Callable[[int], Histories], pace: Pace, ctx: Context, axis: str
) -> tuple[torch.optim.Optimizer, Callable[[int], float]]:  # fmt: skip
    """An optimiser and its pass over ``documents(epoch)``, as `llmrec.training.train` takes them.

    Args:
        axis: the random stream of the documents' order.
    """
    wanted = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": pace.weight_decay},
        {"params": [p for p in wanted if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=pace.learning_rate, betas=(0.9, 0.98), fused=True)
    parts = max(1, pace.batch_tokens // pace.at_once)

    def rate(done: float) -> None:
        for group in optimizer.param_groups:
            group["lr"] = pace.learning_rate * schedule(done / pace.epochs, pace.warm_up)

    def run_epoch(epoch: int) -> float:
        some = documents(epoch)
        batches = pack(some.lengths, min(pace.at_once, pace.batch_tokens), ctx.rng(axis, epoch))
        device = next(model.parameters()).device

        def loss(rows: Int64) -> Tensor:
            total, n = token_loss(model, opening, some, rows, device)
            return total / max(n, 1)

        descent = Descent(
            model, optimizer, ctx, rate, loss, lambda rows: int(some.lengths[rows].sum()), mixed=pace.mixed
        )
        return descent.epoch(epoch, [batches[start : start + parts] for start in range(0, len(batches), parts)])

    return optimizer, run_epoch


def to_depth(model: Any, depth: str, last: int, rank: int) -> Any:
    """A language model of which only a part is trained: one of `llmrec.bert.depth.DEPTHS`.

    Raises:
        UserError: no such depth, or fewer layers than ``last``. Skip: "lora" without the package peft.
    """
    if depth not in DEPTHS:
        raise UserError(f"depth = {depth!r}, expected one of {', '.join(DEPTHS)}.{nearest(depth, DEPTHS)}")
    return _with_lora(model, rank) if depth == "lora" else at_depth(model, depth, last, rank)


def _with_lora(model: nn.Module, rank: int) -> Any:
    """Low-rank additions to the attention's queries and values (Hu et al. 2021); GPT-2 has them in one matrix."""
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ModuleNotFoundError:
        raise Skip("depth = 'lora' needs the package peft: pip install peft") from None
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    targets = sorted(names & {"q_proj", "v_proj", "c_attn", "query_key_value", "Wqkv"})
    if not targets:
        raise UserError("depth = 'lora': this model's attention has no query and value of a known name.")
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM, r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets,
        fan_in_fan_out="c_attn" in targets,
    )  # fmt: skip
    return get_peft_model(model, config)


def merged(model: Any) -> Any:
    """The model with its low-rank additions, if it has any, in the weights."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
