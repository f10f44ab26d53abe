"""A language model that was not trained for it puts a first stage's candidates in order, zero-shot or with a few
examples (LLMRank: Hou et al., ECIR 2024, arXiv 2305.08845; the yes-or-no question is TALLRec's: Bao et al., RecSys
2023, whose model is fine-tuned for it, which this one is not).

    likelihood  log P(title | history) less ``calibrate`` times log P(title | none), over tokens ** ``length_power``
    yes-no      log P(Yes) - log P(No) to "Would I like X?", less ``calibrate`` times the same without a history
    pairwise    which of two? asked from the list's end to its start, ``passes`` times: a bubble sort whose number of
                questions is known beforehand (Qin et al., NAACL 2024 Findings, arXiv 2306.17563), in both orders
    list        the model writes the order, which is read line by line; what it leaves out follows as it stood
    random      no question: the candidates in random order, the control

The model runs in this process (a name, a folder), or behind an OpenAI-compatible endpoint. A user of whom a request
failed, or whose reply cannot be read, keeps the first stage's order and is counted. What the first stage does not list
cannot be recommended: ``first_stage_found`` of ``first_stage_targets`` is the ceiling of recall.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from llmrec.bert.stage import FirstStage, on_some_users
from llmrec.errors import UserError, nearest
from llmrec.lm.asking import Asked, Local
from llmrec.lm.bias import Bias
from llmrec.lm.endpoint import Endpoint, Terms
from llmrec.lm.loading import load_language_model
from llmrec.lm.orders import bubbled, by_reply, shuffled
from llmrec.lm.prompts import A_B, YES_NO, Shot, Wording
from llmrec.lm.untrained import UNTRAINED, untrained
from llmrec.parts import fit_part, read_part
from llmrec.types import NO_ITEM, Generated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmrec.context import Context
    from llmrec.lm.orders import Order
    from llmrec.types import Floats, Int32, Split, Users

SCORINGS = ("likelihood", "yes-no", "pairwise", "list", "random")
SHOWN = ("shuffled", "first-stage", "reversed")
USERS_AT_ONCE = 8
REPLY_TOKENS = 24  # for each candidate of a list


@dataclass
class GptRank:
    """A pretrained language model orders a first stage's candidates: by likelihood, yes/no, pairs or a written list."""

    family: ClassVar[str] = "gpt"
    early_stops: ClassVar[bool] = True  # nothing is trained; validation asks ``validation_users`` users, and not all
    needs_text: ClassVar[bool] = True
    quick: ClassVar[dict[str, Any]] = {
        "model": "untrained", "first_stage": {"method": "tfidf", "params": {}, "k": 4}, "history": 3,
        "validation_users": 4,
    }  # fmt: skip

    model: str = "SmolLM2-135M-Instruct"  # or a folder, a hub name, the endpoint's name of it, "untrained" (a control)
    endpoint: dict[str, Any] = field(default_factory=dict)  # {url, key_variable, ...}, see llmrec.lm.endpoint.Terms
    first_stage: dict[str, Any] = field(  # k: how many items it lists
        default_factory=lambda: {"method": "decayed-transitions", "params": {}, "k": 20}
    )
    scoring: str = "likelihood"  # one of SCORINGS
    # the prompt
    template: str = "sequential"  # one of llmrec.lm.prompts.TEMPLATES
    chat: bool = True  # the model's chat template, where it has one (an endpoint's likelihoods are always plain)
    thing: str = "movie"  # what an item is called
    did: str = "watched"  # and what users did with it
    history: int = 10  # newest items that are told
    title_length: int = 100  # characters of a title, cut at a blank
    shots: int = 0  # examples from training users, of likelihood and yes-no
    # likelihood and yes-no
    calibrate: float = 1.0  # 0: as the model says it
    length_power: float = 1.0  # of likelihood; 0: the whole title's, 1: a token's
    # pairwise and list
    shown: str = "shuffled"  # in which order the candidates are shown: one of SHOWN
    passes: int = 1  # of pairwise
    bias_users: int = 50  # users asked in a second order, too, to see what the order decides
    # how much is asked
    validation_users: int = 50  # drawn once; 0: all

    def __post_init__(self) -> None:
        for name, known in (("scoring", SCORINGS), ("shown", SHOWN)):
            if (given := getattr(self, name)) not in known:
                raise UserError(
                    f"gpt-rank: {name} = {given!r}, expected one of {', '.join(known)}.{nearest(given, known)}"
                )
        if self.shots and self.scoring not in ("likelihood", "yes-no"):
            raise UserError(f"gpt-rank: shots are for likelihood and yes-no, not for scoring = {self.scoring!r}.")
        if min(self.history, self.passes, self.title_length) < 1 or min(self.shots, self.bias_users) < 0:
            raise UserError("gpt-rank: history, passes and title_length start at 1, shots and bias_users at 0.")
        self.wording = Wording(self.template, self.thing, self.did)
        self.terms = Terms.read(self.endpoint, "gpt-rank: parameter 'endpoint'") if self.endpoint else None

    def fit(self, split: Split, ctx: Context) -> None:
        """Nothing is trained but the first stage."""
        part = read_part(self.first_stage, "gpt-rank: parameter 'first_stage'", ("score", "generate"), also=("k",))
        self.stage = FirstStage(fit_part(part, "first_stage", split, ctx), int(self.first_stage.get("k", 20)), split)
        self.ctx, self.seed = ctx, ctx.seed_for("candidates")
        self.titles = [
            _shown_title(*pair, self.title_length) for pair in zip(ctx.items.titles, ctx.items.texts, strict=True)
        ]
        self.asked = self._ask_whom(ctx)
        self.examples = self.wording.shown(self._shots(split, ctx), self.scoring)
        self.alone: dict[int, Floats] = {}  # item -> what is said of it without a history
        self.bias = Bias()
        self.counted: dict[str, int] = {}
        test = split.asked.get("test", np.empty(0, np.int32))
        self.twice = set(test[ctx.rng("second order").permutation(len(test))[: self.bias_users]].tolist())
        self.validating = True
        if ctx.validate is not None:
            ctx.counts |= self.stage.ceiling(split)
            some = on_some_users(ctx.validate, split, ctx, self.validation_users)
            ctx.log("fit", epoch=1, epochs=1, **{ctx.watched: some(self)[ctx.watched]})
        ctx.chosen_epochs = 1
        self.validating = False
        self._rehearse(split)

    def _ask_whom(self, ctx: Context) -> Asked | None:
        if self.scoring == "random":
            return None
        if self.terms is not None:
            return Endpoint(self.model, self.terms)
        if self.model == UNTRAINED:
            lm = untrained(ctx.seed_for("initialisation"), ctx.device)
        else:
            lm = load_language_model(self.model, ctx.device)
        ctx.models[self.model] = lm.revision
        self.network = lm.model
        return Local(lm, self.chat)

    def _rehearse(self, split: Split) -> None:
        """Replay: go through all users first, to say how many answers are missing before anything is measured."""
        if not isinstance(self.asked, Endpoint) or not self.asked.replay:
            return
        for users, _ in split.batches("test", 256):
            self.generate(users, 1, split.mask_history)
        if missing := self.asked.tally.missing:
            raise UserError(
                f"replay: {missing} of {self.asked.tally.requests} responses of {self.model!r} are missing in "
                f"{self.asked.responses.folder}" + (", at least" if self.scoring == "pairwise" else "")
                + ". Run it without --replay, or name the folder that has them: --responses DIR."
            )  # fmt: skip
        self.asked.tally = type(self.asked.tally)()

    def _shots(self, split: Split, ctx: Context) -> list[Shot]:
        """Examples from training users with at least two items: their last item came next."""
        if not self.shots:
            return []
        histories, rng = split.fit.histories, ctx.rng("shots")
        users = np.flatnonzero(histories.lengths > 1)
        made = []
        for user in rng.permutation(users)[: self.shots]:
            items = histories[user]
            others = np.setdiff1d(np.flatnonzero(split.candidates), items)
            other = int(rng.choice(others)) if len(others) else int(items[0])
            before = [self.titles[item] for item in items[:-1][-self.history :]]
            made.append(Shot(before, self.titles[items[-1]], self.titles[other]))
        return made

    def generate(self, users: Users, k: int, exclude: bool) -> Generated:
        listed = self.stage.lists(users, exclude)
        items = np.full((len(users), k), NO_ITEM, np.int32)
        scores = np.full((len(users), k), -np.inf, np.float64)
        counts = np.zeros((4, len(users)), np.int32)  # invalid, duplicate, out of the catalogue, written
        for start in range(0, len(users), USERS_AT_ONCE):
            rows = range(start, min(start + USERS_AT_ONCE, len(users)))
            lists = [listed[row][listed[row] != NO_ITEM].tolist() for row in rows]
            told = [self._told(users.histories[row], lists[row - start]) for row in rows]
            made = self._orders([int(users.ids[row]) for row in rows], told, lists)
            for row, one, candidates in zip(rows, made, lists, strict=True):
                order = one.places[:k]
                items[row, : len(order)] = [candidates[place] for place in order]
                scores[row, : len(order)] = one.scores[:k]
                counts[:, row] = one.invalid, one.duplicate, one.unknown, one.written
        self._keep_counts()
        return Generated(items, scores, *counts)

    def _told(self, history: Int32, candidates: list[int]) -> list[str]:
        """The newest items' titles, oldest first; the oldest are left out of a prompt over the model's context."""
        titles = [self.titles[item] for item in history[-self.history :]]
        if self.asked is None:
            return titles
        answer = self._longest_question([self.titles[item] for item in candidates])
        while titles and not self.asked.room(self._opening(titles), answer):
            titles = titles[1:]
            self._note(dropped_history=1)
        return titles

    def _longest_question(self, titles: list[str]) -> str:
        """The longest text that goes behind a user's history, with its answer."""
        longest = max(titles, key=len, default="")
        if self.scoring == "list":
            return self.wording.ranking(titles) * 2  # shown, and written again
        if self.scoring == "pairwise":
            return self.wording.which(longest, longest)
        return self.wording.whether(longest) if self.scoring == "yes-no" else longest

    def _opening(self, titles: Sequence[str]) -> str:
        """What is read once for all candidates of a user."""
        said = self.wording.next(titles) if self.scoring == "likelihood" else self.wording.history(titles)
        return self.examples + said

    def _orders(self, ids: list[int], told: list[list[str]], lists: list[list[int]]) -> list[Order]:
        """The places of each user's candidates, best first."""
        if self.asked is None:
            return [shuffled(len(some), self.seed, user) for user, some in zip(ids, lists, strict=True)]
        if self.scoring in ("likelihood", "yes-no"):
            from llmrec.lm.orders import by_score

            return [by_score(values) for values in self._pointwise(told, lists)]
        first = self._ordered(
            told, lists, [self._display(user, len(some), 0) for user, some in zip(ids, lists, strict=True)]
        )
        again = [row for row, user in enumerate(ids) if not self.validating and user in self.twice]
        if again:
            shown = [self._display(ids[row], len(lists[row]), 1) for row in again]
            second = self._ordered([told[row] for row in again], [lists[row] for row in again], shown)
            for row, other in zip(again, second, strict=True):
                self.bias.add(first[row], other)
        return first

    def _display(self, user: int, n: int, which: int) -> list[int]:
        """The order in which a user's candidates are shown; ``which``: the first, or another to compare it with."""
        if which or self.shown == "shuffled":
            return shuffled(n, self.seed, user, which).places
        return list(range(n)) if self.shown == "first-stage" else list(range(n))[::-1]

    def _pointwise(self, told: list[list[str]], lists: list[list[int]]) -> list[Floats]:
        """Each candidate's score [candidates]; NaN where there is no answer. With calibration 1 and nothing told, the
        difference is 0, and no rounding makes an order of it."""
        said = self._said([self._opening(titles) for titles in told], lists)
        if not self.calibrate:
            return [self._score(some) for some in said]
        new = sorted({item for some in lists for item in some} - self.alone.keys())
        for item, value in zip(new, self._said([self._opening([])], [new])[0] if new else (), strict=True):
            self.alone[item] = value
        made = []
        for titles, some, items in zip(told, said, lists, strict=True):
            base = np.array([self.alone[item] for item in items], np.float64).reshape(np.shape(some))
            made.append(self._score(some if titles else base) - self.calibrate * self._score(base))
        return made

    def _score(self, said: Floats) -> Floats:
        """What a model said as one number a candidate, higher is better."""
        if self.scoring == "yes-no":
            return said
        score: Floats = said[:, 0] / np.maximum(said[:, 1], 1) ** self.length_power
        return score

    def _said(self, openings: list[str], lists: list[list[int]]) -> list[Floats]:
        assert self.asked is not None
        titles = [[self.titles[item] for item in some] for some in lists]
        if self.scoring == "likelihood":
            return self.asked.likelihoods(openings, titles)
        return self.asked.preferences(openings, [[self.wording.whether(t) for t in some] for some in titles], YES_NO)

    def _ordered(self, told: list[list[str]], lists: list[list[int]], shown: list[list[int]]) -> list[Order]:
        """Orders by questions that show several candidates, in the order ``shown``."""
        assert self.asked is not None
        openings = [self._opening(titles) for titles in told]
        titles = [[self.titles[item] for item in some] for some in lists]
        if self.scoring == "list":
            asked = [
                opening + self.wording.ranking([some[place] for place in places])
                for opening, some, places in zip(openings, titles, shown, strict=True)
            ]
            replies = self.asked.written(asked, REPLY_TOKENS * max(map(len, lists), default=1))
            return [by_reply(*one) for one in zip(replies, titles, shown, strict=True)]

        def better(questions: list[tuple[int, int, int]]) -> list[float]:
            """For each (user, a, b) how much a is preferred; the mean of both orders, so that neither is favoured."""
            assert self.asked is not None
            found = self.asked.preferences(
                [openings[row] for row, _, _ in questions],
                [
                    [
                        self.wording.which(titles[row][a], titles[row][b]),
                        self.wording.which(titles[row][b], titles[row][a]),
                    ]
                    for row, a, b in questions
                ],
                A_B,
            )
            return [float(pair[0] - pair[1]) / 2 for pair in found]

        return bubbled(shown, self.passes, better)

    def _note(self, **more: int) -> None:
        for name, n in more.items():
            self.counted[name] = self.counted.get(name, 0) + n

    def _keep_counts(self) -> None:
        """What a record should know of the questions, validation included; prices in millionths of their unit."""
        counts = {**self.counted, **self.bias.counts()}
        if isinstance(self.asked, Local):
            counts["tokens_read"] = self.asked.tokens_read
        elif self.asked is not None:
            tally, terms = self.asked.tally, self.asked.terms  # type: ignore[attr-defined]
            counts |= {
                "requests": tally.requests, "requests_sent": tally.sent, "requests_failed": tally.failed,
                "requests_refused": tally.refused, "replies_unparsable": tally.unparsable,
                "tokens_read": tally.tokens_in, "tokens_written": tally.tokens_out,
                "price_millionths": round(terms.price_in * tally.tokens_in + terms.price_out * tally.tokens_out),
            }  # fmt: skip
            self.ctx.models[self.model] = f"endpoint: {self.asked.answered_by or self.model}"  # type: ignore[attr-defined]
        self.ctx.counts.update(counts)


def _shown_title(title: str, text: str, most: int) -> str:
    """An item's title in one line, or the beginning of its text where it has none, cut at a blank."""
    line = " ".join((title.strip() or text.strip()).split()) or "(no title)"
    if len(line) <= most:
        return line
    return line[: most + 1].rsplit(" ", 1)[0][:most]
