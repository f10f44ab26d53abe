"""Weights in fewer bits: the same answers within what the bits leave, and errors that say what to do."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from torch import nn

from llmrec.errors import UserError
from llmrec.lm.likelihood import score_continuations, tokenise
from llmrec.lm.loading import load_language_model
from llmrec.lm.quantised import SCHEMES, quantise, quantise_layers
from llmrec.methods.gpt.quantised import Quantised
from tests.unit.lm_models import TEXTS, save_tiny

BOUND = {"int8": 0.05, "int8-weights": 0.03, "int4-weights": 0.4}  # of the scores' spread


@pytest.mark.parametrize("scheme", SCHEMES)
def test_likelihoods_stay_close_and_fewer_bits_are_not_nothing(tmp_path, scheme):
    pytest.importorskip("torchao")
    lm = load_language_model(str(save_tiny(tmp_path, "llama")))
    texts = tokenise(lm, TEXTS)
    before = score_continuations(lm, [texts[-1]], [texts[:-1]])[0]
    few = quantise(lm, scheme)
    after = score_continuations(few, [texts[-1]], [texts[:-1]])[0]
    assert few.name.endswith(f"({scheme})")
    assert 0 < np.abs(after - before).mean() < BOUND[scheme] * before.std()


def test_a_model_without_linear_layers(tmp_path):
    pytest.importorskip("torchao")
    lm = load_language_model(str(save_tiny(tmp_path, "gpt2")))
    with pytest.raises(UserError, match="a gpt2 has no linear layers"):
        quantise(lm, "int8-weights")


def test_bad_settings(monkeypatch):
    with pytest.raises(UserError, match="scheme: 'int9', expected one of int8, int8-weights"):
        Quantised(scheme="int9")
    with pytest.raises(UserError, match=r"parameter 'of'.*'pop'"):
        Quantised(of={"method": "pop"})
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(UserError, match=r"pip install 'llmrec\[quantise\]'"):
        quantise_layers(nn.Linear(2, 2), "int8")
