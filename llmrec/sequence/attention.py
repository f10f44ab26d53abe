"""SASRec's layer, for methods that read a sequence from left to right.

Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, section III-B, as their code has it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from llmrec.sequence.layers import Dropout


class CausalBlock(nn.Module):
    """One layer, as its authors wrote it: a normed query asks the stream as it is (equation 5); what comes out is
    normed and goes on through a feed-forward net of the same width (equation 6)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.mix = (nn.Linear(width, n * width) for n in (1, 2, 1))
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # [b, t, d] -> [b, t, d]
        b, t, d = x.shape
        q = self.query(self.norm_1(x)).view(b, t, self.heads, d // self.heads).transpose(1, 2)
        k, v = self.key_value(x).view(b, t, 2, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # [b, heads, t, d / heads]
        x = self.norm_2(x + self.dropout(self.mix(seen.transpose(1, 2).reshape(b, t, d))))
        return x + self.dropout(self.down(F.relu(self.up(x))))  # type: ignore[no-any-return]
