"""What a history tells beside its items: whose it is, and how much time passed before each.

TIGER (Rajput et al. 2023, section 3.2) puts a token in front of a history that says who the user is, one of 2,000 that
users are spread over. Here it is a vector added to the start token's. Time gaps are vectors added to items: as many as
there are powers of 2 between a second and the longest gap, and one for an item with nothing before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from llmrec.errors import UserError

if TYPE_CHECKING:
    from llmrec.types import Histories, Int32, Int64

GAPS = 34
"""Nothing before; no time between; then from 2^k seconds on, k = 0 to 31."""


class Extras(nn.Module):
    """Vectors of users and of gaps. ``users`` 0: none; ``gaps`` False: none."""

    def __init__(self, width: int, users: int, gaps: bool) -> None:
        super().__init__()
        self.users = nn.Embedding(users, width) if users else None
        self.gaps = nn.Embedding(GAPS, width) if gaps else None
        for table in (self.users, self.gaps):
            if table is not None:
                nn.init.normal_(table.weight, std=0.02)

    def forward(self, users: Int32, gaps: Int64) -> Tensor:
        """What is added to the places of histories [b, 1 + t, d]: the start token, then the items.

        Args:
            users: [b] ids.
            gaps: [b, t] numbers that `gaps_of` gave.
        """
        weight = next(self.parameters())
        out = weight.new_zeros(len(users), 1 + gaps.shape[1], weight.shape[1])
        if self.users is not None:
            places = torch.from_numpy(users.astype(np.int64) % self.users.num_embeddings)
            out[:, 0] = self.users(places.to(weight.device))
        if self.gaps is not None:
            out[:, 1:] = self.gaps(torch.from_numpy(gaps).to(weight.device))
        return out


def gaps_of(histories: Histories) -> Int64:
    """The number of the gap before each event, int64 [events], 0 to GAPS - 1.

    Raises:
        UserError: nothing is known of when the events were.
    """
    if histories.times is None:
        raise UserError("gpt-semantic-id: time_gaps = true, but these data say nothing of times. Leave it out.")
    between = np.maximum(np.diff(histories.times, prepend=0), 0)
    numbers: Int64 = 1 + np.frexp(between.astype(np.float64))[1].astype(np.int64)  # frexp: 0 for 0, k + 1 from 2^k on
    np.minimum(numbers, GAPS - 1, out=numbers)
    numbers[histories.indptr[:-1][histories.lengths > 0]] = 0
    return numbers
