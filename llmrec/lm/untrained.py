"""A language model that has learnt nothing, for controls: what a ranking by it gives, no knowledge of a model gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmrec.lm.loading import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNTRAINED = "untrained"
"""The name by which methods know it."""

END = "<|end|>"


def untrained(seed: int, device: str = "cpu", context: int = 1024) -> LanguageModel:
    """A GPT-2 of two layers and width 32 with random weights, which reads bytes.

    Weights are drawn ten times as wide as GPT-2's, for with those all its likelihoods are nearly equal.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = _bytes()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = GPT2Config(
            vocab_size=len(tokenizer), n_positions=context, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        model: Any = GPT2LMHeadModel(config)
    return LanguageModel(UNTRAINED, f"random weights, seed {seed}", model.to(device).eval(), tokenizer)


def _bytes() -> PreTrainedTokenizerBase:
    """A tokenizer with a token for every byte and no other but the end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: place for place, letter in enumerate([*alphabet, END])}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([END])
    wrap: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerBase = wrap(tokenizer_object=made, eos_token=END, bos_token=END, pad_token=END)
    return tokenizer
