"""gpt-item-id: a chain of items is learnt under every loss, and its network is GPT-2's."""

import numpy as np
import pytest
import torch

from llmrec import toy
from llmrec.context import Context
from llmrec.discover import load_method
from llmrec.errors import UserError

GptItemId = load_method("gpt-item-id")
N_ITEMS = 20


def chain():
    cycle = np.random.default_rng(0).permutation(N_ITEMS)
    return toy.leave_one_out([[int(cycle[(u + s) % N_ITEMS]) for s in range(10)] for u in range(60)], N_ITEMS)


@pytest.mark.parametrize("loss", ["cross-entropy", "sampled-softmax"])
def test_a_deterministic_chain_is_learnt_completely(loss):
    split = chain()
    method = GptItemId(
        loss=loss, negatives=None if loss == "cross-entropy" else N_ITEMS, width=16, length=8, dropout=0.0,
        batch_size=16, learning_rate=1e-2, epochs=15, patience=99,
    )  # fmt: skip
    method.fit(split, Context(seed=0, items=toy.items(N_ITEMS)))
    for users, targets in split.batches("test", 64):
        assert (method.score(users).argmax(1) == targets.items).mean() > 0.98


def test_its_network_is_gpt_2s():
    pytest.importorskip("transformers")
    from llmrec.gpt.model import to_gpt2

    split = chain()
    method = GptItemId(width=16, length=8, epochs=1)
    method.fit(split, Context(seed=0, items=toy.items(N_ITEMS)))
    ids = torch.tensor([[N_ITEMS, 3, 1, 4]])
    with torch.inference_mode():
        theirs = to_gpt2(method.model.gpt)(ids).logits[..., :-1]
        ours = method.model(ids) @ method.model.catalogue.T
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_wrong_parameters_are_named():
    with pytest.raises(UserError, match="gpt-item-id"):
        GptItemId(loss="crossentropy")
    with pytest.raises(UserError, match="width"):
        GptItemId(width=10, heads=4)
