"""What the order in which candidates are shown decides (position bias: LLMRank, Hou et al. 2024, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmrec.lm.orders import Order


@dataclass
class Bias:
    """Users asked twice, their candidates shown in two random orders. Without bias both answers are the same."""

    users: int = 0
    other_top: int = 0  # another item on top
    first_on_top: int = 0  # the item that was shown first is on top of the (first) answer
    correlations: list[float] = field(default_factory=list)  # Kendall's tau between a user's two answers

    def add(self, one: Order, other: Order) -> None:
        """Two answers of one user; not counted where one of them is none, or there is nothing to order."""
        from scipy.stats import kendalltau

        if not one.answered or not other.answered or len(one.places) < 2:
            return
        self.users += 1
        self.other_top += one.places[0] != other.places[0]
        self.first_on_top += one.places[0] == one.shown_first
        ranks = [sorted(range(len(o.places)), key=o.places.__getitem__) for o in (one, other)]
        self.correlations.append(float(kendalltau(*ranks).statistic))

    def counts(self) -> dict[str, int]:
        """For the record; nothing where nobody was asked twice."""
        if not self.users:
            return {}
        mean = sum(self.correlations) / self.users
        return {
            "bias_users": self.users, "bias_other_top": self.other_top, "bias_first_on_top": self.first_on_top,
            "bias_kendall_thousandths": round(1000 * mean),
        }  # fmt: skip
