"""README's private shop: its files are made, described and benchmarked as the page says, with the figures shown."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
SECTION = README.split("## Your own data\n")[1].split("\n## ")[0]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", SECTION, re.DOTALL)


def llmrec(folder, *arguments):
    environment = os.environ | {
        "LLMREC_DATASETS": str(folder / "my_data"), "LLMREC_RESULTS": str(folder / "results"),
        "LLMREC_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "llmrec", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder in which README's section was followed up to its suite."""
    folder = tmp_path_factory.mktemp("shop")
    subprocess.run(["bash", "-c", blocks("sh")[0]], check=True, cwd=folder)
    card, suite = blocks("toml")
    (folder / "my_data" / "shop.toml").write_text(card, "utf-8")
    (folder / "my_suite.toml").write_text(suite, "utf-8")
    return folder


def test_the_card_is_five_lines_and_the_data_are_what_the_text_says(shop):
    assert blocks("toml")[0].count("\n") == 5
    shown = llmrec(shop, "datasets", "show", "shop")
    assert re.search(r"users +120\n", shown)
    assert re.search(r"interactions +772\n", shown)
    assert "Assam, small" in shown
    assert "120 customers" in SECTION
    assert "772 purchases" in SECTION


def test_the_figures_are_those_of_a_run(shop):
    shown = {
        method: [float(cell) for cell in cells.split(" | ")]
        for method, cells in re.findall(r"^\| ([a-z-]+) \| ([\d. |]+) \|$", SECTION, re.MULTILINE)
    }
    assert set(shown) == set(re.findall(r'name = "(.*)"', blocks("toml")[1]))
    del shown["tfidf"]  # takes as long as the rest
    llmrec(shop, "run", "my_suite.toml", *(option for method in shown for option in ("-m", method)))
    records = [json.loads(path.read_text("utf-8")) for path in (shop / "results" / "runs").rglob("record.json")]
    metrics = ("ndcg@10", "recall@10", "coverage@10")
    assert {r["spec"]["method"]: [round(r["metrics"][m], 4) for m in metrics] for r in records} == shown


def test_what_the_text_says_of_cards_is_a_card(shop):
    more = re.search(r"`(item_text = .*?)`", SECTION).group(1), re.search(r"`(filters = .*?)`", SECTION).group(1)
    drop = re.search(r"`(drop = .*?)`", SECTION).group(1)
    card = blocks("toml")[0].replace("[[sources]]", "\n".join([*more, "[[sources]]"]))
    (shop / "my_data" / "filtered.toml").write_text(card.replace('path = "orders.csv"', f'path = "orders.csv", {drop}'))
    with pytest.raises(AssertionError, match=r"[Nn]othing is left"):  # there are no ratings of 4 and more
        llmrec(shop, "datasets", "show", "filtered")
    kept = re.sub(r", min_value = 4", "", card)
    (shop / "my_data" / "filtered.toml").write_text(kept.replace('path = "orders.csv"', f'path = "orders.csv", {drop}'))
    assert "Kind: tea" in llmrec(shop, "datasets", "show", "filtered")
