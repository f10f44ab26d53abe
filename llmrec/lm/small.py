"""A small GPT to be trained from scratch: of transformers' own classes, so that whatever reads a large one reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmrec.errors import UserError
from llmrec.lm.loading import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SMALL = "small"
"""The name by which methods know it."""


def small_model(
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
    layers: int,
    heads: int,
    width: int,
    dropout: float,
    seed: int,
    device: str = "cpu",
) -> LanguageModel:
    """A GPT-2 (Radford et al. 2019) with random weights; the output is tied to the embeddings.

    Raises:
        UserError: the width is no multiple of the heads.
    """
    if width % heads:
        raise UserError(f"width = {width} is no multiple of heads = {heads}.")
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=context, n_embd=width, n_layer=layers, n_head=heads,
        activation_function="gelu_pytorch_tanh",  # GPT-2's own formula, as one kernel
        resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = GPT2LMHeadModel(config)
    return LanguageModel(SMALL, f"trained from scratch, seed {seed}", model.to(device).eval(), tokenizer)
