"""What `llmrec probe` found of the language models behind a row: whether one has seen the dataset it recommends from.

A probe is a file DATASET-MODEL.json in the results folder's probes/, written by `llmrec probe` (see `llmrec.lm.probe`
for what is asked). It is told beside every result of the model on that dataset; where a language model has results
and no probe, that is told as well, with the command that makes one.
"""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path
from typing import Any

from llmrec.content import results_folder
from llmrec.errors import UserError
from llmrec.records import Record
from llmrec.report.evidence import Line

GENERATIVE = "gpt"
"""The family whose rows name their language model in a parameter ``model``."""


def memorised(line: Line) -> list[str]:
    """A sentence on each pretrained language model of a finished row.

    Raises:
        UserError: a probe's file is not as `llmrec probe` writes it.
    """
    folder = _probes_folder(line)
    said: dict[str, None] = {}
    for record in line.records:
        for model, revision in record.provenance.models.items():
            found = _probes(folder).get((record.spec.dataset, model, revision))
            if found:
                said[found] = None
            elif line.family == GENERATIVE and model in _named_models(record.params) and "random" not in revision:
                said[_not_probed(record, model)] = None
    return list(said)


def _probes_folder(line: Line) -> Path:
    """That of the results folder which the row's records lie in; published rows have none of their own."""
    folders = [run.folder for run in line.done if run.folder]
    return (folders[0].parents[2] if folders else results_folder()) / "probes"  # RESULTS/runs/RUN/MACHINE


@cache
def _probes(folder: Path) -> dict[tuple[str, str, str], str]:
    """(dataset, model, its revision) -> what a probe found, in words."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            told = json.loads(path.read_text("utf-8"))
            found[told["dataset"], told["model"], told["revision"]] = _in_words(told)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: not as `llmrec probe` writes it ({type(error).__name__}: {error}). Delete it and probe again."
            ) from None
    return found


def _in_words(told: dict[str, Any]) -> str:
    titles = told["titles"]
    said = (
        f"Has {told['model']} seen {told['dataset']}? Given the first half of {titles['exact']['of']} titles, it goes "
        f"on exactly in {_share(titles['exact'])}, and finds the right end among ten in {_share(titles['first'])} "
        f"(chance {titles['chance_of_first']:.0%})"
    )
    if lines := told.get("lines"):
        said += (
            f"; of {lines['exact']['of']} lines of its ratings file in {_share(lines['exact'])} and "
            f"{_share(lines['first'])}"
        )
    return said.replace("%", " %") + "; 95 % intervals."


def _share(found: dict[str, float]) -> str:
    return f"{found['share']:.1%} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def _not_probed(record: Record, model: str) -> str:
    dataset = record.spec.dataset
    return f"Not probed: whether {model} has seen {dataset} (llmrec probe {dataset} --model {shlex.quote(model)})."


def _named_models(params: dict[str, Any]) -> set[str]:
    """The models that a row's parameters name, those of its nested stages too."""
    nested = [_named_models(value) for value in params.values() if isinstance(value, dict)]
    own = {params["model"]} if isinstance(params.get("model"), str) else set()
    return own.union(*nested)
