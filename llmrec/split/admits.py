"""Which options a protocol has, which task the special ones belong to, and what a card must have. Nothing heavy is
imported, so that a suite is checked before anything runs.

An option that has no effect under a protocol is refused there: it would only make two equal runs look different.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmrec.errors import UserError
from llmrec.records import Protocol, ProtocolName, TaskName

if TYPE_CHECKING:
    from llmrec.data import Card

_RANKED = ("mask_history", "candidates")
_SEQUENCES = ("ties", "max_history", "users")

OPTIONS: dict[ProtocolName, tuple[str, ...]] = {
    "leave-one-out": ("fit_data", *_RANKED, *_SEQUENCES, "repeats"),
    "temporal": ("fit_data", *_RANKED, *_SEQUENCES, "repeats", "cuts"),
    "ratio": ("fit_data", *_RANKED, *_SEQUENCES, "repeats", "cuts"),
    "random": ("fit_data", *_RANKED, *_SEQUENCES, "repeats", "cuts"),
    "user-holdout": (*_RANKED, *_SEQUENCES, "repeats", "cuts"),
    "official": ("fit_data", *_RANKED, *_SEQUENCES, "repeats", "fold"),
    "impressions": ("max_history", "users"),
    "requests": ("users", "withhold"),
}
"""What can be set beside ``name`` and ``seed``. ``fit_data`` cannot where there is nothing but ``train`` to fit on."""

TASK_OF: dict[ProtocolName, TaskName] = {"impressions": "impressions", "requests": "request"}
"""Protocols that belong to one task only; the others split interactions, for ``topn`` and ``rating``."""

MAY_TARGET_REPEATS: tuple[ProtocolName, ...] = ("leave-one-out", "temporal", "ratio", "official")

_WHY = {
    "fit_data": "its methods fit on train; use fit_data = 'train'",
    "fold": "only 'official' has folds",
    "withhold": "only 'requests' withholds a field of the items",
    "cuts": "only 'temporal', 'ratio', 'random' and 'user-holdout' cut by shares",
}


def check(protocol: Protocol, task: TaskName = "topn") -> None:
    """The protocol's options make sense together and for the task.

    Raises:
        UserError: an option without effect, cuts that leave a part empty, or a task that the protocol is not made for.
    """
    belongs = TASK_OF.get(protocol.name)
    if belongs not in (None, task) or (belongs is None and task in TASK_OF.values()):
        own = ", ".join(name for name, of in TASK_OF.items() if of == task) or "one that splits interactions"
        raise UserError(f"the protocol {protocol.name!r} does not go with the task {task!r}, which needs {own}.")
    default = Protocol(name=protocol.name)  # type: ignore[call-arg]
    for option in Protocol.model_fields:
        value = getattr(protocol, option)
        if option in ("name", "seed") or value == getattr(default, option):
            continue
        if option not in OPTIONS[protocol.name]:
            raise UserError(
                f"protocol.{option} = {value!r} has no effect under {protocol.name!r}: "
                f"{_WHY.get(option, 'leave it out')}. Options there: {', '.join(OPTIONS[protocol.name])}, seed."
            )
        if option in _RANKED and task != "topn":
            raise UserError(
                f"protocol.{option} = {value!r} has no effect on the task {task!r}, where no catalogue is ranked for a "
                "user; leave it out."
            )
    _check_values(protocol)


def _check_values(protocol: Protocol) -> None:
    if not 0 < protocol.cuts[0] < protocol.cuts[1] < 1:
        raise UserError(
            f"protocol.cuts = {list(protocol.cuts)}: expected two numbers, 0 < end of train < end of validation < 1."
        )
    if protocol.repeats != "target":
        return
    if protocol.name not in MAY_TARGET_REPEATS:
        raise UserError(
            f"protocol.repeats = 'target': under {protocol.name!r} all events of a user and item stay in one part; "
            f"it goes with {', '.join(MAY_TARGET_REPEATS)}."
        )
    if protocol.mask_history:
        raise UserError(
            "protocol.repeats = 'target' needs mask_history = false: with the history masked, an item that a user "
            "takes again could never be recommended."
        )


def check_card(card: Card, protocol: Protocol, task: TaskName = "topn") -> None:
    """The card admits the protocol and the task.

    Raises:
        UserError: it does not; the message names what it admits.
    """
    if protocol.name not in card.protocols:
        raise UserError(
            f"{card.name} does not admit the protocol {protocol.name!r}: its card says time = {card.time!r}, "
            f"protocols = {', '.join(card.protocols)}."
        )
    if task == "rating" and card.rating is None:
        raise UserError(
            f"{card.name} has no ratings to predict: its card has no table `rating` with scale and liked. It admits "
            f"other tasks under the protocols {', '.join(card.protocols)}."
        )
    if card.time == "none" and protocol.max_history != "all":
        raise UserError(
            f"protocol.max_history = {protocol.max_history}: nobody knows the newest events of {card.name}, whose card "
            "says time = 'none'; leave it out."
        )
