"""The table of README.md beside this file: ndcg@10 by field, made of what is published.

    python results/overview.py            # writes it anew, between the two comments that mark its place
    python results/overview.py --check    # says whether it is what published/ holds

Figures of one column are of the same users asked the same: suites whose splits differ are never mixed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

HERE = Path(__file__).parent
BEGIN, END = "<!-- begin overview.py -->\n", "<!-- end overview.py -->\n"
METRIC = "ndcg@10"

COLUMNS = {  # head: the dataset, and where its figures are, the first that has a row
    "MovieLens-100K": ("ml-100k", ("bert-quick", "ml-100k")),
    "films": ("ml-latest-small", ("bert-fields", "sequences")),
    "Beauty": ("amazon2014-beauty", ("bert-beauty", "gpt-beauty-seeds", "gpt-beauty")),
    "science": ("amazon2018-scientific", ("sequences",)),
    "news": ("mind-mini", ("bert-fields", "sequences")),
    "short videos": ("microlens-50k", ("bert-videos", "sequences")),
    "courses": ("coco-courses", ("sequences",)),
    "places": ("yelp", ("sequences",)),
    "music": ("hetrec2011-lastfm-2k", ("bert-lastfm", "gpt-lastfm-seeds")),
    "games": ("steam", ("sets",)),
    "books": ("book-crossing", ("sets-large",)),
    "anime": ("anime", ("sets-large",)),
}

ROWS = {  # what stands in the table: the labels that suites give it
    "popularity": ("popularity",),
    "ease": ("ease",),
    "decayed-transitions": ("decayed-transitions",),
    "sasrec": ("sasrec",),
    "bert-biencoder": ("bert-biencoder",),
    "bert-cf": ("bert-cf",),
    "bert-cf, closed form (ease + texts)": ("bert-cf-ease",),
    "bert-sasrec, texts alone": ("bert-sasrec-text",),
    "bert-sasrec": ("bert-sasrec",),
    "counts fused with bert-biencoder": ("hybrid-order-text", "decayed-transitions + bert-biencoder", "hybrid-fusion"),
    "gpt-semantic-id": ("gpt-semantic-id",),
}


def figures(dataset: str, suites: tuple[str, ...]) -> dict[str, list[float]]:
    """Each row's figure of every seed.

    Raises:
        SystemExit: figures of different splits would stand in one column.
    """
    found: dict[str, list[float]] = {}
    splits: dict[str, str] = {}
    for suite in suites:
        path = HERE / "published" / f"{suite}.parquet"
        if not path.exists():
            continue
        asked = (pl.col("dataset") == dataset) & (pl.col("slice") == "all") & (pl.col("metric") == METRIC)
        runs = pl.read_parquet(path).filter(asked)
        for row, labels in ROWS.items():
            for label in labels:
                of = runs.filter(pl.col("label") == label)
                if len(of) and row not in found:
                    found[row] = of["value"].to_list()
                    splits |= dict.fromkeys(of["split_hash"], suite)
    if len(splits) > 1:
        sys.exit(f"overview: {dataset} is split differently in {', '.join(splits.values())}; leave one out of COLUMNS")
    return found


def table() -> str:
    columns = {head: found for head, where in COLUMNS.items() if (found := figures(*where))}  # that have been run
    best = {head: max(map(_mean, found.values())) for head, found in columns.items()}
    lines = [["", *columns], ["---", *["---:"] * len(columns)]]
    for row in ROWS:
        lines.append([row, *(_cell(found.get(row), best[head]) for head, found in columns.items())])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(values: list[float] | None, best: float) -> str:
    if values is None:
        return ""
    text = f"{_mean(values):.4f}".lstrip("0")
    spread = f" ± {_deviation(values):.4f}".replace("0.", ".") if len(set(values)) > 1 else ""
    return f"**{text}**{spread}" if _mean(values) == best else text + spread


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _deviation(values: list[float]) -> float:
    return float(pl.Series(values).std() or 0.0)


def main() -> int:
    readme = HERE / "README.md"
    text = readme.read_text("utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    new = f"{before}{BEGIN}{table()}{END}{after}"
    if "--check" in sys.argv[1:]:
        print("as published" if new == text else "README.md is not what published/ holds: python results/overview.py")
        return int(new != text)
    readme.write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
