"""Has a pretrained model seen a dataset? It is asked to go on with titles and with lines of the ratings file.

After a few examples the model is given the first half of a title (or the user and item of a line) and

    exact   its likeliest next tokens are the rest of it, to the last one: what greedy writing would give
    first   the rest has a higher mean log-probability a token than the rests of nine other titles (lines): chance .1

``exact`` is what memory looks like. ``first`` far above chance is language as much as memory: "of the Lambs" goes with
"The Silence" for anyone who has read. (Di Palma et al., SIGIR 2025, ask for MovieLens-1M's lines in the same way.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec.errors import UserError
from llmrec.seeds import axis_rng

if TYPE_CHECKING:
    import polars as pl

    from llmrec.lm.loading import LanguageModel
    from llmrec.types import Floats

EXAMPLES = 5
"""Whole titles or lines in front of the one that is asked for, drawn anew each time."""

OTHERS = 9
"""Rests of other titles or lines that the right one is compared with."""


@dataclass(frozen=True)
class Share:
    """A count of so many, with its 95 % interval (Wilson, JASA 22, 1927)."""

    count: int
    of: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Completions:
    """What a model made of some beginnings."""

    exact: Share
    first: Share
    chance_of_first: float
    known: list[str]  # the first few that it completed exactly


def share(count: int, of: int) -> Share:
    """A share with its interval."""
    from scipy.stats import binomtest

    if of == 0:
        raise UserError("nothing to probe: no title of two words, or no line.")
    ends = binomtest(count, of).proportion_ci(method="wilson")
    return Share(count, of, count / of, float(ends.low), float(ends.high))


def halves(title: str) -> tuple[str, str] | None:
    """A title's first half of words (the larger one) and, with the blank before it, the rest; None of a single word."""
    words = title.split()
    if len(words) < 2:
        return None
    cut = (len(words) + 1) // 2
    return " ".join(words[:cut]), " " + " ".join(words[cut:])


def rating_lines(
    frame: pl.DataFrame, users: Sequence[str], items: Sequence[str], separator: str
) -> list[tuple[str, str]]:
    """The lines of a ratings file as (user and item, value and time), raw ids, in the file's own words as far as a
    table still knows them. ``frame`` is that of `llmrec.types.Interactions`."""
    made = []
    for user, item, value, time in frame.select("user", "item", "value", "time").iter_rows():
        end = [] if time is None else [str(time)]
        made.append((f"{users[user]}{separator}{items[item]}{separator}", separator.join([f"{value:g}", *end])))
    return made


def probe(lm: LanguageModel, pairs: Sequence[tuple[str, str]], n: int, seed: int = 0) -> Completions:
    """Ask for the second part of ``n`` of some pairs, drawn once.

    Raises:
        UserError: there are not enough pairs to draw examples and other rests from.
    """
    if len(pairs) < EXAMPLES + OTHERS + 1:
        raise UserError(f"{len(pairs)} titles or lines are too few to probe: {EXAMPLES + OTHERS + 1} are needed.")
    rng = axis_rng(seed, "probe")
    exact = first = 0
    known: list[str] = []
    chosen = rng.permutation(len(pairs))[:n]
    for one in chosen:
        begun, rest = pairs[one]
        rng_one = axis_rng(seed, "probe", int(one))  # what one is asked depends on no other
        drawn = rng_one.permutation(np.setdiff1d(np.arange(len(pairs)), [one]))
        before = "".join(f"{a}{b}\n" for a, b in (pairs[j] for j in drawn[:EXAMPLES]))
        others = list(dict.fromkeys(pairs[j][1] for j in drawn[EXAMPLES:] if pairs[j][1] != rest))[:OTHERS]
        greedy, means = _complete(lm, before + begun, [rest, *others])
        exact += greedy
        first += bool((means[0] > means[1:]).all())
        if greedy and len(known) < 10:
            known.append(begun + rest)
    return Completions(share(exact, len(chosen)), share(first, len(chosen)), 1 / (OTHERS + 1), known)


def _complete(lm: LanguageModel, prompt: str, rests: list[str]) -> tuple[bool, Floats]:
    """Whether the first rest is what greedy writing gives, and all rests' mean log-probabilities a token."""
    import torch

    from llmrec.lm.likelihood import tokenise
    from llmrec.lm.memory import Memory

    head, *tails = tokenise(lm, [prompt, *rests])
    with torch.inference_mode():
        memory = Memory(lm.model, [head[-(lm.context - max(map(len, tails))) :]])
        lengths = torch.tensor([len(tail) for tail in tails])
        owner = torch.repeat_interleave(torch.arange(len(tails)), lengths)
        depth = torch.cat([torch.arange(len(tail)) for tail in tails])
        sees = (owner[:, None] == owner) & (depth[:, None] >= depth)
        tokens = torch.tensor([token for tail in tails for token in tail])
        place = lm.model.device
        read = memory.read(tokens[None].to(place), depth[None].to(place), sees[None].to(place))[0].float().cpu()
        before = torch.cat([memory.following.float().cpu(), read])  # row 0: after the prompt; i + 1: after token i
        rows = torch.where(depth == 0, 0, torch.arange(len(tokens)))
        logits = before[rows]
        terms = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(1)
        means = torch.zeros(len(tails)).index_add(0, owner, terms) / lengths
        greedy = bool((logits[owner == 0].argmax(1) == tokens[owner == 0]).all())
    return greedy, means.numpy()


def as_json(
    dataset: str, lm: LanguageModel, seed: int, separator: str, found: dict[str, Completions]
) -> dict[str, Any]:
    """What is written beside a model's results."""
    return {
        "dataset": dataset, "model": lm.name, "revision": lm.revision, "parameters": lm.parameters, "seed": seed,
        "examples": EXAMPLES, "separator": separator, **{name: asdict(part) for name, part in found.items()},
    }  # fmt: skip
