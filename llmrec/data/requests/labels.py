"""The labels that items carry: votes counted, spellings merged, the rare and the ubiquitous left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from llmrec.data.requests.rule import RequestRule
from llmrec.data.requests.words import STOP, words
from llmrec.types import Int32


@dataclass(frozen=True)
class Labels:
    """Which items carry which label. A label is named by its words ("hip hop"), whatever its spelling ("Hip-Hop")."""

    items: dict[str, Int32]  # label -> the items that carry it, ascending
    said: dict[str, str]  # label -> its commonest spelling
    labelled: npt.NDArray[np.bool_]  # [n_items]: carries any label

    def asked_for(self, rule: RequestRule) -> list[str]:
        """The labels that requests can be made of, in alphabetical order."""
        most = rule.max_share * int(self.labelled.sum())
        return sorted(label for label, items in self.items.items() if rule.min_items <= len(items) <= most)


def name(text: str) -> str:
    """The name of a label, the same for all its spellings; '' where none of its words says anything."""
    found = words(text)
    return " ".join(found) if any(word not in STOP for word in found) else ""


def read_labels(rule: RequestRule, field: pl.Series) -> Labels:
    """Count the votes in a field (list[str], one entry a vote) [n_items]."""
    votes = pl.DataFrame({"item": pl.int_range(len(field), dtype=pl.Int32, eager=True), "said": field})
    votes = votes.explode("said").drop_nulls("said")
    spellings = votes["said"].unique().to_list()
    ignored = {name(text) for text in rule.ignore}
    names = {text: name(text) for text in spellings}
    votes = votes.with_columns(label=pl.col("said").replace_strict(names, return_dtype=pl.String))
    votes = votes.filter((pl.col("label") != "") & ~pl.col("label").is_in(list(ignored)))
    commonest = votes.group_by("label", "said").len().sort("label", "len", "said", descending=[False, True, False])
    carried = votes.group_by("item", "label").len().filter(pl.col("len") >= rule.min_votes).sort("label", "item")
    labelled = np.zeros(len(field), bool)
    labelled[carried["item"].to_numpy()] = True
    return Labels(
        {str(key[0]): some["item"].to_numpy() for key, some in carried.group_by("label", maintain_order=True)},
        dict(commonest.unique("label", keep="first", maintain_order=True).select("label", "said").iter_rows()),
        labelled,
    )
