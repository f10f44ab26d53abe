"""gpt-rank: what is asked, what becomes of the answers, and that nothing is asked twice."""

import json
import math

import numpy as np
import pytest

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import find_methods, import_method
from llmrec.errors import UserError
from llmrec.lm.asking import Local
from llmrec.lm.bias import Bias
from llmrec.lm.loading import load_language_model
from llmrec.lm.orders import bubbled, by_reply, by_score, shuffled
from llmrec.lm.prompts import Shot, Wording, read_ranking
from llmrec.types import Users
from tests.unit.lm_models import save_tiny

GptRank = import_method(find_methods()["gpt-rank"])
STAGE = {"method": "tfidf", "params": {}, "k": 6}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return str(save_tiny(tmp_path_factory.mktemp("tiny"), "llama"))


def fitted(**params):
    split = toy.checkerboard(20)
    ctx = Context(seed=0, items=toy.items(split.n_items))
    method = GptRank(**{"first_stage": STAGE, "history": 3, "bias_users": 0, **params})
    method.fit(split, ctx)
    targets = split.targets("test").users
    return method, ctx, Users(targets, split.known("test").histories.take(targets))


def first(users, n):
    return Users(users.ids[:n], users.histories.take(np.arange(n)))


def endpoint(server, **more):
    return {"url": server.url, "pause": 0.0, "attempts": 2, **more}


# --- words


def test_each_template_tells_the_history():
    titles = ["Heat", "Casino"]
    told = {name: Wording(name).history(titles) for name in ("list", "sequential", "recency", "in-context")}
    assert told["list"] == "Movies watched, in order:\n1. Heat\n2. Casino\n"
    assert told["sequential"].startswith("I've watched the following movies in the past, in order:\n1. Heat\n2. Casino")
    assert told["recency"] == told["sequential"] + "Note that my most recently watched movie is Casino.\n"
    assert "1. Heat\nthen you should recommend Casino to me" in told["in-context"]
    assert Wording("list").next(titles).endswith("2. Casino\n3.")
    assert Wording("list").next([]).endswith("in order:\n1.")
    assert {Wording(name).history([]) for name in told} == {""}
    with pytest.raises(UserError, match="Did you mean 'recency'"):
        Wording("recent")


def test_examples_are_answered():
    shots = [Shot(["A"], "B", "C"), Shot(["D"], "E", "F")]
    assert Wording("list").shown(shots, "likelihood") == (
        "Movies watched, in order:\n1. A\n2. B\n\nMovies watched, in order:\n1. D\n2. E\n\n"
    )
    told = Wording().shown(shots, "yes-no")
    assert "movie B? Answer Yes or No.\nAnswer: Yes" in told
    assert "movie F? Answer Yes or No.\nAnswer: No" in told


@pytest.mark.parametrize(
    ("reply", "places", "repeated", "unknown"),
    [
        ("1. Heat\n2. Toy Story\n3. The Heat", [1, 0, 2], 0, 0),
        ("2. Heat\n1. Toy Story\n3. The Heat", [1, 0, 2], 0, 0),  # by title, however lines are numbered
        ("- **Heat** (1995), a thriller\n* toy story!", [1, 0], 0, 0),
        ("3\n1.\n[2]\n3", [2, 0, 1], 1, 0),
        ("Sure! Here is the order:\n\n1. Heat\n2. Heat\n3. Casino", [1], 1, 2),
        ("I cannot do that.", [], 0, 1),
        ("", [], 0, 0),
        ("9\n0", [], 0, 2),
    ],
)
def test_a_written_order_is_read_line_by_line(reply, places, repeated, unknown):
    found = read_ranking(reply, ["Toy Story", "Heat", "The Heat"])
    assert (found.places, found.repeated, found.unknown) == (places, repeated, unknown)


def test_equal_titles_are_named_one_after_the_other():
    assert read_ranking("Heat\nCasino\nHeat", ["Heat", "Heat", "Casino"]).places == [0, 2, 1]


# --- orders


def test_what_is_left_out_follows_as_it_stood():
    order = by_reply("1. C\n2. X", ["A", "B", "C", "D"], [3, 2, 1, 0])
    assert (order.places, order.shown_first, order.unknown, order.written) == ([2, 0, 1, 3], 3, 1, 2)
    lost = by_reply("No idea.", ["A", "B"], [1, 0])
    assert (lost.places, lost.answered, lost.invalid) == ([0, 1], False, 1)
    assert by_reply(None, ["A", "B"], [1, 0]).invalid == 1


def test_equal_scores_keep_the_first_stages_order_and_a_missing_one_all_of_it():
    assert by_score(np.array([1.0, 2.0, 1.0, 2.0])).places == [1, 3, 0, 2]
    lost = by_score(np.array([1.0, np.nan, 3.0]))
    assert (lost.places, lost.invalid, lost.written, lost.answered) == ([0, 1, 2], 1, 3, False)


