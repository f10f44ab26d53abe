"""An OpenAI-compatible endpoint that times out, refuses, limits, breaks off and talks nonsense: a local server."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from llmrec.errors import UserError
from llmrec.lm.endpoint import Endpoint, Terms
from llmrec.lm.responses import Responses

KEY = "sk-very-secret-42"


@pytest.fixture
def endpoint(server, tmp_path):
    def make(**terms):
        chosen = {"url": server.url, "pause": 0.01, "timeout": 5, **terms}
        return Endpoint("some/model:7b", Terms.read(chosen, "here"), Responses(tmp_path / "kept"))

    return make


def test_a_title_is_scored_by_its_own_tokens(endpoint, server):
    (found,) = endpoint().likelihoods(["I saw Heat. Next:"], [["Casino", "Toy Story"]])
    assert found.tolist() == [[-7.0, 1.0], [-4.0 - 6.0, 2.0]]
    assert {path for path, _ in server.seen} == {"/v1/completions"}


def test_a_preference_sums_over_the_words_spellings(endpoint):
    (found,) = endpoint().preferences(["I saw Heat. "], [["Casino?"]], ("Yes", "No"))
    assert found[0] == pytest.approx(np.logaddexp(-0.5, -3.0) + 2.0)


@pytest.mark.parametrize(("content", "expected"), [("yes, sure", 1.0), ("No.", -1.0), ("maybe", np.nan), ("", np.nan)])
def test_without_log_probabilities_the_word_counts(endpoint, server, content, expected):
    server.script = [{"choices": [{"message": {"content": content}}]}]
    one = endpoint()
    (found,) = one.preferences(["p"], [["q"]], ("Yes", "No"))
    assert found[0] == pytest.approx(expected, nan_ok=True)
    assert one.tally.unparsable == int(np.isnan(expected))


@pytest.mark.parametrize("trouble", ["drop", "nonsense", "half", "empty", 500, 503, 429, 408])
def test_trouble_in_passing_is_tried_again(endpoint, server, trouble):
    server.script = [trouble, trouble]
    one = endpoint()
    assert one.written(["hello"], 5) == ["said: hello"]
    assert (len(server.seen), one.tally.sent, one.tally.failed) == (3, 1, 0)


def test_a_time_out_is_tried_again(endpoint, server):
    server.script = ["hang"]
    assert endpoint(timeout=0.2).written(["hello"], 5) == ["said: hello"]


def test_pauses_grow(endpoint, server):
    server.script = [500] * 4
    endpoint(pause=0.04).written(["hello"], 5)
    assert np.diff(server.times)[1:] == pytest.approx([0.08, 0.16, 0.32], abs=0.07)


def test_retry_after_is_honoured(endpoint, server):
    server.script = [(429, "1")]
    endpoint().written(["hello"], 5)
    assert np.diff(server.times)[0] >= 1.0


def test_requests_are_paced(endpoint, server):
    endpoint(per_minute=1200).written([f"{n}" for n in range(6)], 5)
    assert server.times[-1] - server.times[0] >= 5 * 0.05 * 0.9


def test_what_fails_for_good_is_none_and_asked_for_again_by_the_next_run(endpoint, server):
    server.script = [500] * 3
    first = endpoint(attempts=3, at_once=1)
    assert first.written(["a", "b"], 5) == [None, "said: b"]
    assert (first.tally.requests, first.tally.sent, first.tally.failed) == (2, 1, 1)
    second = endpoint()
    assert second.written(["a", "b"], 5) == ["said: a", "said: b"]
    assert (second.tally.sent, len(server.seen)) == (1, 5), "b is not paid twice"


def test_a_question_that_is_refused_is_an_answer_and_kept(endpoint, server):
    server.script = [400]
    first = endpoint()
    assert first.written(["too long"], 5) == [None]
    second = endpoint()
    assert second.written(["too long"], 5) == [None]
    assert (first.tally.refused, second.tally.refused, len(server.seen)) == (1, 1, 1)


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_what_no_other_question_would_mend_ends_the_run(endpoint, server, status, monkeypatch):
    monkeypatch.setenv("SOME_KEY", KEY)
    server.script = [status]
    with pytest.raises(UserError, match=f"status {status} for model") as error:
        endpoint(key_variable="SOME_KEY").written(["hello"], 5)
    assert KEY not in str(error.value), "the server repeated the key"


def test_an_endpoint_that_is_not_there_ends_the_run(tmp_path):
    terms = Terms.read({"url": "http://127.0.0.1:9/v1", "attempts": 2, "pause": 0.0}, "here")
    one = Endpoint("m", terms, Responses(tmp_path))
    with pytest.raises(UserError, match=r"1\d of 1\d requests failed for good.*ConnectionError.*--retry"):
        one.written([f"{n}" for n in range(40)], 5)
    assert one.tally.failed < 40


def test_without_a_limit_it_goes_on_whatever_fails(tmp_path):
    terms = Terms.read({"url": "http://127.0.0.1:9/v1", "attempts": 1, "most_failed": 1}, "here")
    assert Endpoint("m", terms, Responses(tmp_path)).written([f"{n}" for n in range(20)], 5) == [None] * 20


def test_the_key_is_sent_and_stands_nowhere(endpoint, server, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("SOME_KEY", KEY)
    server.script = [400]
    one = endpoint(key_variable="SOME_KEY", at_once=1)
    one.written(["refused, with the key repeated", "well"], 5)
    assert set(server.keys) == {f"Bearer {KEY}"}
    kept = [path.read_text() for path in (tmp_path / "kept").rglob("*.json")]
    assert len(kept) == 2
    assert KEY not in "".join([*kept, caplog.text, *capfd.readouterr()])
    assert KEY not in repr(one.terms) + repr(one)


def test_a_key_that_is_not_set_is_said(endpoint, monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(UserError, match=r"environment variable SOME_KEY \(key\) is not set"):
        endpoint(key_variable="SOME_KEY")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "url = '', expected for example"),
        ({"url": "localhost:8000/v1"}, "expected for example"),
        ({"url": "https://me:secret@host/v1"}, "use key_variable"),
        ({"url": "https://host/v1?key=secret"}, "use key_variable"),
        ({"url": "https://host/v1", "timeot": 3}, "unknown key 'timeot'. Did you mean 'timeout'"),
        ({"url": "https://host/v1", "timeout": "3"}, "timeout = '3', expected a number"),
        ({"url": "https://host/v1", "attempts": 0}, "start at 1"),
    ],
)
def test_terms_that_make_no_sense(given, message):
    with pytest.raises(UserError, match=message):
        Terms.read(given, "here")


def test_replay_sends_nothing_and_counts_what_is_missing(endpoint, server, monkeypatch):
    endpoint().written(["a"], 5)
    monkeypatch.setenv("LLMREC_REPLAY", "1")
    again = endpoint(key_variable="NOT_SET")
    assert again.written(["a", "b", "c"], 5) == ["said: a", None, None]
    assert (again.tally.missing, again.tally.tokens_in, len(server.seen)) == (2, 7, 1)


def test_what_many_ask_at_once_is_paid_once(endpoint, server):
    ends = [endpoint() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda end: end.written(["same"] * 3, 5), ends))
    assert said == [["said: same"] * 3] * 6
    assert len(server.seen) == 1
    assert sum(end.tally.sent for end in ends) == 1


def test_a_kept_answer_depends_on_everything_but_address_and_key(endpoint, server):
    one = endpoint()
    one.written(["a"], 5)
    one.written(["a"], 6)
    one.terms = Terms.read({"url": "http://127.0.0.1:9/v1"}, "here")
    one.written(["a"], 5)
    one.model = "other"
    one.terms = Terms.read({"url": server.url}, "here")
    one.written(["a"], 5)
    assert len(server.seen) == 3


def test_a_damaged_file_is_said(endpoint, tmp_path):
    one = endpoint()
    one.written(["a"], 5)
    (path,) = (tmp_path / "kept").rglob("*.json")
    assert json.loads(path.read_text())["asked"]["messages"] == [{"role": "user", "content": "a"}]
    path.write_text(path.read_text()[:50])
    with pytest.raises(UserError, match=r"not valid JSON.*Delete the file"):
        endpoint().written(["a"], 5)
    path.write_text(json.dumps({"asked": {}, "answer": {}}))
    with pytest.raises(UserError, match="not the answer to what its name says"):
        endpoint().written(["a"], 5)
    assert {p.suffix for p in (tmp_path / "kept").rglob("*") if p.is_file()} == {".json"}, "no locks or parts are left"
