"""The paper's tables. To add one, write a function marked ``@table`` that returns LaTeX, or a report's Table.

Its name, with hyphens, is the file's: `films` makes generated/tables/films.tex, which main.tex takes in with
``\\tab{films}``.
"""

from dataclasses import replace

from llmrec.claims import show
from llmrec.manuscript import table
from llmrec.report.table import Notes, main_table
from llmrec.report.words import cost_columns, display_name, listed, metric_column
from llmrec.report.write import caption, statistics_table

AS_BEFORE = "Means, intervals, bold and marks as in the first table, each within its dataset."


def results_table(results, suite, dataset, metrics, costs=("fit", "parameters"), words=""):
    """The rows of one dataset with some of its columns; its label is tab:SUITE."""
    block = results.block(suite, dataset)
    findings = results.findings(block)
    shown = [metric_column(metric) for metric in metrics]
    paid = [column for column in cost_columns(block) if column.title in costs]
    tied = {line.label for line in findings.tied}
    made = main_table(block, [*shown, *paid], f"{words} {caption(block)}", findings.interval, tied)
    return replace(made, name=suite)


@table
def films(results):
    words = "What a user watched next, MovieLens-100K: the whole catalogue is ranked."
    metrics = ("ndcg@10", "recall@10", "coverage@10")
    return results_table(results, "ml-100k", "ml-100k", metrics, words=words)


@table
def films_against_baseline(results):
    block = results.block("ml-100k", "ml-100k")
    return statistics_table(results.findings(block))


@table
def tuned(results):
    """The classic opponents after an equal search, on three datasets."""
    metrics = ("ndcg@10", "recall@10", "coverage@10")
    words = "Twenty trials of search on validation for every row with a parameter to search."
    return stacked(results, [("tuned-ml-100k", "ml-100k"), ("tuned-ml-1m", "ml-1m-noratings"),
                             ("tuned-beauty", "amazon2014-beauty")], metrics, ("fit",), "tuned", words)  # fmt: skip


@table
def products(results):
    words = "The settings of published results. Rows without figures wait for their runs."
    places = [("reproduce", "amazon2014-beauty"), ("reproduce", "ml-1m-noratings")]
    return stacked(results, places, ("ndcg@10", "recall@10"), ("fit", "parameters"), "reproduce", words)


@table
def ratings(results):
    words = "The ratings of MovieLens-100K, five official folds."
    return results_table(results, "rating", "ml-100k", ("rmse", "mae", "auc"), words=words)


@table
def news(results):
    places = [("impressions", "mind-mini"), ("impressions-zh", "mind-mini-zh")]
    words = "Which of ten news items shown was clicked: English titles, then the same clicks with Chinese ones."
    return stacked(results, places, ("auc", "mrr", "ndcg@10"), ("fit", "parameters"), "impressions", words)


@table
def requests(results):
    places = [("requests", block.dataset) for block in results.blocks("requests")]
    words = "Items for a request in words."
    return stacked(results, places, ("ndcg@10", "precision@10", "recall@10"), ("answer",), "requests", words)


def stacked(results, places, metrics, costs, name, words):
    """The tables of several (suite, dataset) one below another, each with its own rows; label tab:NAME.

    Rows without figures are named with the reason in the caption.
    """
    blocks = [results.block(*place) for place in places]
    notes, groups, without = Notes(), [], {}
    for place, block in zip(places, blocks, strict=True):
        one = results_table(results, *place, metrics, costs)
        done = {line.label for line in block.lines if line.done}
        rows = tuple(relettered(row, one.notes, notes) for row in one.rows if row.label in done)
        groups.append((f"{block.dataset} ({block.n_users:,} {block.task.unit})", rows))
        for line in (line for line in block.lines if not line.done):
            without.setdefault(line.runs[0].reason, {})[display_name(line)] = None
    said = "".join(f" {reason[:1].upper()}{reason[1:]}: {listed(list(names))}." for reason, names in without.items())
    one = results_table(results, *places[0], metrics, costs)
    told = f"{words}{said} {seeds_in_words(blocks)} {AS_BEFORE}"
    return replace(one, name=name, caption=told, groups=tuple(groups), notes=notes)


def seeds_in_words(blocks):
    """How many seeds stand behind the rows that have any: "One seed.", "Rows with random streams: 1 to 3 seeds."."""
    counts = {len(line.by_seed) for block in blocks for line in block.finished if line.runs[0].seeded}
    if counts <= {1}:
        return "One seed."
    few, many = min(counts), max(counts)
    return f"Rows with random streams: {few if few == many else f'{few} to {many}'} seeds."


def relettered(row, own, notes):
    """A row whose footnotes have the letters of another table's ``notes``."""
    texts = dict(own)

    def mapped(letters):
        return tuple(notes.letter(texts[letter]) for letter in letters)

    cells = {key: replace(cell, notes=mapped(cell.notes)) for key, cell in row.cells.items()}
    return replace(row, cells=cells, notes=mapped(row.notes))


@table
def claims(results):
    return show.latex(results.claims)