def test_a_pass_brings_the_best_to_the_top():
    asked = []

    def better(questions):
        asked.extend(questions)
        return [float(b - a) for _, a, b in questions]  # place 0 is best

    once, short, empty = bubbled([[3, 1, 2, 0], [1, 0], []], 1, better)
    assert (once.places, short.places, empty.places) == ([0, 3, 1, 2], [0, 1], [])
    assert (once.written, short.written, len(asked)) == (3, 1, 4)
    assert bubbled([[3, 2, 1, 0]], 3, better)[0].places == [0, 1, 2, 3]
    lost = bubbled([[2, 1, 0]], 1, lambda questions: [math.nan for _ in questions])[0]
    assert (lost.places, lost.invalid, lost.answered) == ([0, 1, 2], 2, False)


def test_position_bias_is_what_two_orders_differ_by():
    bias = Bias()
    bias.add(by_reply("A\nB\nC", ["A", "B", "C"], [0, 1, 2]), by_reply("C\nB\nA", ["A", "B", "C"], [2, 1, 0]))
    bias.add(by_reply("A\nB", ["A", "B"], [1, 0]), by_reply("A\nB", ["A", "B"], [0, 1]))
    bias.add(by_reply(None, ["A", "B"], [1, 0]), by_reply("A\nB", ["A", "B"], [0, 1]))
    assert bias.counts() == {
        "bias_users": 2, "bias_other_top": 1, "bias_first_on_top": 1, "bias_kendall_thousandths": 0,
    }  # fmt: skip
    assert Bias().counts() == {}


def test_a_random_order_is_the_users_own():
    assert shuffled(9, 1, 5).places == shuffled(9, 1, 5).places != shuffled(9, 1, 6).places
    assert sorted(shuffled(9, 1, 5, 1).places) == list(range(9))
    assert shuffled(9, 1, 5).places != shuffled(9, 1, 5, 1).places


# --- a model in this process


def test_likelihoods_and_preferences_are_those_of_the_whole_text(tiny):
    import torch

    lm = load_language_model(tiny)
    local = Local(lm, chat=False)

    def of(text, tail):
        head, ids = (lm.tokenizer(t, add_special_tokens=False)["input_ids"] for t in (text, tail))
        with torch.inference_mode():
            logits = lm.model(torch.tensor([head + ids])).logits[0].log_softmax(-1)
        return sum(float(logits[len(head) + i - 1, token]) for i, token in enumerate(ids)), logits[-1]

    (found,) = local.likelihoods(["I liked Heat:"], [["Casino", "Toy Story 2"]])
    for row, title in zip(found, ["Casino", "Toy Story 2"], strict=True):
        assert row[0] == pytest.approx(of("I liked Heat:", f" {title}")[0], abs=1e-4)
        assert row[1] == len(lm.tokenizer(f" {title}")["input_ids"])
    found = local.preferences(["I liked Heat. ", "Star "], [["Casino?", "Star Wars, is it?"], ["Trek"]], ("Yes", "No"))
    assert [len(some) for some in found] == [2, 1]
    yes, no = (lm.tokenizer(word)["input_ids"][0] for word in (" Yes", " No"))
    asked = [("I liked Heat. ", "Casino?"), ("I liked Heat. ", "Star Wars, is it?"), ("Star ", "Trek")]
    for value, (text, tail) in zip(np.concatenate(found), asked, strict=True):
        last = of(text, tail)[1]
        assert value == pytest.approx(float(last[yes] - last[no]), abs=1e-4)


def test_a_chat_template_frames_the_question(tiny):
    lm = load_language_model(tiny)
    lm.tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<me>{% endif %}"
    )
    local = Local(lm, chat=True)
    assert (local.before, local.after, local.blank) == ("<user>", "<me>", "")
    plain = Local(lm, chat=False)
    (framed,), (whole,) = (
        one.preferences([prompt], [[question]], ("Yes", "No"))
        for one, prompt, question in ((local, "I saw Heat. ", "Casino?"), (plain, "<user>I saw Heat. ", "Casino?<me>"))
    )
    assert np.isfinite(framed).all() and np.isfinite(whole).all()


@pytest.mark.parametrize("scoring", ["likelihood", "yes-no", "pairwise", "list", "random"])
def test_every_scoring_orders_the_first_stages_items(tiny, scoring):
    method, ctx, users = fitted(model=tiny, scoring=scoring, bias_users=20 if scoring in ("pairwise", "list") else 0)
    some = first(users, 3)
    made = method.generate(some, 6, True)
    listed = method.stage.lists(some)
    assert [sorted(row) for row in made.items] == [sorted(row) for row in listed]
    assert (np.diff(made.scores) <= 0).all()
    assert ctx.models.keys() == (set() if scoring == "random" else {tiny})
    if scoring == "pairwise":
        assert made.written.tolist() == [5] * 3
        assert ctx.counts["bias_users"] == 3
    if scoring == "list":
        assert (made.written >= 1).all()
    again = method.generate(Users(some.ids[2:3], some.histories.take(np.array([2]))), 6, True)
    assert again.items[0].tolist() == made.items[2].tolist()


