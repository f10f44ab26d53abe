"""The command that turns records into web pages: site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results

if TYPE_CHECKING:
    from llmrec.site.boards import Board


def site(
    suites: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUITE]...", help="Suites, by name or .toml file; default: all that have records."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write; what an earlier site left there is replaced.")
    ] = Path("site"),
    explorer: Annotated[
        bool,
        typer.Option(
            "--explorer",
            help="Instead: who was recommended what, to be looked at. Needs answers and data; stays on this machine.",
        ),
    ] = False,
    users: Annotated[
        int, typer.Option("--users", min=1, help="With --explorer: at most so many users, evenly spread.")
    ] = 2000,
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Write the records as static pages: leaderboards, methods, datasets, runs, comparisons of every two methods.

    No server and no network: open index.html in a browser, or put the folder on any web host. With --explorer pages of
    another kind are written beside it: pick a user, see the history, the held-out item and every method's list. Those
    of data whose card does not let copies be passed on go to DIR-local, the others to DIR-explorer.

    Examples: `llmrec site` · `llmrec site ml-100k reproduce --out public` · `llmrec site quickstart --explorer`
    """
    from llmrec.site.build import pages
    from llmrec.site.catalogue import survey
    from llmrec.site.write import write_site

    found = survey(suites or (), results, methods)
    for broken in found.broken:
        typer.echo(f"left out: {broken}", err=True)
    for name in found.without:
        typer.echo(f"{name}: no records yet (llmrec run {name})", err=True)
    if explorer:
        _explore(found.boards, out, users)
        return
    count = write_site(pages(found), out)
    typer.echo(f"wrote {count:,} pages: {out / 'index.html'}")


def _explore(boards: Sequence[Board], out: Path, users: int) -> None:
    from llmrec.site.explorer import folder_of, galleries
    from llmrec.site.explorer_views import write_explorer

    found, refused = galleries(boards)
    for words in refused:
        typer.echo(words, err=True)
    for local_only in (False, True):
        some = [gallery for gallery in found if gallery.local_only == local_only]
        if some:
            folder = folder_of(out, local_only=local_only)
            count = write_explorer(some, folder, users)
            warning = " (local only, do not publish)" if local_only else ""
            plural = "s" * (len(some) > 1)
            where = folder / "index.html"
            typer.echo(f"wrote {len(some)} leaderboard{plural}, {count:,} users or questions: {where}{warning}")
