"""The command that turns records into web pages: site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results


def site(
    suites: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SUITE]...", help="Suites, by name or .toml file; default: all that have records."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to write; what an earlier site left there is replaced.")
    ] = Path("site"),
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Write the records as static pages: leaderboards, methods, datasets, runs, comparisons of every two methods.

    No server and no network: open index.html in a browser, or put the folder on any web host.

    Examples: `llmrec site` · `llmrec site ml-100k reproduce --out public`
    """
    from llmrec.site.build import pages
    from llmrec.site.catalogue import survey
    from llmrec.site.write import write_site

    found = survey(suites or (), results, methods)
    for broken in found.broken:
        typer.echo(f"left out: {broken}", err=True)
    for name in found.without:
        typer.echo(f"{name}: no records yet (llmrec run {name})", err=True)
    count = write_site(pages(found), out)
    typer.echo(f"wrote {count:,} pages: {out / 'index.html'}")
