"""Asking a language model behind an OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama, or a paid service).

    likelihoods   POST /completions with echo and logprobs (vLLM; llama.cpp and Ollama have no echo)
    preferences   POST /chat/completions, one token with top_logprobs; without logprobs the word itself counts, +-1
    written       POST /chat/completions

Every response is kept (`llmrec.lm.responses`). What fails in passing (time-outs, refused connections, 408, 425, 429 and
5xx, answers that are no JSON or not whole) is tried again after a growing pause, or after what Retry-After says. What
fails for good is None or NaN, is counted, and is asked for again by the next run; a question that the endpoint itself
refuses (400, 413, 422: a prompt too long) is an answer too, and kept. An endpoint that fails too often ends the run.
"""

from __future__ import annotations

import dataclasses
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from llmrec.errors import UserError, nearest
from llmrec.lm.responses import Responses, replaying, responses_folder
from llmrec.types import Floats

IN_PASSING = (408, 425, 429)
"""Statuses that another try may mend, as may all from 500."""

REFUSED = (400, 413, 422)
"""Statuses that say: this question never."""

ENOUGH = 10
"""Failed requests before their share decides whether the run goes on."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Terms:
    """How an endpoint is spoken to: the table ``endpoint`` of a method's parameters."""

    url: str  # up to and with /v1
    key_variable: str = ""  # the environment variable that holds the API key, which stands nowhere else
    timeout: float = 60.0  # seconds without a byte
    attempts: int = 6  # of a request
    pause: float = 1.0  # seconds; the second attempt follows at once, the third after two of them, then 4, 8, to 60 s
    per_minute: float = 0.0  # requests; 0: no limit
    at_once: int = 4  # requests in flight
    price_in: float = 0.0  # of a million tokens that are read
    price_out: float = 0.0  # of a million tokens that are written
    most_failed: float = 0.1  # share of failed requests over which the run ends

    @classmethod
    def read(cls, given: Mapping[str, Any], where: str) -> Terms:
        """
        Raises:
            UserError: an unknown key, a value of another type, or an address that is none or carries a password.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise UserError(f"{where}: unknown key {name!r}.{nearest(name, known)}")
            text = known[name].type == "str"
            if isinstance(value, bool) or not isinstance(value, str if text else int | float):
                raise UserError(f"{where}: {name} = {value!r}, expected {'text' if text else 'a number'}.")
        address = urlsplit(given.get("url", ""))
        if address.scheme not in ("http", "https") or not address.netloc:
            raise UserError(
                f"{where}: url = {given.get('url', '')!r}, expected for example 'http://localhost:8000/v1'."
            )
        if "@" in address.netloc or address.query:
            raise UserError(f"{where}: url carries a password or a key, and records are public: use key_variable.")
        terms = cls(**given)
        if terms.attempts < 1 or terms.at_once < 1 or terms.timeout <= 0 or not 0 <= terms.most_failed <= 1:
            raise UserError(f"{where}: attempts, at_once and timeout start at 1, most_failed is a share from 0 to 1.")
        return terms


@dataclass
class Tally:
    """What was asked in all, kept answers included."""

    requests: int = 0
    sent: int = 0  # of them, now and not in an earlier run
    failed: int = 0
    refused: int = 0
    missing: int = 0  # replay: not kept
    unparsable: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


class _InPassing(Exception):
    """Another try may help."""

    def __init__(self, what: str, raw: Any = None) -> None:
        super().__init__(what)
        self.raw = raw  # the response, whose headers may say when


class _ForGood(Exception):
    """No other try was left."""


@dataclass
class Endpoint:
    """One model behind one address."""

    model: str
    terms: Terms
    responses: Responses = field(default_factory=lambda: Responses(responses_folder()))
    tally: Tally = field(default_factory=Tally)
    answered_by: str = ""  # what the endpoint calls the model that has answered

    def __post_init__(self) -> None:
        import requests

        self.replay, variable = replaying(), self.terms.key_variable
        self._key = "" if self.replay or not variable else os.environ.get(variable, "")
        if variable and not self._key and not self.replay:
            raise UserError(f"endpoint {self.terms.url}: the environment variable {variable} (key) is not set.")
        self._session = requests.Session()
        self._session.auth = self._signed  # given, so that no password is taken from ~/.netrc
        self._session.mount("http", requests.adapters.HTTPAdapter(pool_maxsize=self.terms.at_once))
        self._counting, self._pacing = threading.Lock(), threading.Lock()
        self._free_at = 0.0

    def _signed(self, request: Any) -> Any:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def room(self, prompt: str, answer: str) -> bool:
        return True  # only the endpoint knows; it refuses what is too long

    def likelihoods(self, prompts: Sequence[str], texts: Sequence[Sequence[str]]) -> list[Floats]:
        bodies = [
            self._body("completions", prompt=f"{prompt} {text}", max_tokens=1, echo=True, logprobs=1)
            for prompt, some in zip(prompts, texts, strict=True)
            for text in some
        ]
        ends = [
            (len(prompt), len(prompt) + 1 + len(text))
            for prompt, some in zip(prompts, texts, strict=True)
            for text in some
        ]
        found = self._all(bodies, lambda place, answer: _echoed(answer, *ends[place]))
        pairs = np.array([(np.nan, np.nan) if pair is None else pair for pair in found], np.float64).reshape(-1, 2)
        return _parted(pairs, texts)

    def preferences(
        self, prompts: Sequence[str], questions: Sequence[Sequence[str]], words: tuple[str, str]
    ) -> list[Floats]:
        bodies = [
            self._chat(prompt + question, max_tokens=1, logprobs=True, top_logprobs=20)
            for prompt, some in zip(prompts, questions, strict=True)
            for question in some
        ]
        found = self._all(bodies, lambda _, answer: _preferred(answer, words))
        return _parted(np.array([np.nan if one is None else one for one in found], np.float64), questions)

    def written(self, prompts: Sequence[str], tokens: int) -> list[str | None]:
        return self._all([self._chat(prompt, max_tokens=tokens) for prompt in prompts], lambda _, answer: _said(answer))

    def _chat(self, content: str, **options: Any) -> dict[str, Any]:
        return self._body("chat/completions", messages=[{"role": "user", "content": content}], **options)

    def _body(self, call: str, **options: Any) -> dict[str, Any]:
        """What is asked: the name of the answer."""
        return {"call": call, "model": self.model, "temperature": 0, "seed": 0, **options}

    def _all(
        self, bodies: list[dict[str, Any]], read: Callable[[int, dict[str, Any]], Result | None]
    ) -> list[Result | None]:
        """What the answers say, several asked at once. ``read`` returns None of an answer that says nothing."""

        def one(place: int) -> Result | None:
            answer = self._answer(bodies[place])
            if answer is None:
                return None
            said = read(place, answer)
            if said is None:
                self._count(unparsable=1)
            return said

        with ThreadPoolExecutor(self.terms.at_once) as pool:
            futures = [pool.submit(one, place) for place in range(len(bodies))]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(cancel_futures=True)  # what was not sent yet stays unsent
                raise

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, kept or new; None where there is none."""
        try:
            if self.replay:
                answer, new = self.responses.get(asked), False
                if answer is None:
                    self._count(requests=1, missing=1)
                    return None
            else:
                answer, new = self.responses.get_or_ask(asked, lambda: self._post(asked))
        except _ForGood as error:
            self._count(requests=1, failed=1)
            self._end_if_hopeless(error)
            return None
        if "refused" in answer:
            self._count(requests=1, sent=int(new), refused=1)
            return None
        usage = answer.get("usage") if isinstance(answer.get("usage"), dict) else {}
        read, written = (_whole(usage.get(key)) for key in ("prompt_tokens", "completion_tokens"))  # type: ignore[union-attr]
        self._count(requests=1, sent=int(new), tokens_in=read, tokens_out=written)
        self.answered_by = str(answer.get("model") or self.answered_by)
        return answer

    def _post(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Send, again if need be.

        Raises:
            _ForGood: nothing came of all attempts.
            UserError: the endpoint does not know the key, the model or the call: no question would be answered.
        """
        from urllib3.exceptions import MaxRetryError
        from urllib3.util.retry import Retry

        tries = Retry(
            total=self.terms.attempts - 1, backoff_factor=self.terms.pause, backoff_max=60, retry_after_max=600
        )
        while True:
            self._wait_for_turn()
            try:
                return self._send(asked)
            except _InPassing as trouble:
                try:
                    tries = tries.increment(error=trouble)
                except MaxRetryError:
                    raise _ForGood(f"{trouble} ({self.terms.attempts} attempts)") from None
                tries.sleep(trouble.raw)

    def _send(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One attempt."""
        import requests

        url = f"{self.terms.url.rstrip('/')}/{asked['call']}"
        body = {key: value for key, value in asked.items() if key != "call"}
        try:
            response = self._session.post(url, json=body, timeout=self.terms.timeout, allow_redirects=False)
            status = response.status_code
            text = response.text
        except requests.RequestException as error:  # refused, timed out, or broken off in the middle
            raise _InPassing(type(error).__name__) from None
        if status in IN_PASSING or status >= 500:
            raise _InPassing(f"status {status}", response.raw)
        if status in REFUSED:
            return {"refused": status, "said": self._clean(text)}
        if status != 200:
            raise UserError(f"endpoint {url}: status {status} for model {self.model!r}: {self._clean(text)}")
        try:
            answer = response.json()
        except ValueError:
            raise _InPassing("an answer that is no JSON") from None
        if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list) or not answer["choices"]:
            raise _InPassing("an answer without choices")
        return answer

    def _clean(self, text: str) -> str:
        """The beginning of what an endpoint said, in one line, without the key if it repeats it."""
        said = " ".join(text.split())
        return (said.replace(self._key, "(key)") if self._key else said)[:200]

    def _wait_for_turn(self) -> None:
        if not self.terms.per_minute:
            return
        with self._pacing:
            now = time.monotonic()
            mine = max(now, self._free_at)
            self._free_at = mine + 60 / self.terms.per_minute
        time.sleep(mine - now)

    def _count(self, **more: int) -> None:
        with self._counting:
            for name, n in more.items():
                setattr(self.tally, name, getattr(self.tally, name) + n)

    def _end_if_hopeless(self, error: Exception) -> None:
        tally = self.tally
        if tally.failed >= ENOUGH and tally.failed > self.terms.most_failed * tally.requests:
            raise UserError(
                f"endpoint {self.terms.url}: {tally.failed} of {tally.requests} requests failed for good, over "
                f"most_failed = {self.terms.most_failed:g}; the last one: {error}. What was answered is kept: "
                "`llmrec run SUITE --retry` asks for the rest only."
            )


