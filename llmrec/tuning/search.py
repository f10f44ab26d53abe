"""Does all trials of all studies, in rounds.

A round holds every trial that waits for no other: of each study those drawn at random at once, and then one at a time,
for the estimator looks at all before. How many are run at the same time (--jobs) never changes which trials are made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from llmrec.progress import Watcher
from llmrec.runner import Options, run_all
from llmrec.tuning.study import Study


def search(studies: Sequence[Study], total: int, options: Options) -> dict[str, str]:
    """Bring every study to ``total`` trials; name of a study -> why it could not be.

    Raises:
        UserError: the results folder cannot be written.
        Interrupted: Ctrl-C; the same call goes on from there.
    """
    unable: dict[str, str] = {}
    while True:
        batch = [(study, due) for study in studies if study.setup.name not in unable for due in study.due(total)]
        if not batch:
            return unable
        batch.sort(key=lambda pair: pair[1].number)  # every study gets its turn
        planned = [due.planned for _, due in batch]
        floors = {due.planned.spec.run_id: study.floors(due.number) for study, due in batch}
        watchers = [_Open(watcher) for watcher in options.watchers]
        records = run_all(planned, dataclasses.replace(options, stale=True, floors=floors, watchers=watchers))
        for (study, due), record in zip(batch, records, strict=True):
            if record is None or not study.tell(due.number, record, options.root):
                unable[study.setup.name] = (record.error if record else None) or "was not run"


class _Open:
    """A watcher that stays open from round to round; whoever made it closes it."""

    def __init__(self, watcher: Watcher) -> None:
        self.begin, self.event, self.end, self.say = watcher.begin, watcher.event, watcher.end, watcher.say

    def close(self) -> None:
        pass
