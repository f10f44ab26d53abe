"""A request in words is answered by a pretrained language model, which also writes why: zero-shot, nothing is trained.

A first stage lists ``k`` items, and the language model puts them in order by how likely it finds

    request     log P(request | the item's text): query likelihood (Ponte and Croft, SIGIR 1998) by a language model
                that reads the item's text (UPR: Sachan et al., EMNLP 2022, arXiv 2204.07496)
    title       log P(title | request) - ``calibrate`` log P(title | no request), each a mean over the title's tokens

Both are brought to mean 0 and deviation 1 over a request's list, and so are the first stage's scores, which have the
weight 1 - ``weight``: 1 is the language model alone. "first-stage" keeps the order that the first stage gave. What it
does not list cannot be found: ``first_stage_found`` of ``first_stage_targets`` is the ceiling of recall.

For ``explained`` pairs of a request and an item (the ``top`` best of requests drawn by a hash of their words, the same
for all methods and seeds) a sentence says why: written by the model token by token, or by a template. The request task
has no users, so a training user is drawn for each request, whose ``liked`` newest liked items are told: they shape the
sentence, not the list. Everything that the sentence states and the data can tell is checked (`llmrec.lm.facts`):

    explanations, explanations_with_fact, explanations_all_true (of those with a fact), explanations_naming_item
    (the recommended one)
    facts, facts_true, and both by kind: facts_title, facts_category, facts_year, facts_liked

A true sentence is not yet a good reason: whether it convinces is not measured.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmrec.bert.stage import FirstStage
from llmrec.errors import UserError, nearest
from llmrec.lm.explain import by_model, by_template
from llmrec.lm.facts import Checker, Known
from llmrec.lm.likelihood import score_continuations, tokenise
from llmrec.lm.loading import LanguageModel, load_language_model
from llmrec.lm.names import Item
from llmrec.lm.untrained import UNTRAINED, untrained
from llmrec.method import tune
from llmrec.parts import fit_part, read_part
from llmrec.types import NO_ITEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmrec.context import Context
    from llmrec.types import Floats, Int32, Split

ORDERS = ("request", "title", "first-stage")
EXPLANATIONS = ("none", "template", "model")
ITEM_PROMPT = "{text}\nSomeone who asks for this is looking for"
REQUEST_PROMPT = "I am looking for {text}.\nA good answer is"
NO_REQUEST = "something"
ROOM = 64  # tokens of the context that are kept for what follows an item's text


@dataclass
class GptRequest:
    """A pretrained language model orders the items for a request by likelihood and writes a sentence that says why."""

    family: ClassVar[str] = "gpt"
    seeded: ClassVar[bool] = False
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {
        "model": "untrained", "first_stage": {"method": "tfidf", "params": {}, "k": 10}, "weight": 0.1,
        "explanation": "model", "explained": 2, "top": 1, "sentence_tokens": 8,
    }  # fmt: skip

    model: str = "SmolLM2-135M-Instruct"  # or a folder, a hub name, "untrained" (a control)
    first_stage: dict[str, Any] = field(  # k: how many items it lists
        default_factory=lambda: {"method": "bert-biencoder", "params": {}, "k": 20}
    )
    order: str = tune("request", choices=("request", "title", "first-stage"))
    weight: float = tune(0.3, low=0.0, high=1.0)  # of the language model beside the first stage
    calibrate: float = tune(1.0, low=0.0, high=1.0)  # of "title"
    # sentences
    explanation: str = "none"  # one of EXPLANATIONS
    explained: int = 200  # pairs of a request and an item
    top: int = 4  # items of a request
    liked: int = 3  # titles that the user liked; 0: nothing is known of a user
    sentence_tokens: int = 48  # at most
    example: bool = True  # an invented item and its sentence are shown to the model first

    def __post_init__(self) -> None:
        for name, known in (("order", ORDERS), ("explanation", EXPLANATIONS)):
            if (given := getattr(self, name)) not in known:
                raise UserError(
                    f"gpt-request: {name} = {given!r}, expected one of {', '.join(known)}.{nearest(given, known)}"
                )
        if not 0 <= self.weight <= 1:
            raise UserError(f"gpt-request: weight = {self.weight}, expected a number from 0 to 1.")
        if min(self.explained, self.liked) < 0 or min(self.top, self.sentence_tokens) < 1:
            raise UserError("gpt-request: explained and liked start at 0, top and sentence_tokens at 1.")

    def fit(self, split: Split, ctx: Context) -> None:
        """Nothing is trained but the first stage."""
        part = read_part(self.first_stage, "gpt-request: parameter 'first_stage'", ("search",), also=("k",))
        depth = int(self.first_stage.get("k", 20))
        self.stage = FirstStage(fit_part(part, "first_stage", split, ctx), depth, split)
        if ctx.validate is not None and split.requests:
            ctx.counts |= self.stage.ceiling(split)
        self.ctx, self.titles = ctx, ctx.items.titles
        self.lm = self._load(ctx) if self.order != "first-stage" or self.explanation == "model" else None
        self.network = self.lm.model if self.lm is not None else None
        self.alone: dict[int, float] = {}  # item -> its title's likelihood without a request
        self.to_explain: dict[str, list[int]] = {}  # request -> what a drawn user liked, newest first
        if self.explanation != "none" and split.requests:
            self.known = list(map(Item, self.titles, ctx.items.categories))
            self.checker = Checker(self.titles, [label for item in self.known for label in item.categories])
            self._draw(split)

    def _load(self, ctx: Context) -> LanguageModel:
        lm = untrained(0, ctx.device) if self.model == UNTRAINED else load_language_model(self.model, ctx.device)
        ctx.models[self.model] = lm.revision
        return lm

    def _draw(self, split: Split) -> None:
        """Requests of the test and users, by a hash of the request's words; the answers play no part."""
        events = split.fit.frame
        if split.liked is not None:
            events = events.filter(events["value"] >= split.liked)
        liked = dict(events.group_by("user", maintain_order=True).agg("item").iter_rows())
        users = sorted(user for user, items in liked.items() if len(items) > self.liked)
        for text in sorted(set(split.requests["test"].texts), key=_hash)[: -(-self.explained // self.top)]:
            drawn = liked[users[_hash(text) % len(users)]] if users and self.liked else []
            self.to_explain[text] = drawn[::-1]

    def search(self, texts: Sequence[str], k: int) -> tuple[Int32, Floats]:
        asked = list(dict.fromkeys(texts))
        items, scores = self._in_order(asked, k)
        self._explain(asked, items)
        places = [asked.index(text) for text in texts]
        return items[places], scores[places]

    def _in_order(self, texts: list[str], k: int) -> tuple[Int32, Floats]:
        """The first stage's items in the language model's order: ids and scores [n, k]."""
        listed, given = (np.asarray(found) for found in self.stage.method.search(texts, self.stage.k))
        scores = np.full(listed.shape, -np.inf)
        there = listed != NO_ITEM
        said = None if self.order == "first-stage" else self._likelihoods(texts, listed)
        for row, real in enumerate(there):
            scores[row, real] = given[row, real]
            if said is not None:
                own = _standard(said[row, real])
                scores[row, real] = self.weight * own + (1 - self.weight) * _standard(given[row, real])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        out = np.full((len(texts), k), NO_ITEM, np.int32), np.full((len(texts), k), -np.inf)
        out[0][:, : order.shape[1]] = np.take_along_axis(listed, order, 1)
        out[1][:, : order.shape[1]] = np.take_along_axis(scores, order, 1)
        return out

    def _likelihoods(self, texts: list[str], listed: Int32) -> Floats:
        """What the language model says of each listed item, float64 [n, depth]; 0 where there is none."""
        out = np.zeros(listed.shape)
        rows, places = np.nonzero(listed != NO_ITEM)
        items = listed[rows, places]
        if self.order == "title":
            prompts = [REQUEST_PROMPT.format(text=text) for text in texts]
            found = self._title_likelihoods(prompts, [row[row != NO_ITEM].tolist() for row in listed])
            out[rows, places] = np.concatenate([*found, np.empty(0)])
            if self.calibrate:
                out[rows, places] -= self.calibrate * self._without_request(items)
            return out
        assert self.lm is not None
        different, which = np.unique(items, return_inverse=True)
        order = np.argsort(which, kind="stable")  # by item: its text is read once for all requests that list it
        ends = np.cumsum(np.bincount(which, minlength=len(different)))
        prompts_of = [ITEM_PROMPT.format(text=self.ctx.items.frame["text"][int(item)]) for item in different]
        asked = tokenise(self.lm, [f" {text}" for text in texts])
        room = self.lm.context - max([ROOM, *map(len, asked)])
        read = [tokens[-room:] for tokens in tokenise(self.lm, prompts_of)]
        wanted = [[asked[row] for row in rows[some]] for some in np.split(order, ends[:-1])] if len(items) else []
        scored = score_continuations(self.lm, read, wanted)
        said = np.empty(len(items))
        said[order] = np.concatenate([*scored, np.empty(0)])
        out[rows, places] = said
        return out

    def _title_likelihoods(self, prompts: list[str], items: list[list[int]]) -> list[Floats]:
        """Mean log-probability of a token of each title after its prompt."""
        assert self.lm is not None
        names = [[f" {self.titles[item].strip() or '?'}" for item in some] for some in items]
        tokens = [tokenise(self.lm, titles) for titles in names]
        room = self.lm.context - max([ROOM, *(len(title) for some in tokens for title in some)])
        read = [prompt[-room:] for prompt in tokenise(self.lm, prompts)]
        scored = score_continuations(self.lm, read, tokens)
        return [
            sums / np.array([len(title) for title in titles] or [1])
            for sums, titles in zip(scored, tokens, strict=True)
        ]  # fmt: skip

    def _without_request(self, items: Int32) -> Floats:
        new = sorted(set(items.tolist()) - self.alone.keys())
        some = [new[start : start + 16] for start in range(0, len(new), 16)]  # one prompt for several titles
        said = self._title_likelihoods([REQUEST_PROMPT.format(text=NO_REQUEST)] * len(some), some)
        self.alone |= dict(zip(new, np.concatenate([*said, np.empty(0)]).tolist(), strict=True))
        return np.array([self.alone[int(item)] for item in items])

    def _explain(self, texts: list[str], items: Int32) -> None:
        """Write, check, count and hand over the sentences of requests that are to be explained, each once."""
        pairs, known = [], []
        for text, row in zip(texts, items, strict=True):
            liked = self.to_explain.pop(text, None)
            for item in row[row != NO_ITEM][: self.top].tolist() if liked is not None else ():
                told = [self.known[other] for other in liked or () if other != item][: self.liked]
                pairs.append((text, item))
                known.append(Known(self.known[item], told, text))
        if not pairs:
            return
        began = time.process_time()
        sentences, tokens = [by_template(one) for one in known], 0
        if self.explanation == "model":
            assert self.lm is not None
            sentences, tokens = by_model(self.lm, known, self.sentence_tokens, self.example)
        counts = Counter({"explanation_tokens": tokens})
        counts["explanation_cpu_ms"] = round(1000 * (time.process_time() - began))
        for (text, item), one, sentence in zip(pairs, known, sentences, strict=True):
            facts = self.checker.facts(sentence, one)
            counts.update(["explanations", *["explanations_with_fact"] * bool(facts)])
            counts["explanations_naming_item"] += any(f.kind == "title" and f.of == one.item.title for f in facts)
            counts["explanations_all_true"] += bool(facts) and all(fact.true for fact in facts)
            for fact in facts:
                counts.update(
                    [f"facts{of}{so}" for of in ("", f"_{fact.kind}") for so in ("", "_true")[: 1 + fact.true]]
                )
            self.ctx.log(
                "explanation",
                request=text, item=self.ctx.items.frame["raw_id"][item], title=one.item.title,
                liked="; ".join(item.name for item in one.liked), sentence=sentence,
                facts="; ".join(f"{'true' if f.true else 'FALSE'} {f.kind} {f.said}" for f in facts),
            )  # fmt: skip
        for name, count in counts.items():
            self.ctx.counts[name] = self.ctx.counts.get(name, 0) + count


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _standard(values: Floats) -> Floats:
    """Values at mean 0 and deviation 1; equal ones are 0."""
    rest = values.astype(np.float64) - values.mean() if len(values) else values.astype(np.float64)
    spread = rest.std() if len(rest) else 0.0
    result: Floats = rest / spread if spread > 0 else rest
    return result
