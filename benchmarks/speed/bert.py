"""Encoders against sentence-transformers: pairs scored a second, float32 and int8, and texts embedded a second.

    python benchmarks/speed/bert.py [--pairs 480] [--texts 512] [--threads 1] [--window 128] [--repeats 3]
        [--impressions mind-mini]

The same weights (all-MiniLM-L6-v2; the pair's output is random, which costs the same), the same texts, the same tokens.
Pairs are of mixed length, as rerankers meet them: histories of 0 to 20 titles, each beside 20 candidates. CrossEncoder
gets the histories as strings, cut to the same tokens, and scores 32 pairs at a time, its default. Both take turns, and
the median of the turns counts, in CPU seconds: others' load does not. Scores must be equal within 1e-4.

Methods read both without padding (`llmrec.packed`); "padded" is the eager model in padded batches of like length, as on
a GPU. BERT.md beside this file says what else was tried, and why.
Texts have the bars 1.0 times encode, and 1.5 times padded batches through ONNX Runtime.

``--impressions`` fine-tunes the cross-encoder for a short while on a dataset's clicks and measures ndcg@10 of its
validation impressions as it is and in int8: what eight bits lose.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from llmrec.types import Histories

WORDS = [
    "the", "a", "of", "in", "with", "new", "day", "life", "love", "night", "world", "story", "last", "man", "house",
    "time", "city", "river", "king", "lost", "little", "great", "dark", "war", "secret", "return", "summer", "winter",
    "children", "garden", "light", "red", "blue", "morning", "dream", "road", "home", "heart", "sea", "stone", "fire",
]  # fmt: skip


def titles(n: int, rng: np.random.Generator, longest: int = 24) -> list[str]:
    """Texts of 2 to ``longest`` words."""
    return [" ".join(rng.choice(WORDS, rng.integers(2, longest + 1))) for _ in range(n)]


def median_seconds(turns: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Median CPU seconds of each, taken in turns; each was called before."""
    seconds: list[list[float]] = [[] for _ in turns]
    for _ in range(repeats):
        for one, turn in zip(seconds, turns, strict=True):
            began = time.process_time()
            turn()
            one.append(time.process_time() - began)
    return [statistics.median(one) for one in seconds]


