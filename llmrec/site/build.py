"""The whole site: which pages there are."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from llmrec.report.significance import SMALL
from llmrec.report.words import display_name, fraction, protocol_words
from llmrec.site import names
from llmrec.site.board_views import board_pages, pair_pages
from llmrec.site.boards import Board
from llmrec.site.catalogue import Site
from llmrec.site.dataset_views import dataset_pages
from llmrec.site.method_views import method_pages
from llmrec.site.run_views import run_pages
from llmrec.site.write import Page


def pages(site: Site) -> Iterator[Page]:
    """Every page of a site, the first one first."""
    yield Page("index.html", "index.html.jinja", {"site": site, "boards": [_entry(board) for board in site.boards]})
    yield from board_pages(site)
    yield from pair_pages(site)
    yield from method_pages(site)
    yield from dataset_pages(site)
    yield from run_pages(site)


def _entry(board: Board) -> dict[str, Any]:
    """A leaderboard's row on the first page."""
    block, best = board.block, board.findings.best
    primary = block.task.primary
    figures = best.figures(primary) if best else []
    return {
        "board": board,
        "page": names.board_page(board.key),
        "task": block.task.name,
        "dataset": block.dataset,
        "protocol": protocol_words(board.protocol, block.spec.task),
        "short": board.words,
        "primary": primary,
        "best": display_name(best) if best else "",
        "value": fmean(figures) if figures else None,
        "figure": fraction(fmean(figures)) if figures else "—",
        "tied": len(board.findings.tied),
        "finished": len(block.finished),
        "rows": len(block.lines),
        "users": block.n_users,
        "unit": block.task.unit,
        "small": 0 < block.n_users < SMALL,
        "stale": sum(any(run.ok and not run.fresh for run in line.runs) for line in block.lines),  # rows
    }
