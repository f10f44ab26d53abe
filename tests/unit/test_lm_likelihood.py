"""Likelihoods of texts after prompts: what one forward pass over prompt and text says, read a prompt at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llmrec.lm import likelihood
from llmrec.lm.likelihood import score_continuations, tokenise
from llmrec.lm.loading import load_language_model
from tests.unit.lm_models import TEXTS, save_tiny


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def lm(request, tmp_path_factory):
    return load_language_model(str(save_tiny(tmp_path_factory.mktemp(request.param), request.param)))


def plainly(lm, prompt, text):
    """The sum over the text's tokens, from one pass over both."""
    with torch.inference_mode():
        logs = lm.model(torch.tensor([[*prompt, *text]])).logits[0].log_softmax(-1)
    return sum(float(logs[len(prompt) - 1 + i, token]) for i, token in enumerate(text))


@pytest.fixture(scope="module")
def texts(lm):
    return tokenise(lm, TEXTS)


def test_one_pass_over_prompt_and_text_says_the_same(lm, texts):
    prompts = [texts[-1], texts[0], texts[8] + texts[-1]]
    some = [texts[:5], [texts[3]], texts[2:9]]
    found = score_continuations(lm, prompts, some)
    for prompt, mine, scores in zip(prompts, some, found, strict=True):
        assert scores.shape == (len(mine),)
        np.testing.assert_allclose(scores, [plainly(lm, prompt, text) for text in mine], atol=1e-4)


def test_batches_make_no_difference(lm, texts, monkeypatch):
    prompts, some = [text + texts[-1] for text in texts], [texts[i:] for i in range(len(texts))]
    together = score_continuations(lm, prompts, some)
    monkeypatch.setattr(likelihood, "BYTES", 1)
    for one, other in zip(together, score_continuations(lm, prompts, some), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_texts_of_one_token_and_rows_without_texts(lm, texts):
    word = texts[-1][:1]
    found = score_continuations(lm, [texts[0], texts[1]], [[word], []])
    np.testing.assert_allclose(found[0], [plainly(lm, texts[0], word)], atol=1e-5)
    assert found[1].shape == (0,)


def test_what_cannot_be_read_is_said(lm, texts):
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        score_continuations(lm, [texts[0], []], [[texts[1]], [texts[1]]])
    with pytest.raises(ValueError, match="prompt 0 is empty or has an empty continuation"):
        score_continuations(lm, [texts[0]], [[texts[1], []]])
    with pytest.raises(ValueError, match="longer than 256 tokens"):
        score_continuations(lm, [texts[0] * 150], [[texts[1]]])
