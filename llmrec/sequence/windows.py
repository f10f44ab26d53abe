"""Histories as batches for training, and as the question when users are asked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from llmrec.types import Histories


def shifted_windows(
    histories: Histories, length: int, batch_size: int, rng: np.random.Generator, device: str = "cpu"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows in random order: inputs and targets, int64 [b, t] with b <= batch_size and t <= length.

    The target of a place is the item that follows its input; the first input of a history is the start token
    ``n_items``. Windows are padded on the right: the target of padding is -1, its input anything. A history is cut at a
    random place into as few windows as hold it, so that each of its items is a target exactly once an epoch. (A method
    that hides items in place of shifting them takes the targets alone: they are the windows' items.)
    """
    lengths = histories.lengths[histories.lengths > 0]
    ends = np.cumsum(lengths + 1)  # each history with a start token before it
    tokens = np.full(ends[-1] + 1, histories.n_items)
    tokens[np.arange(len(histories.items)) + np.repeat(np.arange(1, len(lengths) + 1), lengths)] = histories.items
    windows = -(-lengths // length)  # of each history
    shift = rng.integers(0, windows * length - lengths + 1)  # by which the first window is shorter
    row = np.repeat(np.arange(len(lengths)), windows)
    place = (np.arange(len(row)) - np.repeat(np.cumsum(windows) - windows, windows)) * length - shift[row]
    begin = (ends - lengths - 1)[row] + np.maximum(place, 0)
    sizes = np.minimum(place + length, lengths[row]) - np.maximum(place, 0)
    order = rng.permutation(len(row))
    for start in range(0, len(order), 8 * batch_size):  # batches of like lengths: little padding
        some = order[start : start + 8 * batch_size]
        order[start : start + 8 * batch_size] = some[np.argsort(sizes[some], kind="stable")]
    for start in range(0, len(order), batch_size):
        some = order[start : start + batch_size]
        steps = np.arange(sizes[some].max())
        there = steps < sizes[some, None]
        source = np.where(there, begin[some, None] + steps, 0)
        yield (
            torch.from_numpy(tokens[source]).to(device),
            torch.from_numpy(np.where(there, tokens[source + 1], -1)).to(device),
        )


def question(histories: Histories, length: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """The newest ``length`` items of each history, after a start token where there is room for one.

    Returns:
        ids int64 [b, t], aligned on the left with anything behind the end, t <= length, and the place of each row's
        newest id, int64 [b]: the state there says what is expected next.
    """
    newest = histories.last(length, pad=histories.n_items)  # [b, length], right-aligned after start tokens
    sizes = np.minimum(histories.lengths + 1, length)  # with one start token where there is room
    steps = np.arange(sizes.max())
    left_aligned = np.minimum(length - sizes[:, None] + steps, length - 1)  # behind the end: anything
    ids = np.take_along_axis(newest, left_aligned, 1).astype(np.int64)
    return torch.from_numpy(ids).to(device), torch.from_numpy(sizes - 1).to(device)
