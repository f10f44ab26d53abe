"""Constrained generation: our beam search beside transformers' ``generate`` on the same GPT, item by item.

    python benchmarks/speed/generate.py [--beams 50 10] [--rounds 3] [--threads 2] [--device cpu]

A GPT with random weights (4 layers, 128 wide) reads histories of 80 tokens of 32 users and writes ids of 4 tokens out
of 12,101; both sides must give the same items and scores. Sides alternate; each one's fastest round counts, for on a
busy machine the others measure the neighbours.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import torch

from llmrec.gpt.beam import beam_search
from llmrec.gpt.model import GPT, Shape, to_gpt2
from llmrec.gpt.trie import build_trie

USERS, HISTORY, ITEMS, LEVELS, CODES = 32, 80, 12_101, 4, 256


def problem(device: str) -> tuple[GPT, np.ndarray, torch.Tensor]:
    """A GPT whose scores differ between items, ids int32 [items, levels], histories [users, tokens]."""
    torch.manual_seed(0)
    model = GPT(Shape(1 + LEVELS * CODES, HISTORY + LEVELS, layers=4, heads=4, width=128)).to(device).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(4.0)  # fresh weights give nearly equal scores
    rng = np.random.default_rng(0)
    cells = rng.choice(CODES**LEVELS, ITEMS, replace=False)
    codes = np.stack([cells // CODES**level % CODES for level in range(LEVELS)], axis=1)
    ids = (codes + 1 + CODES * np.arange(LEVELS)).astype(np.int32)
    histories = ids[rng.integers(ITEMS, size=(USERS, HISTORY // LEVELS))].reshape(USERS, HISTORY)
    return model, ids, torch.from_numpy(histories.astype(np.int64)).to(device)


def transformers_side(model: GPT, ids: np.ndarray, histories: torch.Tensor, beams: int):
    """A function that runs ``generate`` -> (items [users, beams], scores [users, beams])."""
    peer = to_gpt2(model)
    children: dict[tuple[int, ...], list[int]] = {}
    item_of = {tuple(row): item for item, row in enumerate(ids.tolist())}
    for row in item_of:
        for level in range(LEVELS):
            children.setdefault(row[:level], []).append(row[level])
    children = {prefix: sorted(set(tokens)) for prefix, tokens in children.items()}

    def allowed(_: int, sequence: torch.Tensor) -> list[int]:
        return children[tuple(sequence[HISTORY:].tolist())]

    def run() -> tuple[np.ndarray, np.ndarray]:
        out = peer.generate(
            histories, attention_mask=torch.ones_like(histories), max_new_tokens=LEVELS, num_beams=beams,
            num_return_sequences=beams, do_sample=False, length_penalty=0.0, early_stopping=True,
            prefix_allowed_tokens_fn=allowed, pad_token_id=0, return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        items = [item_of[tuple(row)] for row in out.sequences[:, HISTORY:].tolist()]
        return np.array(items).reshape(USERS, beams), out.sequences_scores.cpu().numpy().reshape(USERS, beams)

    return run


def our_side(model: GPT, ids: np.ndarray, histories: torch.Tensor, beams: int):
    trie = build_trie(ids, device=histories.device)
    lengths = torch.full((USERS,), HISTORY, device=histories.device)

    def run() -> tuple[np.ndarray, np.ndarray]:
        items, scores = beam_search(model, trie, histories, lengths, beams=beams)
        return items.cpu().numpy(), scores.cpu().numpy()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beams", type=int, nargs="+", default=[50, 10])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{USERS} users, history {HISTORY} tokens, {ITEMS} items, {LEVELS} x {CODES} codes, {args.device}, "
          f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    model, ids, histories = problem(args.device)
    for beams in args.beams:
        sides = {
            "generate": transformers_side(model, ids, histories, beams),
            "llmrec": our_side(model, ids, histories, beams),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        sides["llmrec"]()  # the first call allocates; generate, many times as long, needs no warm-up
        answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for _ in range(args.rounds):
            for name, run in sides.items():
                began = time.perf_counter()
                answers[name] = run()
                seconds[name].append(time.perf_counter() - began)
        theirs, ours = answers["generate"], answers["llmrec"]
        same = float((theirs[0] == ours[0]).mean())
        apart = float(np.abs(theirs[1] - ours[1]).max())
        rates = {name: USERS / min(values) for name, values in seconds.items()}
        ratio = rates["llmrec"] / rates["generate"]
        print(f"{beams} beams: generate {rates['generate']:.1f} users/s, llmrec {rates['llmrec']:.1f} users/s, "
              f"ratio {ratio:.1f}; same items {same:.2%}, scores within {apart:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
