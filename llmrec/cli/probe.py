"""`llmrec probe`: whether a pretrained language model has seen a dataset."""

from __future__ import annotations

import json
import re
from typing import Annotated

import typer

from llmrec.cli.options import Datasets, Results


def probe(
    dataset: Annotated[str, typer.Argument(help="A dataset, for example ml-100k.")],
    model: Annotated[str, typer.Option("--model", help="A language model: a name, a folder, a hub name.")],
    titles: Annotated[int, typer.Option(min=1, help="Titles asked for.")] = 300,
    lines: Annotated[int, typer.Option(min=0, help="Lines of the ratings file asked for.")] = 200,
    separator: Annotated[str, typer.Option(help="What stands between a line's fields; \\t is a tab.")] = "\\t",
    seed: Annotated[int, typer.Option(min=0, help="Which titles and lines are drawn.")] = 0,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Ask a language model to complete a dataset's titles and ratings, and write how often it can.

    What it knows by heart it may recommend by heart: read the results of a pretrained model beside this. Written to
    probes/DATASET-MODEL.json in the results folder.

    Example: `llmrec probe ml-100k --model SmolLM2-135M-Instruct`
    """
    from llmrec.cli.listing import print_table
    from llmrec.content import results_folder
    from llmrec.data import load
    from llmrec.lm.loading import load_language_model
    from llmrec.lm.probe import as_json, halves, rating_lines
    from llmrec.lm.probe import probe as ask

    data = load(dataset)
    between = separator.replace("\\t", "\t")
    halved = [pair for title in dict.fromkeys(data.items.titles) if (pair := halves(title)) is not None]
    lm = load_language_model(model)
    found = {"titles": ask(lm, halved, titles, seed)}
    if lines:
        raw = data.items.frame["raw_id"].to_list()
        found["lines"] = ask(lm, rating_lines(data.interactions.frame, data.users, raw, between), lines, seed)
    folder = (results or results_folder()) / "probes"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (re.sub(r"[^\w.-]+", "-", f"{data.name}-{model}") + ".json")
    partial = path.with_suffix(".partial")
    told = as_json(data.name, lm, seed, separator, found)
    partial.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")
    partial.replace(path)
    rows = [("WHAT", "ASKED", "EXACT", "95 %", "FIRST OF 10", "95 %")]
    for name, part in found.items():
        exact, first = part.exact, part.first
        shares = [(f"{s.share:.3f}", f"{s.low:.3f} - {s.high:.3f}") for s in (exact, first)]
        rows.append((name, str(exact.of), *shares[0], *shares[1]))
    print_table(rows)
    typer.echo(f"written: {path}")
