"""A suite whose method asks a model endpoint: killed, resumed without paying twice, replayed without a network."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from llmrec.records import Status, read_record

KEY = "sk-very-secret-42"
CARD = """
title = "A shop"
licence = "ours"
time = "order"
[[sources]]
interactions = { path = "taken.csv", columns = { user = "user", item = "item" } }
items = { path = "items.csv", columns = { raw_id = "item", title = "title" } }
"""


@pytest.fixture
def suite(llmrec, server):
    cards = llmrec.folder / "cards"
    cards.mkdir()
    (cards / "shop.toml").write_text(CARD)
    taken = [f"u{user},i{(user * 7 + step * 3) % 25}" for user in range(30) for step in range(6)]
    (cards / "taken.csv").write_text("\n".join(["user,item", *taken]) + "\n")
    (cards / "items.csv").write_text("item,title\n" + "".join(f"i{n},Title {n} of many\n" for n in range(25)))
    llmrec.environment |= {
        "LLMREC_DATASETS": str(cards), "LLMREC_RESPONSES": str(llmrec.folder / "kept"), "SHOP_KEY": KEY,
    }  # fmt: skip
    path = llmrec.folder / "mine.toml"
    path.write_text(
        'datasets = ["shop"]\nseeds = [0]\n[[methods]]\nname = "gpt-rank"\nparams = { model = "m", scoring = "yes-no", '
        'calibrate = 0.0, validation_users = 3, first_stage = { method = "popularity", params = {}, k = 5 }, '
        f'endpoint = {{ url = "{server.url}", key_variable = "SHOP_KEY", price_in = 1.0, at_once = 1 }} }}\n'
    )
    return path


def record(results: Path):
    (path,) = results.glob("runs/[!.]*/*/record.json")
    return read_record(path.parent)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_pays_nothing_twice_and_a_replay_needs_no_network(llmrec, server, suite, tmp_path):
    command = [sys.executable, "-P", "-m", "llmrec", "run", str(suite)]
    first = subprocess.Popen(command, env=llmrec.environment, cwd=llmrec.folder, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(server.seen) < 40 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert first.poll() is None
    os.killpg(first.pid, signal.SIGKILL)  # the worker dies with its runner
    first.wait()
    time.sleep(0.5)
    before = len(server.seen)
    assert 40 <= before < 160

    done = llmrec("run", suite)
    assert done.returncode == 0, done.stderr
    whole = record(llmrec.results)
    assert whole.status == Status.OK
    counts = whole.counts
    assert counts["requests"] == 33 * 5
    times = Counter(json.dumps(body, sort_keys=True) for _, body in server.seen)
    assert sum(times.values()) - len(times) <= 1, "only what was on its way when it was killed is sent again"
    assert counts["requests_sent"] <= counts["requests"] - before + 1
    assert counts["price_millionths"] == counts["tokens_read"] == 7 * counts["requests"]

    server.shutdown()
    again = tmp_path / "again"
    assert llmrec("run", suite, "--replay", "--results", again, env={"SHOP_KEY": ""}).returncode == 0
    replayed = record(again)
    assert replayed.metrics == whole.metrics
    assert replayed.counts["requests_sent"] == 0
    assert replayed.fingerprints["answers"] == whole.fingerprints["answers"]

    missing = llmrec("run", suite, "--replay", "--results", tmp_path / "other", "--responses", tmp_path / "empty")
    assert missing.returncode == 1
    assert "165 of 165 responses of 'm' are missing in" in (record(tmp_path / "other").error or "")
    written = [path for folder in (llmrec.folder, tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
