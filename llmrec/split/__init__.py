"""Splitting a dataset by a protocol: who learns from what, who is asked for what. One file a protocol.

    leave-one-out   a user's last new item tests, the last but one validates, all before it trains
    temporal        two moments for everybody: the 80 % and 90 % quantiles of all times
    ratio           the first 80 % of each user's events train, the next 10 % validate, the rest tests
    random          80, 10 and 10 % of all events by a seeded hash
    user-holdout    users unseen in training, of whom 80 % of their items are given (strong generalisation)
    official        the dataset's own split, or one of its folds
    impressions     what was shown to users, as logged
    requests        all interactions train; requests in words are what is asked

A *new* item is one that the user had not had before: only such an item can be a target (unless the protocol says
``repeats = "target"``). Validation and test hold targets only; what else falls there is left out, and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmrec.data import Dataset
    from llmrec.records import Protocol, TaskName
    from llmrec.types import Items, Split


def make_split(dataset: Dataset, protocol: Protocol, task: TaskName = "topn") -> tuple[Split, Items]:
    """The split of a dataset under a protocol, and its catalogue in the split's item ids.

    The same protocol gives the same split for every method and every run seed, whatever the order of the input's rows
    (``ties = "file"`` apart, which is that order).

    Raises:
        UserError: the dataset's card does not admit the protocol or the task, an option of the protocol has no effect
            or no meaning there, or nobody is left to be asked.
    """
    from llmrec.split.make import make  # here, because suites are checked (llmrec.split.admits) without polars

    return make(dataset, protocol, task)
