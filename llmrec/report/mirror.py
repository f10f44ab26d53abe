"""`llmrec report --wandb`: comparison tables and plots of a suite, logged as one Weights & Biases run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmrec.report.table import Table
from llmrec.report.write import Report
from llmrec.seeds import content_hash
from llmrec.track import Tracker

COLUMNS: list[str | int] = ["family", "method", "quantity", "mean", "spread", "low", "high", "best", "tied"]


def mirror(reports: Sequence[Report], suite: str, pictures: Sequence[Path]) -> None:
    """Log every table and the plots, with the best method of each dataset in the summary."""
    tracker = Tracker(
        id=f"report-{content_hash(suite)}", name=f"report · {suite}", group=suite, job_type="report",
        config={"suite": suite, "runs": [run.spec.run_id for report in reports for run in report.block.runs]},
    )  # fmt: skip
    for report in reports:
        dataset = report.block.dataset
        tracker.table(f"{dataset}/comparison", COLUMNS, _rows(report.main))
        if report.statistics:
            tracker.table(f"{dataset}/statistics", COLUMNS, _rows(report.statistics))
        for row in report.main.rows:
            primary = report.block.task.primary
            if (value := row.cells[primary].value) is not None:
                tracker.summary({f"{dataset}/{row.label}/{primary}": value})
        if report.findings.best:
            tracker.summary({f"{dataset}/best": report.findings.best.label})
    for path in pictures:
        tracker.image(f"plots/{path.stem}", path)
    tracker.close()


def _rows(table: Table) -> list[list[Any]]:
    return [
        [family, row.name, key, cell.value, cell.spread, cell.low, cell.high, cell.best, cell.tied]
        for family, rows in table.groups
        for row in rows
        for key, cell in row.cells.items()
    ]
