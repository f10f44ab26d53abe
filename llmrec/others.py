"""Whether other processes computed while a run did. Wall-clock seconds mean something only where they did not."""

from __future__ import annotations

import os
import time
from pathlib import Path

ALLOWED_SECONDS, ALLOWED_SHARE = 0.5, 0.1
"""What others may take all the same, in CPU seconds: the runner's own watching, and a tenth of one core."""


class Others:
    """The CPU time of everything but this process and what it started, since it was made."""

    def __init__(self, own_seconds: float) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy_seconds(), own_seconds

    def kept_quiet(self, own_seconds: float) -> bool:
        """Whether they took next to nothing. ``own_seconds``: CPU seconds of this process and its children by now."""
        elapsed = time.monotonic() - self._began
        others = _busy_seconds() - self._busy - (own_seconds - self._own)
        return others <= ALLOWED_SECONDS + ALLOWED_SHARE * elapsed


def _busy_seconds() -> float:
    """CPU seconds of all processes of the machine since it started: user, nice and system time.

    Linux's own figures where they are, for a worker imports no more than it must.
    """
    stat = Path("/proc/stat")
    if stat.exists():
        user, nice, system = stat.read_text("ascii").split(maxsplit=4)[1:4]
        return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")
    import psutil

    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))
