"""Training a GPT on item ids: gpt-semantic-id's own epochs beside transformers' GPT2LMHeadModel, unpacked and padded.

    python benchmarks/speed/gpt.py [--users 3000] [--rounds 3] [--threads 1] [--width 128]

Both sides train a GPT-2 of one size (2 layers, 4 heads, codes 2 x 256) on the histories of the first --users users of
amazon2014-beauty, 4,096 real tokens a step on average, clipped gradients, AdamW. The peer's batches are what a plain
DataLoader gives: rows in random order, padded to the longest. Counted are real target tokens per CPU second of whole
epochs; sides alternate, and the median round counts. That the losses are equal is shown on one set of weights: ours,
handed to the peer.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmrec import toy
from llmrec.context import Context
from llmrec.data import load
from llmrec.discover import load_method
from llmrec.gpt.model import to_gpt2
from llmrec.records import Protocol
from llmrec.split import make_split
from llmrec.types import Split

STEP = 4096  # real tokens


def problem(users: int) -> Split:
    """The first users' histories as a split of their own, on the items they took."""
    whole, _ = make_split(load("amazon2014-beauty"), Protocol(name="leave-one-out"))
    histories = whole.train.histories
    kept = [histories[user] for user in range(users)]
    items, flat = np.unique(np.concatenate(kept), return_inverse=True)
    rows = np.split(flat, np.cumsum([len(row) for row in kept])[:-1])
    return toy.leave_one_out([[*row.tolist(), 0, 0] for row in rows], len(items))  # the last two are not trained on


def ours(split: Split, width: int) -> tuple[Any, int, float]:
    """The fitted method, real tokens of an epoch, CPU seconds of its second epoch."""
    stamps: list[float] = []

    def emit(event: dict[str, Any]) -> None:
        if "epoch" in event:
            stamps.append(time.process_time())

    method: Any = load_method("gpt-semantic-id")(
        signal="random", codes=256, width=width, dropout=0.1, batch_tokens=STEP, epochs=2
    )
    method.fit(split, Context(seed=0, items=toy.items(split.n_items), emit=emit))
    return method, len(split.fit.histories.items) * method.length, stamps[1] - stamps[0]


def sequences(method: Any, split: Split) -> list[Tensor]:
    """Each user's newest window: the start token and the ids' tokens."""
    histories = split.fit.histories
    newest = (histories[row][-method.window :] for row in range(len(histories)))
    return [
        torch.cat([torch.zeros(1, dtype=torch.long), method.id_tokens[torch.tensor(row)].flatten()]) for row in newest
    ]


def padded(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    sizes = torch.tensor([len(row) for row in rows])
    return tokens, tokens.masked_fill(torch.arange(tokens.shape[1]) >= sizes[:, None], -100)


def theirs(method: Any, rows: list[Tensor], seed: int) -> tuple[int, float]:
    """Real tokens and CPU seconds of one epoch of the peer, which starts from our weights."""
    peer = to_gpt2(method.model).train()
    optimizer = torch.optim.AdamW(peer.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.1)
    at_once = max(1, round(STEP / statistics.mean(len(row) - 1 for row in rows)))
    order = np.random.default_rng(seed).permutation(len(rows))
    began = time.process_time()
    for start in range(0, len(order), at_once):
        tokens, labels = padded([rows[row] for row in order[start : start + at_once]])
        loss = peer(input_ids=tokens, attention_mask=(labels >= 0).long(), labels=labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimizer.step()
    return sum(len(row) - 1 for row in rows), time.process_time() - began


@torch.inference_mode()
def losses(method: Any, rows: list[Tensor]) -> tuple[float, float]:
    """The mean loss of a target on some rows: ours and the peer's with our weights."""
    tokens, labels = padded(rows)
    hidden = method.model.eval()(tokens[:, :-1])
    mine = torch.nn.functional.cross_entropy(method.model.logits(hidden).flatten(0, 1), labels[:, 1:].flatten())
    peer = to_gpt2(method.model).eval()(input_ids=tokens, attention_mask=(labels >= 0).long(), labels=labels)
    return mine.item(), peer.loss.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, default=128)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    split = problem(args.users)
    rates: dict[str, list[float]] = {"llmrec": [], "transformers": []}
    for number in range(args.rounds):
        method, tokens, seconds = ours(split, args.width)
        rates["llmrec"].append(tokens / seconds)
        rows = sequences(method, split)
        tokens, seconds = theirs(method, rows, number)
        rates["transformers"].append(tokens / seconds)
    mine, peers = losses(method, rows[:200])
    llmrec, transformers = (statistics.median(values) for values in rates.values())
    print(
        f"{args.users} users, width {args.width}, {args.threads} threads: transformers {transformers:,.0f}, "
        f"llmrec {llmrec:,.0f} target tokens per CPU second, ratio {llmrec / transformers:.2f}; "
        f"loss with the same weights {mine:.5f} and {peers:.5f}"
    )


if __name__ == "__main__":
    main()
