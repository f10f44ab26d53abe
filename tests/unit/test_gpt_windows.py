"""Windows cover every event once, and batches hold windows of about one length."""

import numpy as np

from llmrec.gpt.windows import window_batches
from llmrec.types import Histories


def test_every_event_is_in_one_window_each_epoch():
    rng = np.random.default_rng(1)
    lengths = rng.integers(0, 40, 50)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    histories = Histories(indptr, rng.integers(0, 9, indptr[-1]).astype(np.int32), 9)
    seen = set()
    for epoch in range(3):
        batches = window_batches(histories, size=6, events=32, rng=np.random.default_rng(epoch))
        events = np.concatenate([s + np.arange(n) for starts, ns in batches for s, n in zip(starts, ns, strict=True)])
        assert np.array_equal(np.sort(events), np.arange(indptr[-1]))
        for starts, ns in batches:
            assert ns.min() >= 1 and ns.max() <= 6 and ns.sum() <= 32 + 6
            assert ns.max() - ns.min() <= 3  # windows of about one length
            assert (np.searchsorted(indptr, starts, "right") == np.searchsorted(indptr, starts + ns - 1, "right")).all()
        seen.add(tuple(np.sort(np.concatenate([starts for starts, _ in batches])).tolist()))
    assert len(seen) == 3  # the cuts move


def test_nobody_has_a_history():
    histories = Histories(np.zeros(4, np.int64), np.empty(0, np.int32), 9)
    assert window_batches(histories, size=6, events=32, rng=np.random.default_rng(0)) == []
