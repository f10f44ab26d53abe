"""Tables of what there is: methods, datasets, suites. The first row names the columns; no method is imported."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from llmrec.errors import UserError

if TYPE_CHECKING:
    from llmrec.data import Card, Dataset

Rows = list[tuple[str, ...]]


def methods(extra: Path | None = None) -> Rows:
    """Every method with its family and its sentence; a file that cannot be read shows its problem."""
    from llmrec.discover import find_methods

    found = find_methods(extra).values()
    rows = [(m.name, "" if m.problem else m.family, m.problem or m.summary) for m in found]
    return [("method", "family", "what it is"), *sorted(rows, key=lambda row: (row[1], row[0]))]


HERE = {
    "local": "beside its card", "mirror": "mirror", "package": "installed package", "cache": "cache",
    "download": "download", "nowhere": "no",
}  # fmt: skip
"""Where a dataset would come from (`llmrec.data.fetch.place`), in words."""

_USUAL = ("ratio", "random", "user-holdout")
"""Protocols that any dataset admits; the table names them once."""


def datasets(every: bool = False) -> Rows:
    """Every dataset card with its size, terms and protocols, and whether it can be had; a mistake in one is shown.

    Members of a family (``amazon2018:Gift_Cards``) that are not here are one row, unless ``every`` is asked for.
    """
    head = ("dataset", "users", "items", "interactions", "scenario", "time", "here", "licence")
    rows: Rows = [(*head, f"protocols besides {', '.join(_USUAL)}")]
    for facts in dataset_facts(every):
        if problem := facts.get("problem"):
            rows.append((facts["name"], *[""] * 6, problem, ""))
            continue
        sizes = (f"{facts[name]:,}" if facts[name] is not None else "" for name in head[1:4])
        licence = shorten(re.split(r"[:;(]", facts["licence"])[0], 32, placeholder=" ...")
        protocols = ", ".join(p for p in facts["protocols"] if p not in _USUAL)
        if not set(_USUAL) <= set(facts["protocols"]):
            protocols = "only " + ", ".join(facts["protocols"])
        here = HERE[facts["here"]].split()[0]
        rows.append((facts["name"], *sizes, facts["scenario"], facts["time"], here, licence, protocols))
    return rows


def dataset_facts(every: bool = False) -> list[dict[str, Any]]:
    """The same as plain values; a card with a mistake has its name and the "problem"."""
    from llmrec.data import card, dataset_names
    from llmrec.data.fetch import obtainable, place

    rows: list[dict[str, Any]] = []
    unseen: dict[str, list[dict[str, Any]]] = {}
    for name in dataset_names():
        try:
            known = card(name)
            here = place(known)
        except UserError as error:
            rows.append({"name": name, "problem": str(error)})
            continue
        sizes = {n: getattr(known.statistics, n) for n in ("users", "items", "interactions")}
        facts = {
            "name": name, "title": known.title, "scenario": known.scenario, "time": known.time, "here": here,
            "licence": known.licence, "commercial": known.commercial, "redistributable": known.redistributable,
            "protocols": list(known.protocols), "why_not": obtainable(known) if here == "nowhere" else None,
        } | sizes  # fmt: skip
        family = name.partition(":")[0]
        if every or family == name or here not in ("download", "nowhere"):
            rows.append(facts)
        else:
            unseen.setdefault(family, []).append(facts)
    for family, members in unseen.items():
        nobody = {"users": None, "items": None, "interactions": None}
        rows.append(members[0] | nobody | {"name": f"{family}:... ({len(members)})", "title": family})
    return sorted(rows, key=lambda facts: str(facts["name"]))


def at_hand(card: Card) -> Dataset | None:
    """A card's dataset where it needs no download."""
    from llmrec.data import cached, load
    from llmrec.data.fetch import place

    return load(card.name) if place(card) not in ("download", "nowhere") else cached(card.name)


def suites() -> Rows:
    """Every suite with what it runs; one with a mistake shows it."""
    from llmrec.suite import load_suite, suite_names

    rows: Rows = [("suite", "datasets", "rows", "runs", "what it is")]
    for name in suite_names():
        try:
            suite = load_suite(name)
            runs = len(suite.runs())
        except UserError as error:
            rows.append((name, "", "", "", str(error)))
            continue
        rows.append((name, ", ".join(suite.datasets), str(len(suite.entries)), str(runs), suite.title))
    return rows


def published() -> Rows:
    """Every published row with its figures, and the suites' rows whose figures are held against it."""
    from llmrec.literature import load_published
    from llmrec.suite import load_suite, suite_names

    held: dict[str, list[str]] = {}
    for suite in suite_names():
        try:
            entries = load_suite(suite).entries
        except UserError:  # `llmrec list suites` shows its mistake
            continue
        for entry in entries:
            for name in entry.published:
                held.setdefault(name, []).append(f"{suite}: {entry.label}")
    rows: Rows = [("published", "data", "method", "figures", "known how", "held against it")]
    for row in load_published().values():
        figures = "  ".join(f"{metric} {value:.4f}" for metric, value in row.metrics.items())
        rows.append((row.name, row.data, row.method, figures, row.mark, "; ".join(held.get(row.name, [])) or "-"))
    return rows
