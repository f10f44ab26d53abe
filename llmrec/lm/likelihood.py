"""How likely a language model finds given texts after given prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from llmrec.lm.loading import LanguageModel
from llmrec.lm.memory import Memory, Tokens
from llmrec.types import Floats

BYTES = 256 * 2**20
"""Scores of next tokens that are held at a time: they, and not the weights, fill the memory."""


def tokenise(lm: LanguageModel, texts: Sequence[str]) -> list[list[int]]:
    """The texts' tokens without special ones. A prompt and what follows it are tokenised apart and their tokens joined:
    a blank between them belongs to what follows, as these models' tokens have it (" Heat")."""
    if not texts:
        return []
    ids: list[list[int]] = lm.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return ids


@torch.inference_mode()
def score_continuations(
    lm: LanguageModel, prompts: Sequence[Tokens], continuations: Sequence[Sequence[Tokens]]
) -> list[Floats]:
    """For each prompt the log-probabilities of its continuations, float32 [continuations]: sums over their tokens of
    full-vocabulary log-softmax terms. A prompt is read once for all that may follow it.

    Raises:
        ValueError: an empty prompt or continuation, or both together longer than the model's context.
    """
    for row, (prompt, some) in enumerate(zip(prompts, continuations, strict=True)):
        if not prompt or any(not text for text in some):
            raise ValueError(f"prompt {row} is empty or has an empty continuation")
        if len(prompt) + max(map(len, some), default=0) > lm.context:
            raise ValueError(
                f"prompt {row} and a continuation are longer than {lm.context} tokens, the model's context"
            )
    out = [np.zeros(len(some), np.float32) for some in continuations]
    for rows in _batches(prompts, continuations, lm.model.config.vocab_size):
        for row, scores in zip(
            rows, _score(lm, [prompts[r] for r in rows], [continuations[r] for r in rows]), strict=True
        ):
            out[row] = scores
    return out


def _batches(
    prompts: Sequence[Tokens], continuations: Sequence[Sequence[Tokens]], vocabulary: int
) -> Iterator[list[int]]:
    """Rows to be read together: prompts of nearly one length, so that little is padded."""
    order = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), row))
    batch: list[int] = []
    widest = 0
    for row in order:
        width = max(widest, 1 + sum(map(len, continuations[row])))
        if batch and (len(batch) + 1) * width * vocabulary * 4 > BYTES:
            yield batch
            batch, width = [], 1 + sum(map(len, continuations[row]))
        batch.append(row)
        widest = width
    if batch:
        yield batch


def _score(lm: LanguageModel, prompts: list[Tokens], continuations: list[Sequence[Tokens]]) -> list[Floats]:
    """All continuations of a row stand behind its prompt, one after another; none sees another."""
    memory = Memory(lm.model, prompts)
    first = memory.following.float().log_softmax(-1)  # [b, vocabulary]
    b, q = (
        len(prompts),
        max(sum(len(text) - 1 for text in some) for some in continuations),
    )  # a last token is only scored
    tokens, wanted = torch.zeros(2, b, max(q, 1), dtype=torch.long)
    depth, owner = torch.zeros_like(tokens), torch.full_like(tokens, -1)
    for row, some in enumerate(continuations):
        place = 0
        for j, text in enumerate(some):
            end = place + len(text) - 1
            tokens[row, place:end], wanted[row, place:end] = torch.tensor([text[:-1], text[1:]])
            depth[row, place:end], owner[row, place:end] = torch.arange(len(text) - 1), j
            place = end
    tokens, wanted, depth, owner = (x.to(lm.model.device) for x in (tokens, wanted, depth, owner))
    terms = torch.zeros(tokens.shape, device=tokens.device)
    if q:
        sees = (owner[:, :, None] == owner[:, None]) & (depth[:, None] <= depth[:, :, None])  # [b, q, q]
        logits = memory.read(tokens, depth, sees)
        terms = logits.gather(2, wanted[..., None]).squeeze(2).float() - logits.float().logsumexp(-1)
    found = []
    for row, some in enumerate(continuations):
        sums = first[row, torch.tensor([text[0] for text in some], dtype=torch.long, device=first.device)]
        mine = owner[row] >= 0
        sums = sums.index_add(0, owner[row][mine], terms[row][mine])
        found.append(sums.cpu().numpy())
    return found