def _parted(values: Floats, like: Sequence[Sequence[Any]]) -> list[Floats]:
    """A long array in pieces of these lengths."""
    ends = np.cumsum([len(some) for some in like])
    return list(np.split(values, ends[:-1])) if len(like) else []


def _echoed(answer: dict[str, Any], start: int, end: int) -> tuple[float, int] | None:
    """The log-probability of the tokens that begin in characters ``start`` to ``end`` of what was read, and their
    number; None of an answer without them."""
    try:
        told = answer["choices"][0]["logprobs"]
        pairs = list(zip(told["text_offset"], told["token_logprobs"], strict=True))
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    mine = [value for offset, value in pairs if start <= offset < end]
    if not mine or not all(isinstance(value, int | float) and math.isfinite(value) for value in mine):
        return None
    return float(sum(mine)), len(mine)


def _preferred(answer: dict[str, Any], words: tuple[str, str]) -> float | None:
    """log P(first) - log P(second) from the first token's likeliest alternatives; a word that is not among them has at
    most the least of their probabilities. Without alternatives +1 or -1 by the word that was written."""
    try:
        choice = answer["choices"][0]
        told = (choice.get("logprobs") or {}).get("content")
        if told:
            likely = [(str(one["token"]), float(one["logprob"])) for one in told[0]["top_logprobs"]]
            sums = [[value for token, value in likely if _is(token, word)] for word in words]
            if not any(sums):
                return None
            least = min(value for _, value in likely)
            first, second = (float(np.logaddexp.reduce(some)) if some else least for some in sums)
            return first - second
        said = _said(answer)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None
    if said is None or not said.strip():
        return None
    begun = said.strip().split()[0]
    return next((sign for word, sign in zip(words, (1.0, -1.0), strict=True) if _is(begun, word)), None)


def _is(token: str, word: str) -> bool:
    return token.strip(" \n\t.,:*\"'").casefold() == word.casefold()


def _said(answer: dict[str, Any]) -> str | None:
    try:
        said = answer["choices"][0]["message"]["content"]
    except (KeyError, TypeError, IndexError):
        return None
    return said if isinstance(said, str) else None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
