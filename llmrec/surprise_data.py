"""Ratings as Surprise holds them: what the methods that train through it share."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmrec.types import Interactions


def trainset(interactions: Interactions, scale: tuple[float, float] | None) -> Any:
    """The ratings as Surprise's Trainset, with our ids for its own."""
    from surprise import Trainset

    of_user: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)  # SVDpp looks up users without ratings too
    of_item: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    columns = (interactions.frame[name].to_list() for name in ("user", "item", "value"))
    for user, item, value in zip(*columns, strict=True):
        of_user[user].append((item, value))
        of_item[item].append((user, value))
    n_users, n_items = interactions.n_users, interactions.n_items
    own = [{i: i for i in range(n)} for n in (n_users, n_items)]
    return Trainset(of_user, of_item, n_users, n_items, len(interactions), scale, *own)
