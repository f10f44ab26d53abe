"""Pairs of texts as an encoder reads them, `history [SEP] candidate`: every text is tokenised once, never once a pair.

What does not fit the window is left out by one rule: a candidate keeps its first ``item_tokens`` tokens, and a history
its newest items, newest first, until the rest of the window is full. Both are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from llmrec.batches import in_batches
from llmrec.bert.first_token import first_token_alone
from llmrec.errors import UserError

if TYPE_CHECKING:
    from llmrec.bert.classifier import Classifier
    from llmrec.types import Floats, Histories, Int32, Int64

Tokens = Sequence["Int32"]
"""One array of token ids a text, without the special ones."""

Batch = dict[str, torch.Tensor]
"""input_ids, attention_mask and, where the encoder has segments, token_type_ids; each int64 [b, t]."""


@dataclass
class Pairs:
    """The catalogue's texts as tokens, and how two texts become one sequence."""

    items: Tokens  # [n_items]; an item without text is the one token "unknown"
    window: int  # tokens of a pair, special ones included
    cap: int  # tokens of an item
    tokenizer: Any
    frame: tuple[Int32, Int32, Int32]  # special tokens before, between and behind the two texts
    segments: tuple[int, int] | None  # of the first and the second text; None: the encoder has none
    between: Int32  # what stands between two items of a history
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, classifier: Classifier, texts: Sequence[str], window: int, item_tokens: int) -> Pairs:
        """The pairs of a catalogue.

        Raises:
            UserError: the window is longer than the encoder's, or too short for a history beside a candidate.
        """
        if window > classifier.window:
            raise UserError(f"window = {window}: this encoder reads {classifier.window} tokens at most.")
        frame, segments = _frame(classifier.tokenizer)
        if window - sum(map(len, frame)) < 2 * item_tokens:
            raise UserError(
                f"window = {window}: a candidate of item_tokens = {item_tokens} leaves no room for an item of history."
            )
        cut = _tokenise(classifier.tokenizer, list(texts))
        unknown = np.array([classifier.tokenizer.unk_token_id], np.int32)
        items = [tokens[:item_tokens] if len(tokens) else unknown for tokens in cut]
        counts = {
            "items_without_text": sum(not len(tokens) for tokens in cut),
            "items_cut": sum(len(tokens) > item_tokens for tokens in cut),
        }
        between = _tokenise(classifier.tokenizer, [";"])[0]
        return cls(items, window, item_tokens, classifier.tokenizer, frame, segments, between, counts)

    @property
    def room(self) -> int:
        """Tokens that a history may have."""
        return self.window - sum(map(len, self.frame)) - self.cap

    def histories(self, rows: Histories, marks: Sequence[Int32] | None = None) -> tuple[list[Int32], int]:
        """Each history's tokens, newest item first, and how many items did not fit.

        Args:
            marks: [len(rows.items)], tokens put before each item (the rating that it was given).
        """
        found, left_out = [], 0
        for row in range(len(rows)):
            parts: list[Int32] = []
            free, event = self.room, int(rows.indptr[row + 1]) - 1
            while event >= rows.indptr[row] and free > 0:
                mark = [marks[event]] if marks is not None else []
                one = np.concatenate([*mark, self.items[rows.items[event]], self.between])[:free]
                parts.append(one)
                free, event = free - len(one), event - 1
            left_out += event + 1 - int(rows.indptr[row])
            found.append(np.concatenate(parts).astype(np.int32) if parts else np.empty(0, np.int32))
        return found, left_out

    def words(self, texts: Sequence[str]) -> list[Int32]:
        """Free texts (requests) as tokens, their beginning where they do not fit."""
        return [tokens[: self.room] for tokens in _tokenise(self.tokenizer, list(texts))]

    def batch(self, lefts: Tokens, rights: Tokens, device: str) -> Batch:
        """Pairs as the encoder takes them, padded to the longest of them."""
        before, middle, behind = self.frame
        first = [len(before) + len(left) + len(middle) for left in lefts]
        sizes = [n + len(right) + len(behind) for n, right in zip(first, rights, strict=True)]
        ids = np.full((len(sizes), max(sizes)), self.tokenizer.pad_token_id, np.int64)
        kinds = np.zeros(ids.shape, np.int64)
        for row, (left, right) in enumerate(zip(lefts, rights, strict=True)):
            ids[row, : sizes[row]] = np.concatenate([before, left, middle, right, behind])
            if self.segments:
                kinds[row, : first[row]], kinds[row, first[row] : sizes[row]] = self.segments
        there = np.arange(ids.shape[1]) < np.array(sizes)[:, None]
        made = {"input_ids": ids, "attention_mask": there.astype(np.int64)}
        if self.segments:
            made["token_type_ids"] = kinds
        return {name: torch.from_numpy(array).to(device) for name, array in made.items()}


