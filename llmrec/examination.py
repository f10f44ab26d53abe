"""Which checks a method is examined by: one round for every verb that it can be asked by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmrec import contract, contract_rating
from llmrec.contract import Check
from llmrec.contract_rating import RatingSubject
from llmrec.subject import Subject, subject

Round = tuple[Subject, Sequence[Check]]


def rounds(name: str, extra: Path | None = None) -> list[Round]:
    """The method of this name as it is asked by each of its verbs, with the checks of that verb; one round without a
    verb for a method that has none, which the checks then say. ``extra`` is a folder of the user's own.

    Raises:
        UserError: there is no such method. MethodError: its file raises on import.
    """
    first = subject(name, extra)
    return [one_round(first, verb) for verb in first.verbs or ("",)]


def one_round(of: Subject, verb: str) -> Round:
    """A method asked by one verb; fits are shared with ``of`` where both are fitted on the same board: ``predict`` has
    one with ratings, ``search`` one with requests."""
    if verb == "predict":
        return RatingSubject(of.name, of.cls, of.params, verb), contract_rating.CHECKS
    fits = of.fits if {of.verb, verb}.isdisjoint(("predict", "search")) or of.verb == verb else {}
    return Subject(of.name, of.cls, of.params, verb, fits), contract.CHECKS
