"""Asking a language model that runs in this process. `llmrec.lm.endpoint` answers the same calls over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from llmrec.lm.loading import LanguageModel
    from llmrec.types import Floats

BRANCH_TOKENS = 1024
"""Tokens of branches that are read at a time: their scores over the vocabulary fill the memory."""


class Asked(Protocol):
    """A model that can be asked. What a model did not answer for good is NaN, or None."""

    def room(self, prompt: str, answer: str) -> bool:
        """Whether a prompt and the longest answer fit the model's context, as far as that is known here."""
        ...

    def likelihoods(self, prompts: Sequence[str], texts: Sequence[Sequence[str]]) -> list[Floats]:
        """The log-probability [texts, 2] of each text after its prompt and a blank, and its number of tokens."""
        ...

    def preferences(
        self, prompts: Sequence[str], questions: Sequence[Sequence[str]], words: tuple[str, str]
    ) -> list[Floats]:
        """log P(first word) - log P(second) after each prompt and question [questions]."""
        ...

    def written(self, prompts: Sequence[str], tokens: int) -> list[str | None]:
        """What the model writes after each prompt, at most so many tokens, the likeliest token each time."""
        ...


class Local:
    """A model in this process.

    Args:
        chat: questions are put as the user's turn of the model's chat template, if it has one; else as plain text.
    """

    def __init__(self, lm: LanguageModel, chat: bool) -> None:
        self.lm = lm
        before, after, self.blank = "", "", " "
        if chat and getattr(lm.tokenizer, "chat_template", None):
            turns: list[dict[str, str]] = [{"role": "user", "content": "\x02"}]
            framed: Any = lm.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            before, _, after = framed.partition("\x02")
            self.blank = ""  # an answer begins its turn
        self.before, self.after = before, after
        tokenizer: Any = lm.tokenizer
        self._start = int(tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id)
        self.tokens_read = 0

    def room(self, prompt: str, answer: str) -> bool:
        whole = f"{self.before}{prompt}{self.after}{self.blank}{answer}"
        return len(self._tokens([whole])[0]) + 8 <= self.lm.context  # pieces may take a few tokens more than the whole

    def likelihoods(self, prompts: Sequence[str], texts: Sequence[Sequence[str]]) -> list[Floats]:
        from llmrec.lm.likelihood import score_continuations

        heads = self._tokens([f"{self.before}{prompt}{self.after}" for prompt in prompts])
        tails = [self._tokens([self.blank + text for text in some]) for some in texts]
        fits = self._count_fitting(heads, tails)
        scored = iter(score_continuations(self.lm, [heads[row] for row in fits], [tails[row] for row in fits]))
        found = [np.full((len(some), 2), np.nan) for some in tails]
        for row in fits:
            found[row][:, 0], found[row][:, 1] = next(scored), [len(tail) for tail in tails[row]]
        return found

    def preferences(
        self, prompts: Sequence[str], questions: Sequence[Sequence[str]], words: tuple[str, str]
    ) -> list[Floats]:
        heads = [head or [self._start] for head in self._tokens([f"{self.before}{prompt}" for prompt in prompts])]
        tails = [self._tokens([question + self.after for question in some]) for some in questions]
        first, second = (tokens[0] for tokens in self._tokens([self.blank + word for word in words]))
        found = [np.full(len(some), np.nan) for some in tails]
        for row in self._count_fitting(heads, tails):
            found[row] = self._preferred(heads[row], tails[row], first, second)
        return found

    def _preferred(self, head: list[int], tails: list[list[int]], first: int, second: int) -> Floats:
        """The questions are branches of one prompt: each goes on behind it and sees none of the others."""
        import torch

        from llmrec.lm.memory import Memory

        found: list[Floats] = []
        with torch.inference_mode():
            for some in _portions(tails):
                memory = Memory(self.lm.model, [head])
                lengths = torch.tensor([len(tail) for tail in some])
                owner = torch.repeat_interleave(torch.arange(len(some)), lengths)
                depth = torch.cat([torch.arange(len(tail)) for tail in some])
                sees = (owner[:, None] == owner) & (depth[:, None] >= depth)
                tokens = torch.tensor([token for tail in some for token in tail])
                place = self.lm.model.device
                logits = memory.read(tokens[None].to(place), depth[None].to(place), sees[None].to(place))[0]
                last = logits[(lengths.cumsum(0) - 1).to(place)].double()  # [questions, vocabulary]
                found.append((last[:, first] - last[:, second]).cpu().numpy())
        return np.concatenate(found) if found else np.zeros(0)

    def written(self, prompts: Sequence[str], tokens: int) -> list[str | None]:
        import torch

        replies: list[str | None] = []
        model: Any = self.lm.model
        heads = self._tokens([f"{self.before}{prompt}{self.after}" for prompt in prompts])
        for head in heads:  # one by one: what a model writes must not depend on its neighbours' padding
            room = min(tokens, self.lm.context - len(head))
            if room < 1:
                replies.append(None)
                continue
            given = torch.tensor([head], device=model.device)
            with torch.inference_mode():
                out = model.generate(
                    given, attention_mask=torch.ones_like(given), max_new_tokens=room, do_sample=False,
                    pad_token_id=self.lm.tokenizer.eos_token_id,
                )  # fmt: skip
            self.tokens_read += out.shape[1]
            replies.append(str(self.lm.tokenizer.decode(out[0, len(head) :], skip_special_tokens=True)))
        return replies

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        from llmrec.lm.likelihood import tokenise

        return tokenise(self.lm, texts)

    def _count_fitting(self, heads: list[list[int]], tails: list[list[list[int]]]) -> list[int]:
        """The rows that fit the model's context, whose tokens are counted: of the others nothing is said."""
        longest = [len(head) + max(map(len, some), default=0) for head, some in zip(heads, tails, strict=True)]
        fits = [row for row, length in enumerate(longest) if length <= self.lm.context]
        self.tokens_read += sum(len(heads[row]) + sum(map(len, tails[row])) for row in fits)
        return fits


def _portions(tails: list[list[int]]) -> list[list[list[int]]]:
    """Consecutive branches of at most so many tokens together."""
    made: list[list[list[int]]] = []
    size = BRANCH_TOKENS + 1
    for tail in tails:
        if size + len(tail) > BRANCH_TOKENS:
            made.append([])
            size = 0
        made[-1].append(tail)
        size += len(tail)
    return made
