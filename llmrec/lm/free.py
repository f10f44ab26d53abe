"""Titles written freely, and what in the catalogue they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmrec.lm.loading import LanguageModel
from llmrec.types import NO_ITEM, Bools, Floats, Generated, Int32

if TYPE_CHECKING:
    from llmrec.context import Context


@torch.inference_mode()
def write_freely(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], end: int, longest: int, beams: int
) -> tuple[list[list[str]], list[Floats]]:
    """What a model writes after each of b prompts, ``beams`` texts each, best first, with their log probabilities.

    transformers' `generate` by beam search with length penalty 0; a text ends with ``end`` or after ``longest`` tokens.
    """
    width, device = max(map(len, prompts)), lm.model.device
    tokens = torch.tensor([[end] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    there = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    writer: Any = lm.model
    out = writer.generate(
        input_ids=tokens, attention_mask=there, max_new_tokens=longest + 1, num_beams=beams, do_sample=False,
        num_return_sequences=beams, length_penalty=0.0, early_stopping=False, eos_token_id=end, pad_token_id=end,
        return_dict_in_generate=True, output_scores=beams > 1,
    )  # fmt: skip
    texts = []
    for row in out.sequences[:, width:].tolist():
        texts.append(row[: row.index(end)] if end in row else row)
    said = [" ".join(text.split()) for text in lm.tokenizer.batch_decode(texts)]
    scores = out.sequences_scores.float().cpu().numpy() if beams > 1 else np.zeros(len(said), np.float32)
    rows = range(0, len(said), beams)
    return [said[i : i + beams] for i in rows], [scores[i : i + beams] for i in rows]


class Grounding:
    """What written texts stand for: the item of that title, else the item whose text lies nearest, else nothing."""

    def __init__(
        self, names: Sequence[str], candidates: Bools, ctx: Context | None, encoder: str, least: float
    ) -> None:
        """
        Args:
            names: the items' titles as the model writes them [n_items].
            ctx: embeds texts; None: what is no title stands for nothing.
            least: cosine below which the nearest item is too far away.
        """
        self.item_of = {names[item]: item for item in np.flatnonzero(candidates).tolist()}
        self.ctx, self.encoder, self.least = ctx, encoder, least
        self.candidates = candidates
        self.vectors = ctx.item_embeddings(encoder, only=candidates) if ctx is not None else None
        self.known = 0  # titles written, to the letter, that their users must not get

    def lists(self, texts: list[list[str]], values: list[Floats], k: int, barred: Int32 | None) -> Generated:
        """The items of b users' texts, best first; with embeddings, filled up with what lies nearest to the first text.

        Args:
            values: log probabilities of the texts, falling.
            barred: items that a user must not get [b, e], NO_ITEM where a row is short.
        """
        items = np.full((len(texts), k), NO_ITEM, np.int32)
        scores = np.full((len(texts), k), -np.inf, np.float32)
        counts = np.zeros((4, len(texts)), np.int32)  # invalid, duplicate, out of the catalogue, written
        cosines = self._cosines(texts)
        for row, said in enumerate(texts):
            closed = ~self.candidates
            if barred is not None:
                closed = closed.copy()
                closed[barred[row][barred[row] != NO_ITEM]] = True
            place = 0
            taken: set[int] = set()
            for text, value in zip(said, values[row], strict=True):
                item = self.item_of.get(text, NO_ITEM)
                counts[3, row] += 1
                counts[0, row] += item == NO_ITEM
                self.known += item != NO_ITEM and bool(closed[item])
                if (item == NO_ITEM or closed[item]) and (near := cosines.get(text)) is not None:
                    near = np.where(closed, -np.inf, near)
                    item = int(near.argmax())
                    if not near[item] >= self.least:
                        counts[2, row] += 1
                        item = NO_ITEM
                if item == NO_ITEM or closed[item]:
                    continue
                if item in taken:
                    counts[1, row] += 1
                    continue
                taken.add(item)
                items[row, place], scores[row, place] = item, value
                place += 1
                if place == k:
                    break
            if place and place < k and (near := cosines.get(said[0])) is not None:
                near = np.where(closed, -np.inf, near)
                near[list(taken)] = -np.inf
                order = np.argsort(-near, kind="stable")[: k - place]
                order = order[near[order] > -np.inf]
                items[row, place : place + len(order)] = order
                scores[row, place : place + len(order)] = scores[row, place - 1] - 1 + near[order] - near[order[:1]]
        return Generated(items, scores, *counts)

    def _cosines(self, texts: list[list[str]]) -> dict[str, Floats]:
        """Each text's cosines with all items' texts."""
        if self.ctx is None or self.vectors is None:
            return {}
        unique = sorted({text for some in texts for text in some if text})
        if not unique:
            return {}
        return dict(zip(unique, self.ctx.request_embeddings(unique, self.encoder) @ self.vectors.T, strict=True))
