"""A record that comes, and the one of the same run and machine class that is here: which of them stays?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from llmrec.discover import MethodFile, split_name, with_parts
from llmrec.errors import UserError
from llmrec.merging.incoming import Found, Key
from llmrec.recheck import Verdict, compare
from llmrec.records import Record, Status
from llmrec.results import EXTERNAL
from llmrec.staleness import State, state

Keep = Literal["ours", "theirs"]

Outcome = Literal["new", "same", "kept", "replaced", "contradiction"]
"""new: nothing is here · same: equal, ours stays · kept: ours stays, for it says more · replaced: theirs says more ·
contradiction: both ok, of equal code, and their figures differ by more than they may."""

SOURCES = ("data", "split", "code", "evaluation")
"""Fingerprints of what a record's figures follow from."""

_ALLOWED: dict[str, tuple[Verdict, ...]] = {
    "bitwise": ("bitwise",),
    "tolerance": ("bitwise", "tolerance"),
    "unverified": ("bitwise", "tolerance"),  # machines of one class may round differently
    "none": ("bitwise", "tolerance", "none"),
}
"""How alike two records must be, by the run's determinism class."""

_WORTH = {Status.OK: 2, Status.SKIPPED: 0, Status.INTERRUPTED: 0}
"""An ok record says more than one that failed, and that more than one that was never done."""


@dataclass(frozen=True)
class Weighed:
    """What becomes of a record that comes, and why."""

    theirs: Found
    ours: Found | None
    outcome: Outcome
    why: str = ""


def weigh_all(
    coming: Iterable[Found],
    here: Callable[[Key], Found | None],
    methods: Mapping[str, MethodFile],
    keep: Keep | None = None,
) -> list[Weighed]:
    """Weigh records one after the other, each against what stays of those before it, else against what is ``here``.
    Today's ``methods`` tell which of two records of other code is fresh; ``keep`` settles contradictions."""
    staying: dict[Key, Found | None] = {}
    weighed = []
    for theirs in coming:
        if theirs.key not in staying:
            staying[theirs.key] = here(theirs.key)
        ours = staying[theirs.key]
        outcome, why = weigh(ours, theirs, methods)
        if outcome == "contradiction" and keep:
            outcome, why = ("kept" if keep == "ours" else "replaced"), f"{why}; --keep {keep}"
        if outcome in ("new", "replaced"):
            staying[theirs.key] = theirs
        weighed.append(Weighed(theirs, ours, outcome, why))
    return weighed


def weigh(ours: Found | None, theirs: Found, methods: Mapping[str, MethodFile]) -> tuple[Outcome, str]:
    """What becomes of ``theirs``, and why in words."""
    if ours is None:
        return "new", ""
    left, right = ours.record, theirs.record
    if left == right:
        return "same", ""
    more = _WORTH.get(right.status, 1) - _WORTH.get(left.status, 1)
    if more or left.status != Status.OK:
        return ("replaced" if more > 0 else "kept"), f"ours is {left.status}, theirs {right.status}"
    if other := [name for name in SOURCES if left.fingerprints.get(name) != right.fingerprints.get(name)]:
        return _newer(left, right, methods, other)
    verdict, _ = compare(left, right)
    strictest = min((ours.determinism, theirs.determinism), key=list(_ALLOWED).index)
    if verdict in _ALLOWED[strictest]:
        return "same", "" if verdict == "bitwise" else f"within its class: {strictest}"
    return "contradiction", f"beyond its class: {strictest}"


def _newer(ours: Record, theirs: Record, methods: Mapping[str, MethodFile], other: list[str]) -> tuple[Outcome, str]:
    """Of two records of other data or code, the one that today's code would give; two that are not, contradict if their
    figures do."""
    differ = f"other {' and '.join(other)}"
    left, right = _today(ours, methods), _today(theirs, methods)
    if (left == "fresh") != (right == "fresh"):
        return (
            ("kept", f"{differ}; theirs is {right}") if left == "fresh" else ("replaced", f"{differ}; ours is {left}")
        )
    if compare(ours, theirs)[0] != "none":
        return "same", f"{differ}, the same figures"
    return "contradiction", f"{differ}, neither is of today's code"


def _today(record: Record, methods: Mapping[str, MethodFile]) -> State:
    """What a record is worth by the code here; one whose method or dataset is not here is as good as stale."""
    name = split_name(record.spec.method)[0]
    file = EXTERNAL if name == EXTERNAL.name else methods.get(name)
    try:
        return state(record, with_parts(file, dict(methods), record.spec.params)) if file else "stale"
    except UserError:
        return "stale"
