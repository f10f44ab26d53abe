"""An OpenAI-compatible endpoint for tests: a local server that answers well, or fails as a script tells it."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


class Server(ThreadingHTTPServer):
    """Answers as ``script`` says, one entry a request, and then well; keeps what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.seen, self.times, self.keys = [], [], [], []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.seen.append((self.path, body))
        server.times.append(time.monotonic())
        server.keys.append(self.headers.get("Authorization"))
        how = server.script.pop(0) if server.script else "well"
        if how == "hang":
            time.sleep(0.6)
            return
        if how == "drop":
            self.connection.close()
            return
        if isinstance(how, int):
            return self.say(how, json.dumps({"error": {"message": f"no, {self.headers.get('Authorization')}"}}))
        if isinstance(how, tuple):
            return self.say(how[0], "{}", {"Retry-After": how[1]})
        if how == "nonsense":
            return self.say(200, "<html>hello</html>")
        if how == "half":
            text = json.dumps(good(self.path, body))
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text[: len(text) // 2].encode())
            self.wfile.flush()
            self.connection.close()
            return
        if how == "empty":
            return self.say(200, json.dumps({"choices": []}))
        if isinstance(how, dict):
            return self.say(200, json.dumps(how))
        return self.say(200, json.dumps(good(self.path, body)))

    def say(self, status, text, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def good(path, body):
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    if path.endswith("/chat/completions"):
        answer = {"message": {"content": f"said: {body['messages'][0]['content']}"}}
        if body.get("logprobs"):
            tops = [
                {"token": " Yes", "logprob": -0.5},
                {"token": "yes", "logprob": -3.0},
                {"token": "No", "logprob": -2.0},
            ]
            answer["logprobs"] = {"content": [{"token": " Yes", "logprob": -0.5, "top_logprobs": tops}]}
        return {"model": "real-name", "choices": [answer], "usage": usage}
    words = body["prompt"].replace(" ", "\0 ").split("\0")  # a token a word, as " word"
    offsets = np.cumsum([0, *map(len, words[:-1])]).tolist()
    told = {"tokens": [*words, "x"], "token_logprobs": [None, *(-float(len(w)) for w in words[1:]), -1.0]}
    told["text_offset"] = [*offsets, len(body["prompt"])]
    return {"model": "real-name", "choices": [{"text": body["prompt"] + "x", "logprobs": told}], "usage": usage}
