"""Commands from records to paper: publish, claims, paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llmrec.cli.options import Datasets, Methods, Results, SuiteName

PaperFolder = Annotated[
    Path | None, typer.Option("--paper", metavar="DIR", help="The paper's folder; default: paper/ of the checkout.")
]


def publish(
    suite: SuiteName,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Publish rows without any run as 'not yet run', leave out datasets without any; seeds must be whole.",
        ),
    ] = False,
    methods: Methods = None,
    datasets: Datasets = None,
    results: Results = None,
) -> None:
    """Freeze a suite's figures into results/published, the files that the paper is made from.

    Refuses missing seeds, stale and dirty runs, mixed protocols, and a checkout with uncommitted changes.
    Example: `llmrec publish ml-100k`
    """
    from llmrec.content import results_folder
    from llmrec.publish import check_writable, disk_errors
    from llmrec.published.checks import check_tree
    from llmrec.published.freeze import freeze
    from llmrec.published.tables import write_frozen
    from llmrec.suite import load_suite

    loaded = load_suite(suite, methods)
    check_tree()
    frozen = freeze(loaded, root=results, partial=partial)
    root = results or results_folder()
    check_writable(root)
    with disk_errors(root):
        written = write_frozen(frozen, loaded.name, results)
    runs = frozen.figures["run_id"].n_unique()
    for path in written:
        typer.echo(f"wrote {path} ({path.stat().st_size / 1000:,.0f} kB)")
    unrun = [name for name in loaded.datasets if name not in frozen.about["datasets"]]
    if unrun:
        typer.echo(f"Left out, for no run there has figures: {', '.join(unrun)}")
    typer.echo(f"{runs} runs, {len(frozen.figures):,} figures. Next: llmrec paper")


def claims(
    check: Annotated[
        bool, typer.Option("--check", help="Fail where the paper says something else than the records.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="All of it as JSON: every test with its figures and the ids of its runs.")
    ] = False,
    paper: PaperFolder = None,
    results: Results = None,
) -> None:
    """Decide every claim of paper/claims.toml by the published figures: effect, interval, corrected p, verdict.

    Examples: `llmrec claims --check` · `llmrec claims --json`
    """
    import json

    from rich.console import Console

    from llmrec.claims.show import as_data, print_claims
    from llmrec.claims.sources import decide_all, published_blocks, refuse_contradictions
    from llmrec.content import paper_folder

    found = decide_all(paper or paper_folder(), published_blocks(results))
    if as_json:
        typer.echo(json.dumps(as_data(found), indent=1, ensure_ascii=False))
    else:
        console = Console()
        console.width = max(console.width, 160)
        print_claims(found, console)
    if check:
        refuse_contradictions(found)


def paper(
    check: Annotated[
        bool, typer.Option("--check", help="Make all again elsewhere and fail on any difference; change nothing.")
    ] = False,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="Only this one; repeatable.")] = None,
    pdf: Annotated[bool, typer.Option("--pdf/--no-pdf", help="Build the PDF, where LaTeX is installed.")] = True,
    folder: PaperFolder = None,
    results: Results = None,
) -> None:
    """Make every figure, table and number of the paper from the published results, and the PDF.

    Needs no GPU, no network and no PyTorch. Examples: `llmrec paper` · `llmrec paper --check` ·
    `llmrec paper --only quality-cost`
    """
    import tempfile

    from llmrec.content import paper_folder
    from llmrec.manuscript import make
    from llmrec.manuscript.pdf import INSTALL, build_pdf

    home, names = folder or paper_folder(), only or []
    if check:
        typer.echo(f"{make.check(home, results, names)} files are byte for byte what the published results give")
        return
    with tempfile.TemporaryDirectory(prefix="llmrec-paper-") as temporary:
        made = make.make(home, Path(temporary), results, names)
        make.replace_generated(Path(temporary), home / "generated", names)
    files = sum(path.is_file() for path in (home / "generated").rglob("*"))
    typer.echo(f"wrote {home / 'generated'} ({files} files)")
    for notice in [*made.notices, *(f"left out: {name}: {why}" for name, why in made.not_yet.items())]:
        typer.echo(notice)
    if pdf and not names:
        built = build_pdf(home)
        typer.echo(f"wrote {built}" if built else f"no PDF: neither latexmk nor tectonic is installed. Run: {INSTALL}")
