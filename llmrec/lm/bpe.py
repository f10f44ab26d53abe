"""A byte-level BPE tokenizer learnt from a data set's own texts: it can write any text, in any script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmrec.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

END = "<|end|>"
"""Closes every text and opens every prompt."""

SMALLEST = 257
"""The 256 bytes and the end token: with no more, texts are written byte by byte."""


def learn_bpe(texts: Iterable[str], size: int) -> PreTrainedTokenizerBase:
    """A tokenizer of at most ``size`` tokens, in which the commonest pairs of the texts became one (Sennrich et al.,
    ACL 2016; on bytes, as in GPT-2). The order of the texts has no influence.

    Raises:
        UserError: fewer tokens than the bytes and the end need.
    """
    if size < SMALLEST:
        raise UserError(
            f"vocabulary = {size}: expected {SMALLEST} or more, a token for every byte and one for the end."
        )
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(sorted(texts), trainer)
    fast: type[PreTrainedTokenizerBase] = PreTrainedTokenizerFast
    return fast(tokenizer_object=made, eos_token=END, bos_token=END, pad_token=END)
