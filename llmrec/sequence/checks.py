"""Parameters out of range, said in one message: method, key, value and range."""

from __future__ import annotations

import math

from llmrec.errors import UserError, nearest


def one_of(method: str, key: str, value: str, known: tuple[str, ...]) -> None:
    """
    Raises:
        UserError: ``value`` is not known; the message names the nearest that is.
    """
    if value not in known:
        raise UserError(f"{method}: {key} {value!r} is unknown.{nearest(value, known)}")


def at_least(method: str, low: float, **values: float | None) -> None:
    """
    Raises:
        UserError: a value is below ``low`` (or not finite); None is left alone.
    """
    for key, value in values.items():
        if value is not None and not low <= value < math.inf:
            raise UserError(f"{method}: {key} = {value} is out of range: expected {low:g} or more.")


def share(method: str, *, below_one: bool = False, above_zero: bool = False, **values: float) -> None:
    """
    Raises:
        UserError: a value lies outside [0, 1], or is 1 or 0 where that is excluded.
    """
    for key, value in values.items():
        if not 0 <= value <= 1 or (below_one and value == 1) or (above_zero and value == 0):
            low, high = ("above 0" if above_zero else "0 or more"), ("below 1" if below_one else "at most 1")
            raise UserError(f"{method}: {key} = {value} is out of range: expected {low} and {high}.")


def above_zero(method: str, **values: float) -> None:
    """
    Raises:
        UserError: a value is not above 0, or not finite.
    """
    for key, value in values.items():
        if not 0 < value < math.inf:
            raise UserError(f"{method}: {key} = {value} is out of range: expected a number above 0.")


def multiple(method: str, **values: int) -> None:
    """``multiple("sasrec", width=64, heads=2)``: the first must be a multiple of the second.

    Raises:
        UserError: it is not.
    """
    (first, a), (second, b) = values.items()
    if a % b:
        raise UserError(f"{method}: {first} {a} is no multiple of {second} {b}.")