def test_calibration_takes_off_what_is_said_without_a_history(tiny):
    plain, _, users = fitted(model=tiny, calibrate=0.0)
    method, _, _ = fitted(model=tiny)
    item = int(method.stage.lists(users)[0][0])
    told = [method.titles[i] for i in users.histories[0][-3:]]
    with_history, alone = (plain._pointwise([titles], [[item]])[0] for titles in (told, []))
    assert method._pointwise([told], [[item]])[0] == pytest.approx(with_history - alone, abs=1e-5)
    assert method._pointwise([[]], [[item, item + 2]])[0].tolist() == [0.0, 0.0]


def test_of_a_prompt_over_the_context_the_oldest_items_are_left_out(tmp_path):
    small = str(save_tiny(tmp_path / "small", context=64))
    method, ctx, users = fitted(model=small, template="list", history=30)
    made = method.generate(users, 6, True)
    assert ctx.counts["dropped_history"] > 0
    assert (made.items >= 0).all()


def test_examples_come_from_training_users(tiny):
    method, ctx, _ = fitted(model=tiny, template="list", shots=2)
    assert method.examples.count("Movies watched, in order:") == 2
    assert "shots" in ctx.used_axes
    assert method._opening(["x"]).startswith(method.examples)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scoring": "likelyhood"}, "Did you mean 'likelihood'"),
        ({"template": "recent"}, "Did you mean 'recency'"),
        ({"scoring": "list", "shots": 2}, "shots are for likelihood and yes-no"),
        ({"history": 0}, "history, passes and title_length start at 1"),
        ({"endpoint": {"url": "nowhere"}}, "parameter 'endpoint': url = 'nowhere'"),
    ],
)
def test_parameters_that_make_no_sense(params, message):
    with pytest.raises(UserError, match=message):
        GptRank(**params)


# --- behind an endpoint


def test_an_endpoint_orders_as_it_says_and_is_paid_once(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_RESPONSES", str(tmp_path))
    terms = endpoint(server, price_in=2.0, price_out=10.0)
    method, ctx, users = fitted(model="m", scoring="yes-no", endpoint=terms)
    made = method.generate(users, 6, True)
    counts = dict(ctx.counts)
    sent = len(server.seen)
    assert counts["requests"] == counts["requests_sent"] == sent
    assert counts["price_millionths"] == 2 * counts["tokens_read"] + 10 * counts["tokens_written"] > 0
    assert ctx.models == {"m": "endpoint: real-name"}
    assert made.items.tolist() == method.stage.lists(users).tolist(), "it says the same of all: the order stays"

    monkeypatch.setenv("LLMREC_REPLAY", "1")
    again, after, _ = fitted(model="m", scoring="yes-no", endpoint=terms)
    assert again.generate(users, 6, True).items.tolist() == made.items.tolist()
    assert len(server.seen) == sent
    assert after.counts["requests_sent"] == 0
    assert after.counts["tokens_read"] > 0


def test_replay_says_how_many_responses_are_missing(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_RESPONSES", str(tmp_path))
    monkeypatch.setenv("LLMREC_REPLAY", "1")
    with pytest.raises(UserError, match=r"\d+ of \d+ responses of 'm' are missing in .*--responses DIR"):
        fitted(model="m", scoring="list", endpoint=endpoint(server))
    assert server.seen == []


def test_a_user_whose_request_fails_keeps_the_first_stages_order(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_RESPONSES", str(tmp_path))
    method, ctx, users = fitted(model="m", scoring="list", shown="reversed", endpoint=endpoint(server, at_once=1))
    server.script = [500, 500]  # both attempts of the first user asked now
    some = first(users, 3)
    made = method.generate(some, 6, True)
    assert made.items[0].tolist() == method.stage.lists(some)[0].tolist()
    assert made.invalid.tolist() == [1, 0, 0]
    assert ctx.counts["requests_failed"] == 1


def test_a_written_list_is_the_order(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_RESPONSES", str(tmp_path))
    method, _, users = fitted(model="m", scoring="list", shown="first-stage", endpoint=endpoint(server))
    some = first(users, 1)
    listed = method.stage.lists(some)[0]
    titles = [method.titles[item] for item in listed[::-1]]
    server.script = [{"choices": [{"message": {"content": "\n".join(titles)}}]}]
    assert method.generate(some, 6, True).items[0].tolist() == listed[::-1].tolist()


def test_records_carry_no_key(server, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMREC_RESPONSES", str(tmp_path))
    monkeypatch.setenv("A_KEY", "sk-secret")
    method, ctx, users = fitted(model="m", scoring="yes-no", endpoint=endpoint(server, key_variable="A_KEY"))
    method.generate(first(users, 2), 6, True)
    assert set(server.keys) == {"Bearer sk-secret"}
    assert "sk-secret" not in json.dumps([ctx.counts, ctx.models, method.endpoint])
    assert not any("sk-secret" in path.read_text() for path in tmp_path.rglob("*.json"))
