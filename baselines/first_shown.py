"""First shown: the candidates in the order of the log. A control: where it beats .5 in auc, places give clicks away.

score(impression, c) = -(place of candidate c in what was shown)

Real pages show the best first, so a log in the page's order mixes what users like with where they looked. MIND shuffles
the candidates of every impression before publication; a copy that does not would be found out by this row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from llmrec.context import Context
    from llmrec.types import Floats, Histories, Split, Users


@dataclass
class FirstShown:
    """Keeps candidates in the order in which the log lists them."""

    family: ClassVar[str] = "non-personal"
    seeded: ClassVar[bool] = False

    def fit(self, split: Split, ctx: Context) -> None:
        pass

    def rerank(self, users: Users, candidates: Histories) -> Floats:
        return candidates.ages.astype(float)  # how many candidates of the row stand after it
