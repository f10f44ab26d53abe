"""Our GPT is GPT-2: weights go to transformers and back without changing a logit."""

import torch

from llmrec.gpt.model import GPT, Shape, from_gpt2, to_gpt2


def test_same_logits_as_transformers_gpt2_both_ways():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=20, n_embd=32, n_layer=3, n_head=4)).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    tokens = torch.randint(50, (3, 20))
    ours = from_gpt2(theirs)
    with torch.no_grad():
        wanted = theirs(tokens).logits
        torch.testing.assert_close(ours.logits(ours(tokens)), wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(to_gpt2(ours)(tokens).logits, wanted, atol=1e-4, rtol=1e-4)


def test_factorised_positions_survive_the_export():
    torch.manual_seed(0)
    ours = GPT(Shape(30, 14, layers=1, heads=2, width=8, period=4)).eval()
    tokens = torch.randint(30, (2, 14))
    with torch.no_grad():
        ours.slots.weight.normal_()
        ours.phases.weight.normal_()
        torch.testing.assert_close(to_gpt2(ours)(tokens).logits, ours.logits(ours(tokens)), atol=1e-5, rtol=1e-5)


def test_later_tokens_change_nothing_before_them():
    torch.manual_seed(0)
    model = GPT(Shape(30, 10, layers=2, heads=2, width=8)).eval()
    tokens = torch.randint(30, (2, 10))
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 30
    with torch.no_grad():
        assert torch.allclose(model(tokens)[:, :6], model(changed)[:, :6], atol=1e-6)
