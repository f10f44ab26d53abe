"""Errors that a user can mend. The command line prints one clear message and exits with code 2; no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What is wrong, where (file, line or key), what was expected, and what to do about it: one message."""


class MethodError(Exception):
    """A method broke the contract (NaN scores, ids out of range, wrong shape). The run fails; the others go on."""


class Skip(UserError):
    """A run that this method cannot do, through nobody's fault: it is skipped, with the reason."""


class ChecksumError(UserError):
    """A file's contents are not what its card says."""


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean X?' for the closest known word, else the list of known words; '' when nothing is known."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(known)}." if known else ""