def pair_scores(model: Any, pairs: Pairs, lefts: Tokens, left_of: Int64, items: Int32, device: str) -> Floats:
    """The model's output for the pairs (``lefts[left_of[j]]``, ``items[j]``), float32 [len(items)].

    Sorted by length, padded to the batch, in inference mode; no score depends on what it was computed beside, up to
    rounding.
    """
    sizes = np.array([len(left) for left in lefts], np.int64)[left_of]
    sizes = sizes + np.array([len(pairs.items[item]) for item in items], np.int64)
    out = np.empty(len(items), np.float32)
    with torch.inference_mode(), first_token_alone(model):
        for rows in in_batches(sizes, AT_ONCE_ON_GPU if device.startswith("cuda") else AT_ONCE):
            batch = pairs.batch([lefts[left_of[j]] for j in rows], [pairs.items[items[j]] for j in rows], device)
            out[rows] = forward(model, batch).float().cpu().numpy()
    return out


AT_ONCE, AT_ONCE_ON_GPU = 2048, 131072
"""Tokens of a batch of scores: few enough for a CPU's cache, many enough to keep a GPU busy."""


def forward(model: Any, batch: Batch, mixed: bool = False) -> torch.Tensor:
    """One number a pair, [b]; in bf16 where asked to and the device is a GPU.

    Raises:
        torch.OutOfMemoryError: with the batch that did not fit, and what to do about it.
    """
    ids = batch["input_ids"]
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=mixed and ids.is_cuda):
            logits: torch.Tensor = model(**batch).logits
    except torch.OutOfMemoryError as error:
        raise torch.OutOfMemoryError(
            f"a batch of {ids.shape[0]} pairs of {ids.shape[1]} tokens does not fit ({str(error).splitlines()[0]}). "
            "Set at_once (pairs computed together while training) or window lower, or checkpointing = true."
        ) from None
    return logits.squeeze(-1).float()


def _tokenise(tokenizer: Any, texts: list[str]) -> list[Int32]:
    """Token ids without special ones; nothing is cut."""
    if not texts:
        return []
    found = tokenizer([text.strip() for text in texts], add_special_tokens=False, truncation=False, verbose=False)
    return [np.array(ids, np.int32) for ids in found["input_ids"]]


def _frame(tokenizer: Any) -> tuple[tuple[Int32, Int32, Int32], tuple[int, int] | None]:
    """The special tokens around two texts and the texts' segments, read off one pair."""
    told = tokenizer("a", "b", return_special_tokens_mask=True)
    ids, special = np.array(told["input_ids"], np.int32), np.array(told["special_tokens_mask"], bool)
    plain = np.flatnonzero(~special)
    gap = int(np.flatnonzero(np.diff(plain) > 1)[0])
    first, last = slice(plain[0], plain[gap] + 1), slice(plain[gap + 1], plain[-1] + 1)
    kinds = told.get("token_type_ids")
    segments = (int(kinds[first.start]), int(kinds[last.start])) if kinds is not None else None
    return (ids[: first.start], ids[first.stop : last.start], ids[last.stop :]), segments