def pairs(options: argparse.Namespace) -> None:
    """Pairs a second: ours, in int8, and CrossEncoder.predict."""
    from sentence_transformers import CrossEncoder

    from llmrec import toy
    from llmrec.bert.classifier import load_classifier
    from llmrec.bert.int8 import in_int8
    from llmrec.bert.packed import pair_scores
    from llmrec.bert.pairs import Pairs
    from llmrec.context import Context
    from llmrec.discover import load_method

    rng = np.random.default_rng(0)
    texts = titles(max(20, options.pairs // 2), rng)
    ctx = Context(seed=0, items=toy.items(1))
    found = load_classifier(load_method("bert-crossencoder")(window=options.window), ctx)
    n_users = max(1, options.pairs // 20)
    lengths = rng.integers(0, 21, n_users)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    histories = Histories(indptr, rng.integers(0, len(texts), indptr[-1]).astype(np.int32), len(texts))
    left_of = np.repeat(np.arange(n_users), 20)
    items = rng.integers(0, len(texts), len(left_of)).astype(np.int32)

    def ours(model: Any) -> Any:
        made = Pairs.of(found, texts, options.window, 32)  # tokenising counts, as it does for the peer
        return pair_scores(model, made, made.histories(histories)[0], left_of, items)

    cut = Pairs.of(found, texts, options.window, 32)
    lefts, _ = cut.histories(histories)
    told = [found.tokenizer.decode(lefts[j]) for j in range(n_users)]
    given = [(told[j], texts[i]) for j, i in zip(left_of, items, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        found.model.save_pretrained(folder)
        found.tokenizer.save_pretrained(folder)
        peer = CrossEncoder(folder, device="cpu", max_length=options.window)
    quick = in_int8(found.model)

    def predict() -> Any:
        return peer.predict(given, activation_fn=__import__("torch").nn.Identity(), show_progress_bar=False)

    scores, said, coarse = ours(found.model), predict(), ours(quick)
    apart = float(np.abs(scores - said).max())
    lost = float(np.corrcoef(scores, coarse)[0, 1])
    print(
        f"{len(items)} pairs, largest difference of scores {apart:.1e} (their deviation: {scores.std():.1e})",
        flush=True,
    )
    print(f"int8 and float32 scores correlate by {lost:.4f}")
    if apart > 1e-4:
        sys.exit("the scores differ: the comparison means nothing")
    turns = {
        "CrossEncoder.predict": predict,
        "float32": lambda: ours(found.model),
        "int8": lambda: ours(quick),
    }
    taken = median_seconds(list(turns.values()), options.repeats)
    for name, seconds in zip(turns, taken, strict=True):
        bar = "" if name == "CrossEncoder.predict" else f" (bar {2.5 if 'int8' in name else 1.3})"
        print(f"{name}: {len(items) / seconds:.1f} pairs/s, {taken[0] / seconds:.2f} times predict{bar}", flush=True)


def texts(options: argparse.Namespace) -> None:
    """Texts a second: ours and SentenceTransformer.encode."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    from llmrec import reading
    from llmrec.bert.onnx import read
    from llmrec.encoders import DEFAULT, find_encoder, tokenizer_of

    encoder = find_encoder(DEFAULT)
    made = sorted(set(titles(options.texts, np.random.default_rng(1), 40)))
    vectors: dict[str, Any] = {}

    def ours() -> None:
        vectors["ours"] = reading.read(made, encoder, "cpu").vectors

    def theirs() -> None:
        peer = SentenceTransformer(str(encoder.folder), device="cpu")
        vectors["theirs"] = peer.encode(made, normalize_embeddings=True, show_progress_bar=False)

    def padded() -> None:
        tokenizer, model = tokenizer_of(encoder), AutoModel.from_pretrained(encoder.folder, use_safetensors=True)
        ids = tokenizer(made, truncation=True, max_length=256)["input_ids"]
        vectors["padded"] = reading._padded(model.eval(), [np.array(one, np.int32) for one in ids], 0, False, "cpu")

    def onnx(precision: str) -> None:
        vectors[f"ONNX {precision}"] = read(made, encoder, precision).vectors

    turns = {
        "SentenceTransformer.encode": theirs,
        "ours": ours,
        "padded": padded,
        "ONNX float32": lambda: onnx("float32"),
        "ONNX int8": lambda: onnx("int8"),
    }
    for turn in turns.values():
        turn()
    taken = median_seconds(list(turns.values()), options.repeats)
    print(f"{len(made)} texts, each side with loading the weights")
    for name, seconds in zip(turns, taken, strict=True):
        cosine = float((vectors.get(name, vectors["theirs"]) * vectors["theirs"]).sum(1).min())
        ratios = f"{taken[0] / seconds:.2f} times encode, {taken[2] / seconds:.2f} times padded batches"
        print(f"{name}: {len(made) / seconds:.1f} texts/s, {ratios}, least cosine {cosine:.6f}", flush=True)


def loss_of_int8(options: argparse.Namespace) -> None:
    """ndcg@10 and auc of validation impressions, float32 and int8, after a short fine-tuning."""
    from llmrec.bert.int8 import in_int8
    from llmrec.context import Context
    from llmrec.data import load
    from llmrec.discover import load_method
    from llmrec.records import Protocol
    from llmrec.split import make_split
    from llmrec.tasks import impressions as task

    split, items = make_split(load(options.impressions), Protocol(name="impressions", fit_data="train"), "impressions")
    method = load_method("bert-crossencoder")(
        layers=4, depth="last", last=2, window=64, item_tokens=20, clicks=300, examples=0, negatives=2, batch_size=48,
        at_once=48, epochs=1, learning_rate=1e-4,
    )  # fmt: skip
    method.fit(split, Context(seed=0, items=items, epochs=1))
    whole = task.validate(method, split)
    method.scorer.model = in_int8(method.scorer.model)
    small = task.validate(method, split)
    for name in ("ndcg@10", "auc"):
        print(f"{options.impressions} {name}: float32 {whole[name]:.4f}, int8 {small[name]:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("pairs", 480), ("texts", 512), ("threads", 1), ("window", 128), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--impressions", default="")
    options = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads):  # before anything reads it
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
        os.execv(sys.executable, [sys.executable, "-P", str(Path(__file__).resolve()), *sys.argv[1:]])
    import torch

    torch.set_num_threads(options.threads)
    pairs(options)
    texts(options)
    if options.impressions:
        loss_of_int8(options)


if __name__ == "__main__":
    main()
