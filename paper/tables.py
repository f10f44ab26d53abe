"""The paper's tables. To add one, write a function marked ``@table`` that returns LaTeX, or a report's Table.

Its name, with hyphens, is the file's: `films` makes generated/tables/films.tex, which main.tex takes in with
``\\tab{films}``.
"""

from dataclasses import replace

from llmrec.claims import show
from llmrec.manuscript import table
from llmrec.report.table import main_table
from llmrec.report.words import cost_columns, metric_column
from llmrec.report.write import caption, statistics_table


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
def products(results):
    words = (
        "What a user bought next, Amazon Beauty in its public order: the whole catalogue is ranked. One seed so far."
    )
    return results_table(results, "reproduce", "amazon2014-beauty", ("ndcg@10", "recall@10"), words=words)


@table
def ratings(results):
    words = "The ratings of MovieLens-100K, five official folds."
    return results_table(results, "rating", "ml-100k", ("rmse", "mae", "auc"), words=words)


@table
def news(results):
    words = "Which of ten news items shown was clicked, English titles."
    return results_table(results, "impressions", "mind-mini", ("auc", "mrr", "ndcg@10"), words=words)


@table
def news_chinese(results):
    words = "The same clicks, Chinese titles."
    return results_table(results, "impressions-zh", "mind-mini-zh", ("auc", "mrr", "ndcg@10"), words=words)


@table
def requests(results):
    """The three datasets one after another, each with its own rows."""
    blocks = results.blocks("requests")
    metrics = ("ndcg@10", "precision@10", "recall@10")
    tables = [results_table(results, "requests", block.dataset, metrics, ("answer",)) for block in blocks]
    groups = tuple(
        (f"{block.dataset} ({block.n_users} requests)", tuple(row for _, rows in one.groups for row in rows))
        for block, one in zip(blocks, tables, strict=True)
    )
    words = f"Items for a request in words, three datasets. {tables[0].caption}"
    return replace(tables[0], name="requests", caption=words, groups=groups)


@table
def claims(results):
    return show.latex(results.claims)
