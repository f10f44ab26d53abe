"""Parts of a suite for several machines: ``--shard 2/4``. Every run is in exactly one part, and which one depends on
nothing that lies on the machine: not on what has been run there, nor on what runs beside it."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmrec.errors import UserError
from llmrec.suite import Planned


@dataclass(frozen=True)
class Shard:
    """Part ``number`` (from 1) of ``of``."""

    number: int
    of: int


def parse(text: str) -> Shard:
    """ "2/4" as a shard. Raises UserError for anything else."""
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    shard = Shard(int(found[1]), int(found[2])) if found else Shard(0, 0)
    if not 1 <= shard.number <= shard.of:
        raise UserError(f"--shard {text}: expected i/n with i from 1 to n, for example 2/4 (in array jobs i from 1).")
    return shard


def part(planned: Sequence[Planned], shard: Shard, seconds: Mapping[str, float | None] | None = None) -> list[Planned]:
    """The runs of one shard, in the suite's order.

    Where ``seconds`` (run id -> what the run took before) tells of a run at least, each run in turn, the longest first,
    goes to the shard with the least to do; a run without a time counts as the others of its method, else as the median
    of all. Else the runs are dealt out in turn, row after row, so that a row's seeds go to different shards.
    """
    expected = _expected(planned, seconds or {})
    if expected is None:
        rows = {label: number for number, label in enumerate(dict.fromkeys(one.label for one in planned))}
        order = sorted(range(len(planned)), key=lambda at: (rows[planned[at].label], at))
        mine = set(order[shard.number - 1 :: shard.of])
    else:
        mine = _lightest(planned, expected, shard)
    return [one for at, one in enumerate(planned) if at in mine]


def _lightest(planned: Sequence[Planned], expected: Sequence[float], shard: Shard) -> set[int]:
    """Places of the shard's runs, when the longest run always goes to the shard with the least to do."""
    order = sorted(range(len(planned)), key=lambda at: (-expected[at], planned[at].spec.run_id))
    loads, mine = [0.0] * shard.of, set()
    for at in order:
        lightest = loads.index(min(loads))
        loads[lightest] += expected[at]
        if lightest == shard.number - 1:
            mine.add(at)
    return mine


def _expected(planned: Sequence[Planned], seconds: Mapping[str, float | None]) -> list[float] | None:
    """Seconds of every run; None where nothing is known of any."""
    known = [seconds.get(one.spec.run_id) for one in planned]
    told = [value for value in known if value is not None]
    if not told:
        return None
    by_row: dict[str, list[float]] = {}
    for one, value in zip(planned, known, strict=True):
        if value is not None:
            by_row.setdefault(one.label, []).append(value)
    others = {label: statistics.fmean(values) for label, values in by_row.items()}
    usual = statistics.median(told)
    return [
        value if value is not None else others.get(one.label, usual) for one, value in zip(planned, known, strict=True)
    ]
