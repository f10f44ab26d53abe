"""``user-holdout``, strong generalisation: those who are asked are unseen in training, and some of their events are
given when they are asked.

By default 80 % of the users train, 10 % validate and 10 % test, drawn by a seeded hash. Of a held-out user's distinct
items a fifth, drawn by a seeded hash, are the targets (rounded down: users with fewer than five have none); everything
else of theirs is given. So in Liang, Krishnan, Hoffman and Jebara, Variational Autoencoders for Collaborative
Filtering, WWW 2018 (Mult-VAE), who also drop targets that nobody in training had: ``candidates = "train"``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmrec.records import Protocol
from llmrec.seeds import axis_seed, hash64
from llmrec.split.events import GIVEN_TEST, GIVEN_VALID, LEFT_OUT, TEST, TRAIN, VALID, Events, Sides
from llmrec.split.ratio import up_to
from llmrec.types import Bools, Int32

ONE_TARGET_OF = 5
"""One item of so many is a target."""


def sides(events: Events, protocol: Protocol) -> Sides:
    """Where each event goes [events]."""
    users = np.flatnonzero(events.lengths)
    users = users[np.argsort(hash64(axis_seed(protocol.seed, "held-out users"), users), kind="stable")]
    train, valid = (int(up_to(share, np.array(len(users)))) for share in protocol.cuts)
    given = np.full(events.n_users, TRAIN, np.uint8)
    target = np.full(events.n_users, TRAIN, np.uint8)
    given[users[train:valid]], target[users[train:valid]] = GIVEN_VALID, VALID
    given[users[valid:]], target[users[valid:]] = GIVEN_TEST, TEST
    out = np.repeat(given, events.lengths)
    rows = np.flatnonzero(out != TRAIN)
    owner, new = events.user[rows], events.new[rows]
    drawn = hash64(axis_seed(protocol.seed, "given events"), owner, events.item[rows])
    is_target = _among_the_smallest(owner, drawn, new, events.n_users)
    out[rows[is_target]] = np.where(new[is_target], target[owner[is_target]], LEFT_OUT)
    return out


def _among_the_smallest(owner: Int32, drawn: npt.NDArray[np.uint64], new: Bools, n_users: int) -> Bools:
    """Whether an event's number is among the smallest fifth of its user's distinct items' numbers, bool [events]."""
    order = np.lexsort((drawn[new], owner[new]))
    items = np.bincount(owner[new], minlength=n_users)
    wanted = items // ONE_TARGET_OF
    last = np.cumsum(items) - items + wanted - 1  # the place in `order` of each user's last target
    asked = wanted > 0
    largest = np.zeros(n_users, np.uint64)
    largest[asked] = drawn[new][order][last[asked]]
    among: Bools = asked[owner] & (drawn <= largest[owner])
    return among
