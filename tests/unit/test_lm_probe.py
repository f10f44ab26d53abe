"""The memorisation probe: a model that knows its titles by heart completes them, another does not."""

import json
from types import SimpleNamespace as Of

import polars as pl
import pytest
import torch
from typer.testing import CliRunner

from llmrec import data
from llmrec.cli import app
from llmrec.errors import UserError
from llmrec.lm.loading import load_language_model
from llmrec.lm.probe import _complete, halves, probe, rating_lines, share
from llmrec.types import Items
from tests.unit.lm_models import save_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_language_model(str(save_tiny(tmp_path_factory.mktemp("probe"))))


def test_a_share_has_wilsons_interval():
    one = share(3, 20)  # p = .15, n = 20: (.0524, .3604), e.g. Newcombe, Statistics in Medicine 17, 1998
    assert (one.share, one.low, one.high) == pytest.approx((0.15, 0.0524, 0.3604), abs=1e-4)
    assert share(0, 200).low == 0.0
    with pytest.raises(UserError, match="nothing to probe"):
        share(0, 0)


def test_a_title_is_cut_in_the_middle():
    assert halves("The Silence of the Lambs") == ("The Silence of", " the Lambs")
    assert halves("Toy  Story") == ("Toy", " Story")
    assert halves("Heat") is None


def test_a_line_has_the_files_own_ids():
    frame = pl.DataFrame({"user": [1, 0], "item": [0, 1], "value": [3.0, 4.5], "time": [881250949, None]})
    assert rating_lines(frame, ["7", "9"], ["a", "b"], "::") == [("9::a::", "3::881250949"), ("7::b::", "4.5")]


def test_completions_are_those_of_the_whole_text(tiny):
    prompt, rests = "Toy Story\nStar", [" Wars", " Trek: the film", " of a thriller"]

    greedy, means = _complete(tiny, prompt, rests)
    head = tiny.tokenizer(prompt)["input_ids"]
    for mean, rest in zip(means, rests, strict=True):
        tail = tiny.tokenizer(rest)["input_ids"]
        with torch.inference_mode():
            told = tiny.model(torch.tensor([head + tail])).logits[0].log_softmax(-1)
        terms = [float(told[len(head) + i - 1, token]) for i, token in enumerate(tail)]
        assert mean == pytest.approx(sum(terms) / len(terms), abs=1e-4)
    with torch.inference_mode():
        out = tiny.model.generate(torch.tensor([head]), max_new_tokens=3, do_sample=False, pad_token_id=0)
    written = tiny.tokenizer.decode(out[0, len(head) :])
    assert _complete(tiny, prompt, [written, *rests])[0] == (
        tiny.tokenizer(written)["input_ids"] == out[0, len(head) :].tolist()
    )
    assert not greedy


def test_what_a_model_has_by_heart_is_found(tiny):
    """The rest is drawn from what the model itself would write, so that it 'knows' every title."""
    pairs = [(f"number {n}", f" {'abcdefghijklmnopqrst'[n]}") for n in range(20)]
    unknown = probe(tiny, pairs, 20)
    assert unknown.exact.share < 0.3
    assert unknown.chance_of_first == 0.1
    model = load_language_model(tiny.name)
    model.model.lm_head.weight = torch.nn.Parameter(model.model.lm_head.weight.clone())
    token = model.tokenizer(" x")["input_ids"]
    with torch.no_grad():
        model.model.transformer.ln_f.weight.zero_()
        model.model.transformer.ln_f.bias.fill_(1.0)
        model.model.lm_head.weight.zero_()
        model.model.lm_head.weight[token[0]] = 1.0
    always = [(f"number {n}", " x" if len(token) == 1 else model.tokenizer.decode(token[:1])) for n in range(5)] + pairs
    found = probe(model, always, len(always))
    assert (found.exact.count, found.first.count) == (5, 5)
    assert len(found.known) == 5


def test_too_few_titles_are_said(tiny):
    with pytest.raises(UserError, match="14 titles or lines are too few to probe: 15"):
        probe(tiny, [("a", " b")] * 14, 5)


def test_the_command_writes_a_file_beside_the_records(tmp_path, monkeypatch, tiny):
    made = CliRunner().invoke(app(), ["probe", "toy-that-is-not", "--model", tiny.name])
    assert made.exit_code != 0
    titles = [f"film number {n} of all" for n in range(30)]
    events = pl.DataFrame({"user": [0] * 30, "item": list(range(30)), "value": [3.0] * 30, "time": list(range(30))})
    items = pl.DataFrame({"raw_id": [str(n) for n in range(30)], "title": titles})
    loaded = Of(name="toy", items=Items(items), interactions=Of(frame=events), users=["u"])
    monkeypatch.setattr(data, "load", lambda name: loaded)
    done = CliRunner().invoke(
        app(), ["probe", "toy", "--model", tiny.name, "--titles", "4", "--lines", "3", "--results", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "probes").iterdir()
    told = json.loads(path.read_text())
    assert (told["dataset"], told["titles"]["exact"]["of"], told["lines"]["first"]["of"]) == ("toy", 4, 3)
    assert told["revision"].startswith("content:")
