"""A protocol in one line, as a table's head says it."""

import re
from types import SimpleNamespace

import pytest

from llmrec.records import Protocol
from llmrec.report.page import _ties
from llmrec.report.words import metric_column, protocol_words
from llmrec.tasks import TASKS


@pytest.mark.parametrize(
    ("options", "task", "said", "unsaid"),
    [
        ({}, "topn", ["leave-one-out in time", "history masked", "full ranking over all items", "all users"], ["%"]),
        ({"name": "temporal", "cuts": (0.7, 0.85)}, "topn", ["70 % and 85 %"], []),
        ({"name": "ratio"}, "topn", ["each user's events split 80 / 10 / 10 %", "seeded order where no time"], []),
        ({"name": "random"}, "rating", ["all events split 80 / 10 / 10 % at random"], ["ranking", "masked"]),
        ({"name": "user-holdout", "users": 50}, "topn", ["users split 80 / 10 / 10 %", "sample of 50 users"], []),
        ({"name": "official", "fold": 3, "fit_data": "train+valid"}, "rating", ["fold 3", "train and validation"], []),
        ({"name": "impressions", "max_history": 50}, "impressions", ["as logged", "newest 50", "all impressions"],
         ["ranking", "equal times"]),
        ({"name": "requests", "withhold": False}, "request", ["left in the item texts", "all requests"], ["ranking"]),
        ({"repeats": "drop"}, "topn", ["repeated events dropped"], []),
    ],
)  # fmt: skip
def test_protocol_words(options, task, said, unsaid):
    words = protocol_words(Protocol(**options), task)
    assert "\n" not in words
    for part in said:
        assert part in words
    for part in unsaid:
        assert part not in words


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (
            [{"users": 943, "ties": 75_772, "tied_test_users": 415}],
            "the targets of 415 of 943 users hang on their order",
        ),
        ([{"users": 90, "ties": 75_772, "tied_test_users": 0}], "75,772 events .* no target hangs on their order"),
        ([{"users": 9, "ties": 8, "tied_test_users": t} for t in (1, 3, 2)], "3 of 9 users"),
    ],
)
def test_what_ties_decide(counts, said):
    ((_, words),) = _ties([SimpleNamespace(counts=one) for one in counts])
    assert re.search(said, words)


def test_without_times_nothing_is_said_of_ties():
    assert _ties([SimpleNamespace(counts={"users": 9})]) == []


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_every_accuracy_metric_says_which_way_is_better(task):
    single = ("auc", "user_auc") if task.name == "rating" else ()
    for metric in (*task.accuracy, *single):
        column = metric_column(metric)
        assert column.accuracy, metric
        assert column.better == (1 if metric in single else task.better), metric
