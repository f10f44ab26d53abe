"""Pages of the explorer, and their data as scripts: a page from file:// may load those and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llmrec.data import card
from llmrec.seeds import canonical_json
from llmrec.site.explorer import Gallery, cases, everyone
from llmrec.site.write import Page, whole_folder, write_pages

PER_FILE = 200
"""Questions in one file of data: few enough that a pick is there at once."""


def write_explorer(found: Sequence[Gallery], out: Path, most: int) -> int:
    """Write the galleries into a folder of their own; how many questions they show.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    count = 0
    with whole_folder(out) as folder:
        write_pages(_pages(found, most), folder, ("explorer.js",))
        for gallery in found:
            rows = everyone(gallery, most)
            _write_data(gallery, rows, folder / gallery.board.key)
            count += len(rows)
    return count


def _pages(found: Sequence[Gallery], most: int) -> Iterable[Page]:
    entries = [
        {
            "board": gallery.board, "page": f"{gallery.board.key}/index.html", "methods": len(gallery.answered),
            "questions": len(gallery.questions), "local_only": gallery.local_only,
        }
        for gallery in found
    ]  # fmt: skip
    warned = any(gallery.local_only for gallery in found)
    yield Page("index.html", "explorers.html.jinja", {"entries": entries, "warned": warned})
    for gallery in found:
        rows = everyone(gallery, most)
        this = card(gallery.board.block.dataset)
        values: dict[str, Any] = {
            "gallery": gallery, "block": gallery.board.block, "board": gallery.board, "card": this, "shown": len(rows),
            "answered": gallery.answered, "missing": gallery.missing, "warned": gallery.local_only,
            "unit": {"impressions": "impression", "request": "request"}.get(gallery.board.block.task.name, "user"),
        }  # fmt: skip
        yield Page(f"{gallery.board.key}/index.html", "explorer.html.jinja", values)


def _write_data(gallery: Gallery, rows: Sequence[int], folder: Path) -> None:
    """overview.js: names and best ranks; items.js: titles of the items that occur; part-N.js: what is shown of each."""
    shown = list(cases(gallery, rows))
    numbers: dict[int, int] = {}
    for case in shown:
        for key in ("h", "t"):
            case[key] = [numbers.setdefault(item, len(numbers)) for item in case[key]]
        case["l"] = [[numbers.setdefault(item, len(numbers)) for item in some] for some in case["l"]]
    overview = {
        "names": [gallery.questions.names[row] for row in rows],
        "best": [[int(one.best[row]) for one in gallery.answered] for row in rows],
        "off": [[round(float(one.predicted.off[row]), 2) for one in gallery.answered if one.predicted] for row in rows],
        "hits": ["".join(str(int(not set(some).isdisjoint(case["t"]))) for some in case["l"]) for case in shown],
        "methods": [one.name for one in gallery.answered],
        "perFile": PER_FILE,
    }
    _script(folder / "overview.js", "overview", overview)
    _script(folder / "items.js", "items", [gallery.titles[item] for item in numbers])
    for start in range(0, len(shown), PER_FILE):
        part = start // PER_FILE
        _script(folder / f"part-{part}.js", "part", shown[start : start + PER_FILE], part)


def _script(path: Path, name: str, value: Any, *more: int) -> None:
    """A call of one of the page's functions with a value. Line separators that old JavaScript ends lines at are
    escaped, as is < lest the text be pasted into a page."""
    written = canonical_json(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    arguments = ", ".join([written, *map(str, more)])
    path.write_text(f"explorer.{name}({arguments});\n", "utf-8")
