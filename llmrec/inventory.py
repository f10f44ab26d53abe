"""Tables of what there is: methods, datasets, suites. The first row names the columns; no method is imported."""

from __future__ import annotations

from pathlib import Path

from llmrec.errors import UserError

Rows = list[tuple[str, ...]]


def methods(extra: Path | None = None) -> Rows:
    """Every method with its family and its sentence; a file that cannot be read shows its problem."""
    from llmrec.discover import find_methods

    found = find_methods(extra).values()
    rows = [(m.name, "" if m.problem else m.family, m.problem or m.summary) for m in found]
    return [("method", "family", "what it is"), *sorted(rows, key=lambda row: (row[1], row[0]))]


def datasets() -> Rows:
    """Every dataset card with its size, protocols and licence; a card with a mistake shows it."""
    from llmrec.data import card, dataset_names

    rows: Rows = [("dataset", "users", "items", "interactions", "protocols", "what it is")]
    for name in dataset_names():
        try:
            known = card(name)
        except UserError as error:
            rows.append((name, "", "", "", "", str(error)))
            continue
        size = known.statistics
        sizes = (f"{size.users:,}", f"{size.items:,}", f"{size.interactions:,}")
        rows.append((name, *sizes, ", ".join(known.protocols), f"{known.title} (licence: {known.licence})"))
    return rows


def suites() -> Rows:
    """Every suite with what it runs; one with a mistake shows it."""
    from llmrec.suite import load_suite, suite_names

    rows: Rows = [("suite", "datasets", "rows", "runs", "what it is")]
    for name in suite_names():
        try:
            suite = load_suite(name)
        except UserError as error:
            rows.append((name, "", "", "", str(error)))
            continue
        rows.append((name, ", ".join(suite.datasets), str(len(suite.entries)), str(len(suite.runs())), suite.title))
    return rows
