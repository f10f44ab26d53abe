"""Every protocol that splits interactions, through the real command line, on a small dataset of one's own."""

import json

import numpy as np
import pytest

CARD = """
title = "Tea"
time = "exact"
rating = { scale = [1, 5], liked = 4 }
item_text = []
[[sources]]
[sources.interactions]
path = "tea.csv"
columns = { user = "who", item = "what", value = "stars", time = "when", official = "fold" }
"""

SUITE = """
datasets = ["tea"]
seeds = [0]
[protocol]
{protocol}
[[methods]]
name = "popularity"
[[methods]]
name = "item-knn"
"""


@pytest.fixture(scope="module")
def tea(tmp_path_factory, command_line):
    """A command line that knows a dataset of 60 users, 40 teas and five folds; its parsed tables are kept."""
    folder = tmp_path_factory.mktemp("tea")
    rng = np.random.default_rng(0)
    rows = ["who,what,stars,when,fold"]
    for user in range(60):
        own = rng.permutation(np.arange(user % 2, 40, 2))[:15]  # even users drink even teas
        rows += [f"u{user},t{tea},{rng.integers(1, 6)},{1_000 + 7 * p + user},{p % 5 + 1}" for p, tea in enumerate(own)]
    cards = folder / "cards"
    cards.mkdir()
    (cards / "tea.csv").write_text("\n".join(rows) + "\n")
    (cards / "tea.toml").write_text(CARD)
    called = command_line(folder)
    called.environment |= {"LLMREC_DATASETS": str(cards), "LLMREC_CACHE": str(folder / "cache")}
    return called


def run(tea, tmp_path, protocol):
    """The records of popularity and item-knn under a protocol."""
    path = tmp_path / "tea.toml"
    path.write_text(SUITE.format(protocol=protocol))
    tea.environment["LLMREC_RESULTS"] = str(tmp_path / "results")
    done = tea("run", path, "--jobs", 2)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(file.read_text()) for file in (tmp_path / "results").rglob("record.json")]
    return {record["spec"]["method"]: record for record in records}


@pytest.mark.parametrize(
    ("protocol", "users", "targets"),
    [
        ('name = "random"\ncuts = [0.6, 0.8]', None, 180),  # a fifth of 900
        ('name = "user-holdout"', 6, 18),  # a tenth of the users, a fifth of their items
        ('name = "official"\nfold = 2\nfit_data = "train+valid"', 60, 180),
    ],
    ids=["random", "user-holdout", "official"],
)
def test_a_suite_under_each_protocol(tea, tmp_path, protocol, users, targets):
    records = run(tea, tmp_path, protocol)
    assert set(records) == {"popularity", "item-knn"}
    for record in records.values():
        assert record["status"] == "ok"
        counts = record["counts"]
        assert counts["targets"] == targets and users in (None, counts["users"])
        events = sum(counts.get(f"{part}_events", 0) for part in ("train", "valid", "test", "given", "left_out"))
        assert events == 900 and counts["ties"] == 0
    metrics = {method: record["metrics"] for method, record in records.items()}
    assert metrics["item-knn"]["recall@20"] > 0.9  # there are only 20 teas of their kind, and it finds the kind
    assert metrics["popularity"]["recall@20"] < 0.9
    assert records["popularity"]["fingerprints"]["split"] == records["item-knn"]["fingerprints"]["split"]


@pytest.mark.parametrize(
    ("protocol", "says"),
    [
        ('name = "ratio"\nfold = 2', ["protocol.fold = 2 has no effect under 'ratio'"]),
        ('name = "leave-one-out"\nrepeats = "target"', ["mask_history = false"]),
    ],
)
def test_a_protocol_without_sense_is_refused_before_anything_runs(tea, tmp_path, protocol, says):
    path = tmp_path / "tea.toml"
    path.write_text(SUITE.format(protocol=protocol))
    tea.refuses("run", path, says=says)


def test_a_card_that_does_not_admit_a_protocol_is_named_once(llmrec, tmp_path):
    (tmp_path / "tea.toml").write_text(CARD.replace("exact", "none"))
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE.format(protocol='name = "temporal"'))
    message = llmrec.refuses(
        "run", suite, env={"LLMREC_DATASETS": str(tmp_path)}, says=["tea", "time = 'none'", "ratio"]
    )
    assert "temporal" in message and not llmrec.results.exists()
