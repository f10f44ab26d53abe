"""The rule by which a card has its requests made: its table ``[requests]``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

VALID_SHARE = 0.3
"""Share of the labels (by a hash of each) whose requests validate; the others' test."""


class RequestRule(BaseModel):
    """How requests are made of the labels that items carry in one field.

    Every label that is used gives two requests for the items that carry it: one that says the label, and one that says
    it in other words, without a content word of the label. A label for which other words cannot be had gives none, so
    that each kind is exactly half of the requests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rule: Literal["neighbours", "table"]
    """Where the other words come from: ``neighbours``: the labels that most often stand on the same items;
    ``table``: a table written by hand, datasets/words/<words>.toml, which also has the labels' plain names."""

    field: str = "tags"  # the item field that the labels stand in, one entry a vote
    withhold: list[str] = Field(default_factory=list)
    """Fields left out of the item texts of a run on these requests, besides ``field``: those that repeat it."""
    words: str | None = None  # the table's name
    language: str = "en"  # of the requests
    templates: list[str] = Field(default_factory=lambda: ["{}"])  # around the words; a hash of the label chooses
    min_votes: int = Field(1, ge=1)  # an item carries a label that at least so many users gave it
    min_items: int = Field(5, ge=1)  # ... and a label counts that at least so many items carry
    max_share: Annotated[float, Field(gt=0, le=1)] = 0.1  # ... and at most this share of the labelled items
    pairs: bool = False  # two labels at once ask for the items that carry both (``table`` only)
    ignore: list[str] = Field(default_factory=list)  # labels that speak of the user and not of the item

    @property
    def withheld(self) -> list[str]:
        """Every field that is left out of the item texts."""
        return [self.field, *(name for name in self.withhold if name != self.field)]

    @model_validator(mode="after")
    def _parts_fit(self) -> RequestRule:
        if (self.rule == "table") != (self.words is not None):
            raise ValueError("rule = 'table' needs words = '<name of a table in datasets/words/>'; others have none")
        if self.pairs and self.rule != "table":
            raise ValueError("pairs = true needs rule = 'table'")
        if any(template.count("{}") != 1 for template in self.templates):
            raise ValueError("every template holds {} once, where the words go")
        return self
