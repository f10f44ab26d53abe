"""Titles written within the catalogue: our beam search beside transformers' ``generate`` on the same model.

    python benchmarks/speed/titles.py [--beams 10 50] [--rounds 2] [--threads 2] [--model NAME] [--million]

10,000 titles of amazon2014-beauty, cut to 16 tokens; prompts are the titles of eight items. The model is a GPT-2 with
random weights (4 layers, 128 wide, 4,000 tokens of byte-pair encoding) unless one is named. Both sides must give the
same items and scores. ``--million`` builds the trie of a million titles, its own process's memory measured.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import psutil
import torch

from llmrec.lm.bpe import learn_bpe
from llmrec.lm.likelihood import tokenise
from llmrec.lm.loading import LanguageModel, load_language_model
from llmrec.lm.search import title_search, title_trie

USERS, TITLES, LONGEST, READ = 16, 10_000, 16, 8


def small(texts: list[str]) -> LanguageModel:
    """A GPT-2 whose scores differ between titles."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = learn_bpe(texts, 4000)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=512, n_embd=128, n_layer=4, n_head=4, initializer_range=0.08,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return LanguageModel("small", "random", GPT2LMHeadModel(config).eval(), tokenizer)


def distinct(lm: LanguageModel, texts: list[str], end: int) -> list[list[int]]:
    """The first titles that differ within their first tokens."""
    found = dict.fromkeys(tuple(t for t in ids if t != end)[:LONGEST] for ids in tokenise(lm, texts))
    return [list(ids) for ids in found if ids][:TITLES]


def transformers_side(lm: LanguageModel, titles: list[list[int]], end: int, prompts: list[list[int]], beams: int):
    """A function that runs ``generate`` -> (items [users, beams], scores [users, beams])."""
    longest = max(map(len, prompts))
    tokens = torch.tensor([[end] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    item_of = {(*title, end): item for item, title in enumerate(titles)}
    children: dict[tuple[int, ...], set[int]] = {}
    for row in item_of:
        for i in range(len(row)):
            children.setdefault(row[:i], set()).add(row[i])
    allowed = {prefix: sorted(some) for prefix, some in children.items()}

    def run() -> tuple[np.ndarray, np.ndarray]:
        out = lm.model.generate(
            tokens, attention_mask=mask, max_new_tokens=LONGEST + 1, num_beams=beams, num_return_sequences=beams,
            do_sample=False, length_penalty=0.0, early_stopping=False, eos_token_id=end, pad_token_id=end,
            prefix_allowed_tokens_fn=lambda _, ids: allowed.get(tuple(ids[longest:].tolist()), [end]),
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        written = out.sequences[:, longest:].tolist()
        items = [item_of[tuple([*row, end][: [*row, end].index(end) + 1])] for row in written]
        return np.array(items).reshape(-1, beams), out.sequences_scores.numpy().reshape(-1, beams)

    return run


def our_side(lm: LanguageModel, titles: list[list[int]], end: int, prompts: list[list[int]], beams: int):
    trie = title_trie(titles, end)
    return lambda: title_search(lm, trie, end, prompts, beams=beams)


def million() -> None:
    """Random titles of 3 to 16 tokens that share their beginnings as real ones do."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, LONGEST + 1, 1_000_000)
    drawn = (rng.zipf(1.3, (1_000_000, LONGEST)) % 4000 + 1).astype(np.int32)
    numbers = np.arange(1_000_000)
    drawn[:, 1], drawn[:, 2] = numbers // 4000 + 1, numbers % 4000 + 1  # no two alike
    titles = [row[:n].tolist() for row, n in zip(drawn, lengths.tolist(), strict=True)]
    process = psutil.Process()
    before, began = process.memory_info().rss, time.perf_counter()
    trie = title_trie(titles, 0)
    seconds, grown = time.perf_counter() - began, process.memory_info().rss - before
    print(f"{len(trie):,} titles: trie built in {seconds:.1f} s, {grown / 2**20:.0f} MiB kept")


def main() -> None:
    from llmrec.data import load

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beams", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--model", help="a model's name or folder, in place of the small GPT-2")
    parser.add_argument("--million", action="store_true", help="only build the trie of a million titles")
    args = parser.parse_args()
    if args.million:
        million()
        return
    torch.set_num_threads(args.threads)
    texts = list(load("amazon2014-beauty").items.titles)
    lm = load_language_model(args.model) if args.model else small(texts)
    end = lm.tokenizer.eos_token_id
    titles = distinct(lm, texts, end)
    rng = np.random.default_rng(0)
    prompts = [[t for i in rng.choice(len(titles), READ) for t in (*titles[i], end)] for _ in range(args.users)]
    print(f"{args.users} users, prompts of {min(map(len, prompts))} to {max(map(len, prompts))} tokens, {len(titles)} "
          f"titles, {lm.name}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for beams in args.beams:
        sides = {
            "generate": transformers_side(lm, titles, end, prompts, beams),
            "llmrec": our_side(lm, titles, end, prompts, beams),
        }
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for _ in range(args.rounds):
            for name, run in sides.items():
                began = time.process_time()
                answers[name] = run()
                seconds[name].append(time.process_time() - began)
        theirs, ours = answers["generate"], answers["llmrec"]
        same = float((theirs[0] == ours[0]).mean())
        apart = float(np.abs(theirs[1] - ours[1]).max())
        rates = {name: args.users / min(values) for name, values in seconds.items()}
        ratio = rates["llmrec"] / rates["generate"]
        print(f"{beams} beams: users per CPU s: generate {rates['generate']:.2f}, llmrec {rates['llmrec']:.2f}, ratio "
              f"{ratio:.1f}; same items {same:.2%}, scores within {apart:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
