"""Commands about data: datasets (the list), datasets show, fetch."""

from __future__ import annotations

import json
from textwrap import shorten
from typing import Annotated, Any

import typer

from llmrec.cli.options import Datasets
from llmrec.errors import UserError

Json = Annotated[bool, typer.Option("--json", help="As JSON.")]

_LONGEST = 200  # characters of an example's text; --json has all of it

_NOT_HERE = {
    "download": "Not measured: the data are not here; `llmrec fetch {name}` gets them.",
    "nowhere": "Not measured: {why_not}",
}


def list_all(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Every member of a family of datasets, too.")] = False,
    as_json: Json = False,
    datasets: Datasets = None,
) -> None:
    """List the datasets that have a card: what they are, how large, under which terms, and whether they can be had.

    Users, items and interactions are the published ones. "here" says where the
    data would come from: $LLMREC_MIRROR, an installed package, llmrec's cache,
    a download, or nowhere. Families of datasets that are not here have one row.

    Examples: `llmrec datasets` · `llmrec datasets show ml-100k` · `llmrec fetch ml-100k`
    """
    if context.invoked_subcommand is not None:
        return
    from llmrec import inventory
    from llmrec.cli.listing import print_table

    if as_json:
        typer.echo(json.dumps(inventory.dataset_facts(every), indent=1, ensure_ascii=False))
        return
    print_table(inventory.datasets(every))


def show(
    name: Annotated[str, typer.Argument(help="A dataset, for example ml-100k or amazon2018:Gift_Cards.")],
    as_json: Json = False,
    datasets: Datasets = None,
) -> None:
    """Show all about a dataset: terms, sources, citation, statistics measured beside those published, fingerprint.

    Also what each filter took, and five items as methods read them. A figure
    that differs from the published one is marked. Nothing is downloaded.

    Example: `llmrec datasets show ml-100k`
    """
    from llmrec.data import card
    from llmrec.data.sheet import sheet
    from llmrec.inventory import at_hand

    this = card(name)
    found = sheet(this, at_hand(this))
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        _print_sheet(found)


def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Datasets (llmrec datasets lists them).")],
    datasets: Datasets = None,
) -> None:
    """Get datasets: from $LLMREC_MIRROR, an installed package or llmrec's cache, else from the web; all checked.

    A download that was interrupted goes on where it stopped. A file that is not
    what the card says is not kept. The licence is shown the first time. Without
    a network put the files into $LLMREC_MIRROR/NAME/; the message says which.

    Example: `llmrec fetch ml-100k ml-latest-small`
    """
    from llmrec.data import card
    from llmrec.data.fetch import obtain, place, terms

    cards = [card(name) for name in names]  # a misspelt name before anything is downloaded
    failures = []
    for this in cards:
        if shown := terms(this):
            typer.echo(shown)
        came = place(this)
        try:
            source, files = obtain(this, typer.echo)
        except UserError as error:
            failures.append(str(error))
            continue
        except KeyboardInterrupt:
            typer.echo("\nstopped; the same command goes on where this one stopped.", err=True)
            raise typer.Exit(130) from None
        size = sum(path.stat().st_size for path in set(files.values()))
        place_words = {"download": f"downloaded from {source.address}", "package": source.address}.get(came, came)
        typer.echo(f"{this.name}: {len(files)} files, {size / 1e6:,.1f} MB, checked ({place_words})")
    if failures:
        raise UserError(" ".join(failures))


def _print_sheet(found: dict[str, Any]) -> None:
    from llmrec.cli.listing import print_table

    typer.echo(f"{found['name']}: {found['title']}")
    facts = _facts(found)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        typer.echo(f"  {name:<{width}}  {value}")
    typer.echo("\nStatistics")
    rows = [
        (row["name"], _number(row["published"]), _number(row["measured"]), _mark(row)) for row in found["statistics"]
    ]
    print_table([("count", "published", "measured", ""), *rows], indent=2)
    if found["fingerprint"] is None:
        typer.echo(_NOT_HERE[found["here"]].format(**found))
    else:
        typer.echo("\nSteps")
        steps = [(s["step"], *(f"{s[n]:,}" for n in ("users", "items", "interactions"))) for s in found["steps"] or ()]
        print_table([("after", "users", "items", "interactions"), *steps], indent=2)
        typer.echo("\nItems, as methods read them")
        shown = [(item["raw_id"], item["title"], shorten(item["text"], _LONGEST)) for item in found["examples"]]
        print_table([("id", "title", "text"), *shown], indent=2)
    if found["notes"].strip():
        typer.echo(f"\nNotes\n{_indented(found['notes'])}")
    if found["citation"].strip():
        typer.echo(f"\nCitation\n{_indented(found['citation'])}")


def _facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The sheet's single facts as rows; those that nobody knows are left out."""
    from llmrec.inventory import HERE

    words = {True: "allowed", False: "not allowed", None: "not stated"}
    rows = [
        ("scenario", found["scenario"]),
        ("language", found["language"]),
        ("home", found["home"]),
        ("licence", found["licence"]),
        ("commercial use", words[found["commercial"]]),
        ("passing copies on", words[found["redistributable"]]),
        ("size", found["size"]),
        ("time", found["time"]),
        ("protocols", ", ".join(found["protocols"])),
        ("filters", ", ".join(f"{key} = {value}" for key, value in found["filters"].items())),
        ("here", HERE[found["here"]]),
        *(("source", _source(source)) for source in found["sources"]),
        ("fingerprint", found["fingerprint"] or ""),
    ]
    if times := found["times"]:
        tied, last = times["events_tied_within_a_user"], times["users_whose_last_item_is_tied"]
        rows.append(("times", f"{times['first']} to {times['last']} (UTC)"))
        rows.append(("ties in time", f"{tied:.1%} of the events, the last item of {last:.1%} of the users"))
    for name, n in (found["activity"] or {}).items():
        rows.append((name, f"{n['least']:,.0f} to {n['most']:,.0f}, median {n['median']:,.0f}"))
    if texts := found["texts"]:
        without, length = texts["items_without_text"], texts["median_characters"]
        scripts = ", ".join(f"{script} {share:.1%}" for script, share in texts["scripts"].items() if share >= 0.0005)
        rows.append(("item text", f"{length:.0f} characters (median); {without:,} items without any"))
        rows.append(("letters of titles", scripts))
    return [(name, value) for name, value in rows if value]


def _source(source: dict[str, Any]) -> str:
    """A source's address, its files, and where they lie here if they do."""
    from llmrec.inventory import HERE

    here = "" if source["here"] == "nowhere" else f"; here: {HERE[source['here']]}"
    unchecked = f"; no checksum is published for {', '.join(source['unpublished'])}" if source["unpublished"] else ""
    return f"{source['address']} ({', '.join(source['files'])}{here}{unchecked})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}"


def _mark(row: dict[str, Any]) -> str:
    if row["agrees"] is None:
        return "not measured" if row["measured"] is None else ""
    return "=" if row["agrees"] else f"≠ differs by {row['measured'] - row['published']:+,}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip().splitlines())
