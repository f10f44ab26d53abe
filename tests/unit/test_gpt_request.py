"""gpt-request: the order is the language model's; sentences are written, checked, counted and handed over."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import UserError
from llmrec.lm.loading import load_language_model
from llmrec.subject import board, with_requests
from llmrec.types import NO_ITEM
from tests.unit.lm_models import save_tiny

FIRST = {"method": "tfidf", "params": {}, "k": 8}
ASKED = ["cat horse", "hammer drill"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_tiny(tmp_path_factory.mktemp("llama"), "llama"))


def fitted(model, **params):
    split = with_requests(board())
    events = []
    ctx = Context(seed=0, items=toy.items(split.n_items), emit=events.append)
    ctx.validate = lambda method: {}
    method = load_method("gpt-request")(model=model, first_stage=FIRST, **params)
    method.fit(split, ctx)
    return method, ctx, events


def likelihood(lm, prompt, text):
    ids = [lm.tokenizer(some, add_special_tokens=False)["input_ids"] for some in (prompt, text)]
    with torch.inference_mode():
        logs = lm.model(torch.tensor([ids[0] + ids[1]])).logits[0].log_softmax(-1)
    return [float(logs[len(ids[0]) - 1 + i, token]) for i, token in enumerate(ids[1])]


def test_the_list_is_the_first_stages_in_the_order_of_the_requests_likelihood(folder):
    method, ctx, _ = fitted(folder, weight=1.0)
    items, scores = method.search([*ASKED, ASKED[0]], 10)
    lm = load_language_model(folder)
    assert (items[0] == items[2]).all() and (items[:, 8:] == NO_ITEM).all()
    for text, row, given in zip(ASKED, items, scores, strict=False):
        own = row[:8]
        assert set(own) == set(method.stage.found([text])[0].tolist())
        said = [
            sum(likelihood(lm, f"{ctx.items.texts[i]}\nSomeone who asks for this is looking for", f" {text}"))
            for i in own
        ]
        assert said == sorted(said, reverse=True)
        np.testing.assert_allclose(given[:8], (said - np.mean(said)) / np.std(said), atol=1e-3)
    assert ctx.models[folder].startswith("content:")
    assert ctx.counts["first_stage_k"] == 8


def test_titles_are_calibrated_by_their_likelihood_without_a_request(folder):
    method, ctx, _ = fitted(folder, order="title", weight=1.0, calibrate=0.5)
    items, _ = method.search(ASKED[:1], 8)
    lm = load_language_model(folder)

    def mean(text, item):
        prompt = f"I am looking for {text}.\nA good answer is"
        return np.mean(likelihood(lm, prompt, f" {ctx.items.titles[item]}"))

    said = [mean(ASKED[0], i) - 0.5 * mean("something", i) for i in items[0]]
    assert said == sorted(said, reverse=True)


def test_weight_0_keeps_the_first_stages_order(folder):
    method, _, _ = fitted(folder, weight=0.0)
    plain, _, _ = fitted("", order="first-stage")  # no model is loaded
    np.testing.assert_array_equal(method.search(ASKED, 5)[0], plain.search(ASKED, 5)[0])


def test_sentences_are_written_once_for_the_tests_requests_and_counted(folder):
    method, ctx, events = fitted(folder, explanation="model", explained=4, top=2, sentence_tokens=6)
    method.search(ASKED, 5)
    method.search(ASKED, 5)
    told = [event for event in events if event["stage"] == "explanation"]
    assert len(told) == ctx.counts["explanations"] == 4
    assert 0 < ctx.counts["explanation_tokens"] <= 24
    assert {event["request"] for event in told} == set(ASKED)
    assert all(len(event["liked"].split("; ")) == 3 for event in told)


def test_a_templates_sentences_are_true(folder):
    method, ctx, events = fitted("", order="first-stage", explanation="template", explained=4, top=2)
    items, _ = method.search(ASKED, 5)
    told = [event for event in events if event["stage"] == "explanation"]
    assert ctx.counts["explanations_all_true"] == ctx.counts["explanations"] == 4
    assert ctx.counts["explanations_naming_item"] == 4
    assert ctx.counts["facts"] == ctx.counts["facts_true"] == 12  # title, category, liked
    best = [ctx.items.titles[i] for i in items[:, :2].ravel()]
    assert [event["title"] for event in told] == best
    assert f'We recommend "{best[0]}" (' in told[0]["sentence"]


def test_nobody_who_liked_enough_means_no_liked_titles():
    split = with_requests(toy.leave_one_out([[0, 1, 2, 3]] * 3, 6))
    ctx = Context(seed=0, items=toy.items(6))
    method = load_method("gpt-request")(
        order="first-stage", first_stage=FIRST, explanation="template", liked=5, explained=4, top=2
    )
    method.fit(dataclasses.replace(split, liked=4.0), ctx)
    method.search(ASKED, 5)
    assert ctx.counts["facts_true"] == ctx.counts["facts"] == 8 and "facts_liked" not in ctx.counts


def test_items_without_text_and_an_empty_list():
    split = with_requests(board())
    items = toy.items(split.n_items)
    frame = items.frame.with_columns(text=items.frame["text"].str.replace("hammer", ""))
    ctx = Context(seed=0, items=dataclasses.replace(items, frame=frame))
    method = load_method("gpt-request")(model="untrained", first_stage=FIRST)
    method.fit(split, ctx)
    found, scores = method.search(["hammer", "cat"], 4)
    assert (found[0] == NO_ITEM).all() and (scores[0] == -np.inf).all() and (found[1] != NO_ITEM).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"order": "titel"}, "Did you mean 'title'"),
        ({"explanation": "modell"}, "Did you mean 'model'"),
        ({"weight": 1.5}, "from 0 to 1"),
        ({"top": 0}, "start at 0, top"),
        ({"first_stage": {"method": "ease"}}, "answers another task"),
    ],
)
def test_wrong_parameters_are_told(params, message):
    with pytest.raises(UserError, match=message):
        load_method("gpt-request")(**params).fit(with_requests(board()), Context(seed=0, items=toy.items(51)))
