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


def votes(rule: RequestRule, n_items: int, tags: pl.DataFrame | None, fields: pl.DataFrame | None) -> pl.DataFrame:
    """Who said what of which item: user int32 (null: the catalogue itself), item int32, said str.

    Args:
        tags: users' words, with user, item and text; read where ``rule.field`` is "tags".
        fields: one row an item; ``rule.field`` is one of its columns otherwise, str or list[str].

    Raises:
        KeyError: the dataset has no such field.
    """
    if rule.field == "tags" and tags is not None:
        return tags.select("user", "item", said=pl.col("text").str.strip_chars().str.to_lowercase())
    if fields is None or rule.field not in fields.columns:
        raise KeyError(rule.field)
    said = fields[rule.field]
    said = said if said.dtype == pl.List(pl.String) else said.cast(pl.String).reshape((-1, 1)).arr.to_list()
    table = pl.DataFrame({"item": pl.int_range(n_items, dtype=pl.Int32, eager=True), "said": said}).explode("said")
    table = table.filter(pl.col("said").fill_null("") != "")
    return table.select(pl.lit(None, pl.Int32).alias("user"), "item", "said")


def read_labels(rule: RequestRule, n_items: int, votes: pl.DataFrame) -> Labels:
    """Count the votes. A user has one vote for a label of an item, however often and in whatever spelling; those who
    are not among the dataset's users (null) have one together."""
    ignored = {name(text) for text in rule.ignore}
    names = {text: name(text) for text in votes["said"].unique()}
    votes = votes.with_columns(label=pl.col("said").replace_strict(names, return_dtype=pl.String))
    votes = votes.filter((pl.col("label") != "") & ~pl.col("label").is_in(list(ignored)))
    votes = votes.unique(["user", "item", "label", "said"])
    commonest = votes.group_by("label", "said").len().sort("label", "len", "said", descending=[False, True, False])
    carried = votes.group_by("item", "label").agg(votes=pl.col("user").n_unique())
    carried = carried.filter(pl.col("votes") >= rule.min_votes).sort("label", "item")
    labelled = np.zeros(n_items, bool)
    labelled[carried["item"].to_numpy()] = True
    return Labels(
        {str(key[0]): some["item"].to_numpy() for key, some in carried.group_by("label", maintain_order=True)},
        dict(commonest.unique("label", keep="first", maintain_order=True).select("label", "said").iter_rows()),
        labelled,
    )
