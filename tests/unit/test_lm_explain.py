"""Sentences about items: where they end, what the model is asked, and that it writes its likeliest tokens."""

from __future__ import annotations

import pytest
import torch

from llmrec.lm import explain
from llmrec.lm.explain import by_model, by_template, first_sentence, prompt_tokens, question
from llmrec.lm.facts import Known
from llmrec.lm.loading import load_language_model
from llmrec.lm.names import Item
from tests.unit.lm_models import save_tiny

MATRIX = Item("Matrix, The (1999)", ("Action", "Sci-Fi"))
KNOWN = [
    Known(MATRIX, (Item("Heat (1995)"), Item("Toy Story (1995)")), "a film about machines"),
    Known(Item("Heat"), (), "x"),
    Known(Item("Star Wars"), (Item("Casino"),), "visitors from another planet who take over the whole world"),
]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def lm(request, tmp_path_factory):
    return load_language_model(str(save_tiny(tmp_path_factory.mktemp(request.param), request.param, context=600)))


@pytest.mark.parametrize(
    ("text", "ended", "whole"),
    [
        ("One. Two.", "One.", "One."),
        ("It ends.", None, "It ends."),  # a model may go on: "It ends.5"
        ("Because of Dr. Moreau and J. Doe! Then", "Because of Dr. Moreau and J. Doe!", None),
        ('He says "run." Then', 'He says "run."', None),
        ("a\nb", "a", "a"),
        ("  no  end", None, "no end"),
        ("好。再", "好。", "好。"),
        ("", None, ""),
    ],
)
def test_where_a_sentence_ends(text, ended, whole):
    assert first_sentence(text, whole=False) == ended
    if whole is not None:
        assert first_sentence(text) == whole


def test_what_is_asked_holds_what_the_data_say():
    assert question(KNOWN[0]).splitlines()[:5] == [
        "A user asked for: a film about machines",
        'The user liked before: "Heat", "Toy Story"',
        'We recommend: "The Matrix"',
        "Its year: 1999",
        "Its categories: Action, Sci-Fi",
    ]
    assert len(question(KNOWN[1]).splitlines()) == 3


def test_templates():
    assert by_template(KNOWN[0]) == 'We recommend "The Matrix" of 1999 (Action and Sci-Fi) because you liked "Heat".'
    assert by_template(KNOWN[1]) == 'We recommend "Heat".'


def test_an_example_is_a_turn_of_the_conversation(lm):
    text = lm.tokenizer.decode(prompt_tokens(lm, KNOWN[1]))
    assert text.count("We recommend:") == 2 and text.endswith("Answer:")
    assert lm.tokenizer.decode(prompt_tokens(lm, KNOWN[1], example=False)) == f"{question(KNOWN[1])}\nAnswer:"
    lm.tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    try:
        text = lm.tokenizer.decode(prompt_tokens(lm, KNOWN[1]))
        assert text.count("<user>") == 2 and text.endswith("<assistant>")
    finally:
        lm.tokenizer.chat_template = None


def test_the_likeliest_token_at_every_step_whatever_is_beside_it(lm, monkeypatch):
    together, written = by_model(lm, KNOWN, tokens=12)
    assert 0 < written <= 36
    for known, sentence in zip(KNOWN, together, strict=True):
        ids = prompt_tokens(lm, known)
        start = len(ids)
        with torch.inference_mode():
            for _ in range(12):
                ids.append(int(lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
                text = lm.tokenizer.decode(ids[start:], skip_special_tokens=True)
                if ids[-1] == lm.tokenizer.eos_token_id or first_sentence(text, whole=False) is not None:
                    break
        assert sentence == first_sentence(text)
    monkeypatch.setattr(explain, "AT_ONCE", 1)
    assert by_model(lm, KNOWN, tokens=12)[0] == together


def test_a_prompt_longer_than_the_context_keeps_its_end(lm):
    long = Known(Item("Heat"), (), "machines " * 2000)
    sentences, written = by_model(lm, [long], tokens=4, example=False)
    assert len(sentences) == 1 and 0 < written <= 4
    assert by_model(lm, [], tokens=4) == ([], 0)
