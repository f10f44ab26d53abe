"""One sentence that says why an item answers a request: written by a language model token by token, or by a template.

The model is given what the data say of the item (title, year, categories) and titles that the user liked; whether it
keeps to them is what `llmrec.lm.facts` finds out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llmrec.lm.facts import Known
from llmrec.lm.names import Item

if TYPE_CHECKING:
    import torch

    from llmrec.lm.loading import LanguageModel

END = re.compile(r"(?P<before>\S*)(?:[.!?…][\"'”\u2019)]*(?=\s)|[。\uff01\uff1f][」》”]*)|\n")
"""Where a sentence ends; what stands before a full stop says whether it is one."""

SHORT = re.compile(r"(?:\b[A-Za-z]|\b(?:Mr|Mrs|Ms|Dr|St|Jr|Sr|vs|vol|Vol|no|No|feat|etc|e\.g|i\.e|a\.k\.a))$")

AT_ONCE = 32
"""Sentences that are written together."""

EXAMPLE = Known(Item("The Quiet Harbour (1984)", ("Drama",)), (Item("Silver Lake"),), "a story of people by the sea")
EXAMPLE_ANSWER = '"The Quiet Harbour" is a drama from 1984, and you liked "Silver Lake".'
"""What the model is shown before it is asked, if it is: an item of no catalogue."""


def question(known: Known) -> str:
    """What the model is asked: the request, and what the data say, one line each."""
    item = known.item
    lines = [f"A user asked for: {known.request}"]
    if known.liked:
        lines.append("The user liked before: " + ", ".join(f'"{other.name}"' for other in known.liked))
    lines.append(f'We recommend: "{item.name}"')
    if item.year is not None:
        lines.append(f"Its year: {item.year}")
    if item.categories:
        lines.append(f"Its categories: {', '.join(item.categories)}")
    lines.append(f'Write one short sentence to the user: why do we recommend "{item.name}"? Use only these facts.')
    return "\n".join(lines)


def prompt_tokens(lm: LanguageModel, known: Known, example: bool = True) -> list[int]:
    """The prompt, in the model's own form of a conversation where its tokenizer has one."""
    turns = [question(EXAMPLE), EXAMPLE_ANSWER] if example else []
    turns.append(question(known))
    tokenizer = lm.tokenizer
    if getattr(tokenizer, "chat_template", None):
        said = [{"role": ("user", "assistant")[i % 2], "content": turn} for i, turn in enumerate(turns)]
        text = str(tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True))
    else:
        text = "".join(f"{turn}\n{('Answer: ', chr(10))[i % 2]}" for i, turn in enumerate(turns)).rstrip(" ")
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def by_template(known: Known) -> str:
    """The sentence that states what the data say, and nothing else."""
    item = known.item
    liked = f' because you liked "{known.liked[0].name}"' if known.liked else ""
    year = f" of {item.year}" if item.year is not None else ""
    what = " and ".join(filter(None, [", ".join(item.categories[:-1]), *item.categories[-1:]]))
    return f'We recommend "{item.name}"{year}{f" ({what})" if what else ""}{liked}.'


def by_model(lm: LanguageModel, some: Sequence[Known], tokens: int = 48, example: bool = True) -> tuple[list[str], int]:
    """A sentence for each, the likeliest token at every step, and how many tokens were written in all.

    A sentence ends where it ends, at the model's end token, or after ``tokens`` (cut off, and without a full stop).
    Prompts longer than the model's context leaves room for keep their end.
    """
    sentences, written = [""] * len(some), 0
    prompts = [prompt_tokens(lm, known, example)[-(lm.context - tokens) :] for known in some]
    for rows in _alike(prompts):
        for row, (text, length) in zip(rows, _continue(lm, [prompts[r] for r in rows], tokens), strict=True):
            sentences[row], written = text, written + length
    return sentences, written


def first_sentence(text: str, whole: bool = True) -> str | None:
    """The first sentence of a text, None if it has not ended. ``whole``: the text ends where it ends."""
    text = text.lstrip()
    for match in END.finditer(text + ("\n" if whole else "")):
        if match[0] == "\n" or not SHORT.search(text[: match.end("before")]):
            return " ".join(text[: match.end()].split())
    return None


def _alike(prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Rows to be read together: of nearly one length, so that little is padded."""
    order = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), row))
    for start in range(0, len(order), AT_ONCE):
        yield order[start : start + AT_ONCE]


def _continue(lm: LanguageModel, prompts: Sequence[Sequence[int]], tokens: int) -> list[tuple[str, int]]:
    """The sentences after the prompts, which are padded on the left, and the numbers of their tokens."""
    import torch
    from transformers import StoppingCriteriaList

    longest = max(map(len, prompts))
    pad = int(lm.tokenizer.pad_token_id or lm.tokenizer.eos_token_id or 0)
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts], device=lm.model.device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=lm.model.device)
    model: Any = lm.model
    ends: Any = [_Ended(lm, longest)]
    with torch.inference_mode():
        made = model.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=tokens, pad_token_id=pad,
            stopping_criteria=StoppingCriteriaList(ends),
        )[:, longest:]  # fmt: skip
    found = []
    for row in made.tolist():
        while row and row[-1] == pad:
            row.pop()
        text = str(lm.tokenizer.decode(row, skip_special_tokens=True))
        found.append((first_sentence(text) or "", len(row)))
    return found


class _Ended:
    """Says which rows have written a sentence and the beginning of what follows."""

    def __init__(self, lm: LanguageModel, prompt: int) -> None:
        self.lm, self.prompt = lm, prompt

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        import torch

        texts = self.lm.tokenizer.batch_decode(input_ids[:, self.prompt :], skip_special_tokens=True)
        done = [first_sentence(text, whole=False) is not None for text in texts]
        return torch.tensor(done, device=input_ids.device)
