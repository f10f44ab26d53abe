"""What share of what methods say about their recommendations is true: a table, and the sentences themselves.

Methods count what they wrote and what of it is true (the record's counts ``explanations`` and ``facts``, see
`llmrec.lm.facts`); the sentences lie beside the record, on the machine that made them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmrec.report.evidence import Block, Line, Run
from llmrec.report.table import Cell, Notes, Row, Table
from llmrec.report.words import Column, display_name, fraction, quantity

KINDS = {"title": "titles", "category": "categories", "year": "years", "liked": "“you liked”"}


def explanations_table(block: Block) -> Table | None:
    """Sentences and facts of every row that explains; None where none does."""
    lines = [line for line in block.lines if any("explanations" in record.counts for record in line.records)]
    if not lines:
        return None
    columns = (
        Column("explanations", "sentences", "", 0, "{:.0f}".format),
        Column("with_fact", "with a fact", "", 1, fraction),
        Column("naming_item", "name the item", "", 1, fraction),
        Column("all_true", "all true", "", 1, fraction),
        Column("facts", "facts a sentence", "", 0, "{:.2f}".format),
        Column("true", "facts true", "", 1, fraction),
        *(Column(kind, f"{name} true", "", 1, fraction) for kind, name in KINDS.items()),
        Column("cpu", "cost", "CPU s", -1, quantity),
    )
    caption = (
        "Sentences that say why an item was recommended, and what of them is so. With a fact, name the item: shares of "
        "the sentences that state something the data can tell, and that name the recommended item. All true: of those "
        "with a fact, the share in which every one is true. Then facts, all and by kind. What the data cannot tell "
        "(plots, opinions, whether the item answers the request) is not judged."
    )
    rows = tuple(Row(display_name(line), line.label, _cells(line)) for line in lines)
    return Table(f"{block.dataset}: explanations", caption, columns, (("", rows),), Notes())


def sentences(run: Run) -> list[Mapping[str, Any]]:
    """What a run wrote: request, item, title, liked, sentence, facts (in words); [] where it is not here."""
    path = run.folder / "explanations.jsonl" if run.folder else None
    if path is None or not path.exists():
        return []
    return [json.loads(text) for text in path.read_text("utf-8").splitlines() if text.strip()]


def _cells(line: Line) -> dict[str, Cell]:
    """Sums over the row's runs, as shares."""
    counts: dict[str, int] = {}
    for record in line.records:
        for name, count in record.counts.items():
            counts[name] = counts.get(name, 0) + count

    def share(part: str, whole: str) -> Cell:
        return Cell(counts.get(part, 0) / counts[whole]) if counts.get(whole) else Cell()

    return {
        "explanations": Cell(float(counts["explanations"])),
        "with_fact": share("explanations_with_fact", "explanations"),
        "naming_item": share("explanations_naming_item", "explanations"),
        "all_true": share("explanations_all_true", "explanations_with_fact"),
        "facts": share("facts", "explanations"),
        "true": share("facts_true", "facts"),
        **{kind: share(f"facts_{kind}_true", f"facts_{kind}") for kind in KINDS},
        "cpu": Cell(counts.get("explanation_cpu_ms", 0) / 1000),
    }
