"""How long what is due will take, said before a suite starts: by what earlier runs in the results folder took."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from llmrec.cardfiles import raw_card
from llmrec.errors import UserError
from llmrec.records import RunSpec
from llmrec.report.words import listed, number_of
from llmrec.seeds import canonical_json
from llmrec.suite import Planned


def planned_hours(
    due: Sequence[Planned], root: Path, limit: float, told: Mapping[str, float | None] | None = None
) -> str:
    """The CPU time that ``due`` runs will take, in words, and of which nothing is known.

    A run is taken to cost what it did before, else the median of its row's others on the dataset, else of its method
    on the dataset, else of its method on other datasets, scaled by their numbers of interactions.

    Args:
        limit: seconds after which a run is ended.
        told: run id -> seconds that it took where an archive was packed.
    """
    past = Past(root)
    found = [(seconds, False) if (seconds := (told or {}).get(o.spec.run_id)) else past.seconds(o.spec) for o in due]
    total = sum(seconds for seconds, _ in found if seconds is not None)
    scaled = sum(far for seconds, far in found if seconds is not None)
    unknown = Counter(
        f"{one.label} on {one.spec.dataset}" for one, (seconds, _) in zip(due, found, strict=True) if seconds is None
    )
    known = len(due) - unknown.total()
    said = [f"about {in_words(total)} for {number_of(known, 'run')}, by what earlier ones took"] if known else []
    if scaled:
        said[-1] += f" ({scaled} of them scaled from other datasets by the number of interactions)"
    if unknown:
        rows = listed([*list(unknown)[:5], *([f"{len(unknown) - 5} more rows"] if len(unknown) > 5 else [])])
        count = number_of(unknown.total(), "run")
        said.append(f"{count} nobody has timed here, each ended after {in_words(limit, '')} at most: {rows}")
    return "planned: " + "; ".join(said)


def in_words(seconds: float, kind: str = "CPU ") -> str:
    """ "40 CPU seconds", "12 CPU minutes", "3.5 CPU hours"."""
    for unit, size in (("seconds", 1), ("minutes", 60)):
        if seconds < 100 * size:
            return f"{seconds / size:.0f} {kind}{unit}"
    return f"{seconds / 3600:.1f} {kind}hours"


class Past:
    """What the finished runs of a results folder took, CPU seconds each."""

    def __init__(self, root: Path) -> None:
        self._runs: dict[str, list[float]] = defaultdict(list)  # by id, row, method on a dataset
        self._elsewhere: dict[str, list[tuple[str, float]]] = defaultdict(list)  # method -> dataset, seconds
        for path in sorted((root / "runs").glob("[!.]*/[!.]*/record.json")):
            try:
                record = json.loads(path.read_text("utf-8"))
                spec, seconds = RunSpec.model_validate(record["spec"]), float(record["cost"]["total_cpu_seconds"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # whoever reads its figures says what is wrong with it
            if record["status"] == "ok" and spec.part == "test":
                for key in _keys(spec):
                    self._runs[key].append(seconds)
                self._elsewhere[spec.method].append((spec.dataset, seconds))

    def seconds(self, spec: RunSpec) -> tuple[float | None, bool]:
        """What a run will take, None where nothing is known of its method; whether that is scaled from elsewhere."""
        for key in _keys(spec):
            if key in self._runs:
                return median(self._runs[key]), False
        here = _interactions(spec.dataset)
        sizes = [(_interactions(dataset), seconds) for dataset, seconds in self._elsewhere.get(spec.method, [])]
        scaled = [seconds * here / there for there, seconds in sizes if there and here]
        return (median(scaled), True) if scaled else (None, False)


def _keys(spec: RunSpec) -> tuple[str, str, str]:
    """A run's id, its row on the dataset, its method on the dataset."""
    method = f"{spec.task} {spec.dataset} {spec.method}"
    return spec.run_id, f"{method} {canonical_json(spec.params)}", method


def _interactions(dataset: str) -> int | None:
    """The number that a dataset's card states."""
    try:
        stated = raw_card(dataset).get("statistics", {}).get("interactions")
    except UserError:  # the card is gone
        return None
    return stated if isinstance(stated, int) else None
