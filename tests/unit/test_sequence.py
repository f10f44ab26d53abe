"""What sequence methods share: windows in which each item is a target once, the question, the losses' formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.errors import UserError  # noqa: E402
from llmrec.sequence.losses import LOSSES, Loss, declared_loss, gbce_power  # noqa: E402
from llmrec.sequence.windows import question, shifted_windows  # noqa: E402

N_ITEMS = 20


@pytest.mark.parametrize("length", [1, 4, 7, 50])
def test_each_item_of_a_history_is_a_target_once_and_follows_its_input(length: int) -> None:
    sequences = [[], [3], [], [4, 5, 6, 7], [1, 2] * 11, []]
    histories = toy.interactions(sequences, N_ITEMS).histories
    for epoch in range(5):
        pairs: list[tuple[int, int]] = []
        for inputs, targets in shifted_windows(histories, length, 2, np.random.default_rng(epoch)):
            assert inputs.shape == targets.shape and inputs.shape[1] <= length
            there = targets >= 0
            assert (there[:, 1:] <= there[:, :-1]).all()  # padding is on the right
            pairs += zip(inputs[there].tolist(), targets[there].tolist(), strict=True)
        expected = [(before, item) for s in sequences for before, item in zip([N_ITEMS, *s], s, strict=False)]
        assert sorted(pairs) == sorted(expected)


def test_windows_are_cut_elsewhere_in_each_epoch() -> None:
    histories = toy.interactions([list(range(10))], N_ITEMS).histories
    rngs = map(np.random.default_rng, range(30))
    cuts = {tuple(next(shifted_windows(histories, 8, 128, rng))[0][:, 0].tolist()) for rng in rngs}
    assert len(cuts) > 3


def test_a_question_is_the_newest_items_after_a_start_where_there_is_room() -> None:
    ids, newest = question(toy.interactions([[], [3], [4, 5, 6], [1, 2, 3, 4, 5]], N_ITEMS).histories, 3)
    asked = [row[: last + 1] for row, last in zip(ids.tolist(), newest.tolist(), strict=True)]
    assert asked == [[N_ITEMS], [N_ITEMS, 3], [4, 5, 6], [3, 4, 5]]


def example(n: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States [n, 5], catalogue [N_ITEMS, 5] and wanted items [n], in double precision."""
    generator = torch.Generator().manual_seed(0)
    states, catalogue = (torch.randn(rows, 5, generator=generator, dtype=torch.float64) for rows in (n, N_ITEMS))
    return states.requires_grad_(), catalogue.requires_grad_(), torch.randint(N_ITEMS, (n,), generator=generator)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("negatives", "t"), [(1, 0.0), (4, 0.75), (4, 1.0)])
def test_gbce_is_the_formula_of_gsasrec(negatives: int, t: float) -> None:
    """-(log sigma(s+)^beta + sum log(1 - sigma(s-))) / (k + 1), term by term, on the items that the loss draws."""
    states, catalogue, wanted = (tensor.detach() for tensor in example())
    alpha = negatives / (N_ITEMS - 1)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    drawn = np.random.default_rng(7).integers(1, N_ITEMS, (len(wanted), negatives))
    expected = []
    for state, item, others in zip(states, wanted.tolist(), drawn, strict=True):
        said = math.log(sigmoid(float(state @ catalogue[item])) ** beta)
        said += sum(math.log(1 - sigmoid(float(state @ catalogue[(item + o) % N_ITEMS]))) for o in others)
        expected.append(-said / (negatives + 1))
    loss = Loss("gbce", negatives, t)(states, catalogue, wanted, np.random.default_rng(7))
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize("negatives", [1, 3, 40_000])
def test_bces_gradients_are_those_of_the_plain_formula(negatives: int) -> None:
    """Also where the items drawn are gathered a target at a time."""
    states, catalogue, wanted = example()
    loss = Loss("bce", negatives, 0)(states, catalogue, wanted, np.random.default_rng(5))
    found = torch.autograd.grad(loss, (states, catalogue))
    drawn = torch.from_numpy(np.random.default_rng(5).integers(1, N_ITEMS, (len(wanted), negatives)))
    negative = torch.einsum("nd,nkd->nk", states, catalogue[(wanted[:, None] + drawn) % N_ITEMS]).sigmoid()
    positive = (states * catalogue[wanted]).sum(1).sigmoid()
    plain = (-positive.log() - (1 - negative).log().sum(1)).mean()
    for ours, theirs in zip(found, torch.autograd.grad(plain, (states, catalogue)), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("negatives", [1, 3, 200])
def test_gbce_without_calibration_is_bce(negatives: int) -> None:
    """gSASRec takes the mean over target and negatives, SASRec's loss the sum."""
    states, catalogue, wanted = example()
    bce = Loss("bce", negatives, 0.75)(states, catalogue, wanted, np.random.default_rng(3))
    gbce = Loss("gbce", negatives, 0.0)(states, catalogue, wanted, np.random.default_rng(3))
    assert gbce.item() * (negatives + 1) == pytest.approx(bce.item(), rel=1e-12)


def test_calibration_one_takes_the_share_of_items_drawn_and_drawing_all_needs_no_calibration() -> None:
    assert gbce_power(5, 101, 1.0) == pytest.approx(0.05)
    assert gbce_power(5, 101, 0.5) == pytest.approx((1 + 0.05) / 2)
    assert gbce_power(100, 101, 1.0) == gbce_power(1000, 101, 0.3) == 1


@pytest.mark.parametrize("negatives", [N_ITEMS, 5 * N_ITEMS])
def test_sampled_softmax_over_all_items_is_the_full_cross_entropy(negatives: int) -> None:
    """In its value and in both gradients."""
    found = []
    for loss in (Loss("cross-entropy", 0, 0), Loss("sampled-softmax", negatives, 0)):
        states, catalogue, wanted = example()
        value = loss(states, catalogue, wanted, np.random.default_rng(0) if loss.draws else None)
        found.append([value, *torch.autograd.grad(value, (states, catalogue))])
    for full, sampled in zip(*found, strict=True):
        assert torch.allclose(full, sampled, rtol=1e-12, atol=1e-14)


def test_sampled_softmax_estimates_the_sum_over_all_items_without_bias() -> None:
    states, catalogue, wanted = example(1)
    right = (states @ catalogue[wanted[0]]).item()
    rng, loss = np.random.default_rng(0), Loss("sampled-softmax", 8, 0)
    sums = [math.exp(loss(states, catalogue, wanted, rng).item() + right) for _ in range(1500)]
    error = np.std(sums) / math.sqrt(len(sums))
    assert abs(np.mean(sums) - (states @ catalogue.T).exp().sum().item()) < 4 * error


def test_the_target_is_never_its_own_negative() -> None:
    """With an enormous score, it would cost as much as a negative."""
    states, catalogue = torch.full((50, 1), 30.0), torch.zeros(2, 1)
    catalogue[1] = 1
    wanted = torch.ones(50, dtype=torch.int64)
    for name in LOSSES:
        loss = declared_loss("m", name, 1, 0.0)
        assert loss(states, catalogue, wanted, np.random.default_rng(0) if loss.draws else None) < 1


def test_the_usual_number_of_negatives() -> None:
    assert [declared_loss("m", name, None, 0.75).negatives for name in LOSSES] == [0, 1, 256, 1024]
    with pytest.raises(UserError, match=r"m: loss 'softmax' is unknown\. Did you mean 'sampled-softmax'"):
        declared_loss("m", "softmax", None, 0.75)
