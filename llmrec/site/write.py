"""All pages of a site, made from a `Site` and put in place at once.

The same records give the same bytes: no clock, no machine's name but those that records hold. A folder that holds
something else is never touched; one that an earlier `llmrec site` wrote is replaced as a whole.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from llmrec.errors import UserError
from llmrec.publish import disk_errors
from llmrec.report import page
from llmrec.site import charts, names
from llmrec.site.names import Place

HERE = Path(__file__).parent
REPORT = Path(page.__file__).parent
MARKER = "made-by-llmrec-site.txt"
"""A file that says that a folder may be replaced."""


class Page(NamedTuple):
    """One page before it is rendered."""

    path: str  # from the site's root
    template: str
    values: Mapping[str, Any]


def write_site(pages: Iterable[Page], out: Path) -> int:
    """Write pages into ``out`` with style and script beside them; the number of pages.

    Raises:
        UserError: the folder holds something else, or cannot be written.
    """
    with whole_folder(out) as folder:
        return write_pages(pages, folder, ("site.js",))


def write_pages(pages: Iterable[Page], folder: Path, scripts: Iterable[str]) -> int:
    """Render pages into a folder, with the style and these scripts; the number of pages."""
    count = sum(_write(rendered, folder) for rendered in render(pages))
    assets = folder / "assets"
    assets.mkdir()
    style = (REPORT / "page.css").read_text("utf-8") + (HERE / "assets" / "site.css").read_text("utf-8")
    (assets / "site.css").write_text(style, "utf-8")
    for name in scripts:
        shared = (REPORT / "tables.js").read_text("utf-8") if name == "site.js" else ""
        (assets / name).write_text(shared + (HERE / "assets" / name).read_text("utf-8"), "utf-8")
    return count


def render(pages: Iterable[Page]) -> Iterator[tuple[str, str]]:
    """(path, HTML) of every page."""
    made = page.environment(HERE / "templates")
    made.globals |= {
        "board_page": names.board_page, "pairs_page": names.pairs_page, "pair_page": names.pair_page,
        "method_page": names.method_page, "dataset_page": names.dataset_page, "run_page": names.run_page,
        "shell": shlex.quote, "slug": names.slug, "charts": charts,
    }  # fmt: skip
    for path, template, values in pages:
        yield path, made.get_template(template).render(root=Place(path).root, path=path, **values)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of ``out`` when all is written, and leaves nothing if it fails."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / MARKER).exists())):
        raise UserError(
            f"--out {out}: there is something that `llmrec site` has not written. Name a folder that is new, empty, or "
            "holds an earlier site."
        )
    out = out.absolute()
    staging = out.with_name(f".{out.name}.partial")
    with disk_errors(out):
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            (staging / MARKER).write_text("`llmrec site` wrote this folder and replaces it as a whole.\n", "utf-8")
            yield staging
            old = out.with_name(f".{out.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            if out.exists():
                out.rename(old)
            staging.rename(out)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _write(rendered: tuple[str, str], folder: Path) -> int:
    path = folder / rendered[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rendered[1], "utf-8")
    return 1
