"""Tiny random language models with a real tokenizer, saved as a checkpoint: what any local folder looks like."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llmrec.lm.bpe import learn_bpe

TEXTS = (
    "Toy Story", "Toy Story 2", "Heat", "The Heat", "Casino", "Sense and Sensibility", "Star Wars", "Star Trek",
    "a film about visitors from another planet", "a thriller", "yes", "no", "I liked these films, in this order:",
)  # fmt: skip


def save_tiny(folder: Path, kind: str = "gpt2", seed: int = 0, context: int = 256) -> Path:
    """A checkpoint of a GPT-2 or a Llama (grouped queries, rotary positions) with random weights, large enough that
    its likelihoods differ."""
    tokenizer = learn_bpe(TEXTS, 300)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "gpt2":
            model = GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=len(tokenizer), n_positions=context, n_embd=32, n_layer=2, n_head=4,
                    initializer_range=0.3, **ends,
                )
            )  # fmt: skip
        else:
            model = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=len(tokenizer), max_position_embeddings=context, hidden_size=32, intermediate_size=48,
                    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3, **ends,
                )
            )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
