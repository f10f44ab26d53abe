"""An optional first stage: an encoder goes on with what it was made by, masked-language modelling, on the items' texts.

15 % of the tokens are asked for; of these 80 % are hidden, 10 % are replaced by any token and 10 % stay (Devlin et al.,
NAACL 2019). It helps where a domain's words are rare in what the encoder has read (Gururangan et al., ACL 2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from llmrec.bert.classifier import quietly
from llmrec.bert.tune import schedule
from llmrec.errors import MethodError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmrec.context import Context
    from llmrec.encoders import Encoder
    from llmrec.types import Int64

ASKED, HIDDEN, REPLACED = 0.15, 0.8, 0.1
BATCH, LEARNING_RATE, WARM_UP = 32, 5e-5, 0.1


def read_more(found: Encoder, tokenizer: Any, tokens: Sequence[Sequence[int]], epochs: int, ctx: Context) -> Any:
    """The encoder after ``epochs`` over texts, given as tokens with the special ones: a transformers model without its
    head, on the run's device. A killed run does this stage again and ends with the same weights.

    Raises:
        UserError: the tokenizer has no token for what is hidden. MethodError: the loss is not finite.
    """
    from transformers import AutoModelForMaskedLM

    if tokenizer.mask_token_id is None:
        raise UserError(f"encoder {found.name!r}: its tokenizer has no mask; set pretrain = 0.")
    torch.manual_seed(ctx.seed_for("domain"))  # the head is new where the checkpoint has none
    with quietly():
        model: Any = AutoModelForMaskedLM.from_pretrained(
            found.folder, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        ).to(ctx.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True)
    texts = np.array([row for row, text in enumerate(tokens) if len(text) > 2], np.int64)  # more than special tokens
    for epoch in range(epochs):
        torch.manual_seed(ctx.seed_for("domain", epoch + 1))  # dropout
        rng, total, count = ctx.rng("domain", epoch + 1), 0.0, 0
        order = rng.permutation(texts)
        model.train()
        for start in range(0, len(order), BATCH):
            some = [tokens[row] for row in order[start : start + BATCH]]
            batch = tokenizer.pad({"input_ids": some}, return_tensors="pt", return_attention_mask=True)
            ids, asked = hidden_tokens(batch["input_ids"].numpy(), tokenizer, rng)
            logits = model(
                input_ids=torch.from_numpy(ids).to(ctx.device), attention_mask=batch["attention_mask"].to(ctx.device)
            ).logits
            wanted = batch["input_ids"].masked_fill(~torch.from_numpy(asked), -100).to(ctx.device)
            loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum")
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * schedule((epoch + start / len(order)) / epochs, WARM_UP)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss / max(int(asked.sum()), 1))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total, count = total + loss.item(), count + int(asked.sum())
        if not np.isfinite(total):
            raise MethodError(f"pre-training diverged: the loss of epoch {epoch + 1} is {total}.")
        ctx.log("pretrain", epoch=epoch + 1, epochs=epochs, loss=total / max(count, 1))
    return model.base_model.eval()


def hidden_tokens(ids: Int64, tokenizer: Any, rng: np.random.Generator) -> tuple[Int64, Any]:
    """What the encoder reads in place of tokens [b, t], and which of them are asked for, bool [b, t]."""
    plain = ~np.isin(ids, tokenizer.all_special_ids)
    asked, fate = plain & (rng.random(ids.shape) < ASKED), rng.random(ids.shape)
    other = rng.integers(len(tokenizer), size=ids.shape)
    shown = np.where(asked & (fate < HIDDEN), tokenizer.mask_token_id, ids)
    return np.where(asked & (fate >= 1 - REPLACED), other, shown).astype(np.int64), asked
