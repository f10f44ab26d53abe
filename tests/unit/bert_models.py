"""Random encoders like BERT that are small enough to be read and trained in a test, saved as their authors would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def save_bert(folder: Path, words: list[str], window: int = 32, **shape: Any) -> Path:
    """Write a BERT whose vocabulary is these words, and that reads ``window`` tokens, into a folder."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    vocabulary = [*SPECIAL, *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=window).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=window, **(size | shape))
    BertModel(config).save_pretrained(folder)
    return folder


def save_roberta(folder: Path, texts: list[str], window: int = 32, **shape: Any) -> Path:
    """Write a RoBERTa with its head for masked words, as the hub has it: bytes for words, two positions for padding."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaForMaskedLM, RobertaTokenizerFast

    bytes_ = ByteLevelBPETokenizer()
    bytes_.train_from_iterator(texts, vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    bytes_.save_model(str(folder))
    own = RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=window)
    own.save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = RobertaConfig(vocab_size=len(own), max_position_embeddings=window + 2, **(size | shape))
    RobertaForMaskedLM(config).save_pretrained(folder)
    return folder
