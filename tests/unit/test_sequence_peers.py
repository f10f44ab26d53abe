"""GRU4Rec, BSARec and HSTU compute what independent implementations of the same formulas do, with the same weights."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from llmrec import toy  # noqa: E402
from llmrec.context import Context  # noqa: E402
from llmrec.discover import load_method  # noqa: E402
from llmrec.types import Users  # noqa: E402

Tensor = torch.Tensor
N_ITEMS, LENGTH, WIDTH, HEADS = 15, 8, 6, 2


def network(name: str, **params: Any) -> Any:
    """An untrained network in double precision, whose every weight has been drawn anew, so that none is zero or one."""
    made = load_method(name)(length=LENGTH, width=WIDTH, layers=2, **params).network(N_ITEMS).double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5
    return made


def test_gru4rec_is_recbole_s_network() -> None:
    """RecBole's GRU4Rec has neither biases nor a start token; given its weights, ours scores alike."""
    pytest.importorskip("recbole", reason="RecBole is not installed")
    split = toy.checkerboard(20)
    sizes = {"hidden_size": 12, "num_layers": 2, "dropout_prob": 0.3, "MAX_ITEM_LIST_LENGTH": LENGTH}
    peer = load_method("recbole")(model="GRU4Rec", epochs=1, embedding_size=WIDTH, config=sizes)
    peer.fit(split, Context(0, toy.items(20), epochs=1))
    ours = load_method("gru4rec")(length=LENGTH, width=WIDTH, hidden=12, layers=2).network(20).eval()
    ours.items.weight.data[:-1] = peer.net.item_embedding.weight.data[1:]
    ours.project.load_state_dict(peer.net.dense.state_dict())
    for k, layer in enumerate(ours.layers):
        for which in ("weight_ih", "weight_hh"):
            getattr(layer, f"{which}_l0").data = getattr(peer.net.gru_layers, f"{which}_l{k}").data
    histories = toy.interactions([[3], [5, 6, 7, 8], list(range(8))], 20).histories
    theirs = peer.score(Users(np.arange(3, dtype=np.int32), histories))
    for row, history in enumerate(histories):
        states = ours(torch.from_numpy(history.astype(np.int64))[None])[0, -1]
        assert np.allclose((ours.catalogue @ states).detach().numpy(), theirs[row], rtol=1e-5, atol=1e-6)


def authors_bsarec(model: Any, ids: Tensor, alpha: float, c: int) -> Tensor:
    """The state at the last of LENGTH places, as the authors' layers say it (yehjin-shin/BSARec, _modules.py), every
    place of every layer computed; padding (-1) has a state of zeros. ids [LENGTH] -> [WIDTH]."""
    there = ids >= 0

    def norm(layer: Any, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return layer.weight * centred / torch.sqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-12) + layer.bias

    def split_heads(x: Tensor) -> Tensor:
        return x.view(LENGTH, HEADS, -1).permute(1, 0, 2)

    mask = torch.where(there & torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril(), 0.0, -10000.0)
    x = norm(model.norm, model.items.weight[ids.clamp(min=0)] + model.positions.weight) * there[:, None]
    for block in model.blocks:
        spectrum = torch.fft.rfft(x, dim=0, norm="ortho")
        spectrum[c // 2 + 1 :] = 0
        low = torch.fft.irfft(spectrum, n=LENGTH, dim=0, norm="ortho")
        filtered = norm(block.norm_1, low + block.root_beta**2 * (x - low) + x)
        query, (key, value) = block.query(x), block.key_value(x).chunk(2, 1)
        logits = split_heads(query) @ split_heads(key).transpose(1, 2) / math.sqrt(WIDTH // HEADS) + mask
        seen = (logits.softmax(2) @ split_heads(value)).permute(1, 0, 2).reshape(LENGTH, WIDTH)
        attended = norm(block.norm_2, block.mix(seen) + x)
        mixed = alpha * filtered + (1 - alpha) * attended
        inner = block.up(mixed)
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        x = norm(block.norm_3, block.down(inner) + mixed) * there[:, None]
    return x[-1]


@pytest.mark.parametrize("c", [1, 5])
def test_bsarec_is_the_authors_formula(c: int) -> None:
    """A full window, and windows padded with silence, one by one and side by side in a shorter batch."""
    model = network("bsarec", heads=HEADS, alpha=0.7, c=c)
    rows = [[5, 6, 7, 8, 9, 10, 11, 12], [0, 1, 2, 3, 0], [14]]
    ids = torch.tensor([[-1] * (LENGTH - len(row)) + row for row in rows])
    told = model(ids)
    for row, state in zip(ids, told, strict=True):
        assert torch.allclose(authors_bsarec(model, row, 0.7, c), state, rtol=0, atol=1e-9)
    assert torch.allclose(model(ids[1:, 3:]), told[1:], rtol=0, atol=1e-12)


def test_bsarec_s_filter_is_a_mean_and_waves_around_it() -> None:
    """c = 1: the mean of the window; c of all frequencies: everything passes."""
    low_pass = sys.modules[load_method("bsarec").__module__].low_pass
    assert torch.allclose(low_pass(8, 1), torch.full((8, 8), 1 / 8))
    assert torch.allclose(low_pass(8, 9), torch.eye(8), atol=1e-6)
    wave = torch.cos(2 * math.pi * torch.arange(8) / 8)  # the lowest frequency: passes c = 3, not c = 1
    assert torch.allclose(low_pass(8, 3) @ wave, wave, atol=1e-6)
    assert torch.allclose(low_pass(8, 1) @ wave, torch.zeros(8), atol=1e-6)


def authors_hstu(model: Any, ids: Tensor, head_width: int) -> Tensor:
    """States of all places as the authors' code says them (generative-recommenders, hstu.py), place by place and number
    by number, without the bias of times. ids [t] -> [t, WIDTH]."""

    def silu(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    def norm(x: Tensor) -> Tensor:
        return (x - x.mean()) / torch.sqrt(x.var(correction=0) + 1e-6)

    x = [model.items.weight[i] * math.sqrt(WIDTH) + model.positions.weight[p] for p, i in enumerate(ids)]
    size = HEADS * head_width
    for block in model.blocks:
        uvqk = [silu(block.expand.weight @ norm(row)) for row in x]
        new = []
        for i, row in enumerate(x):
            heads = []
            for h in range(HEADS):
                part = slice(h * head_width, (h + 1) * head_width)
                total = torch.zeros(head_width, dtype=torch.float64)
                for j in range(i + 1):
                    v, q, k = uvqk[j][size : 2 * size], uvqk[i][2 * size : 3 * size], uvqk[j][3 * size :]
                    total += silu(q[part] @ k[part] + block.distance[i - j]) / LENGTH * v[part]
                heads.append(total)
            gated = uvqk[i][:size] * norm(torch.cat(heads))
            new.append(block.reduce.weight @ gated + block.reduce.bias + row)
        x = new
    return torch.stack([row / row.norm() for row in x])


@pytest.mark.parametrize("t", [1, 5, LENGTH])
def test_hstu_is_the_authors_formula(t: int) -> None:
    model = network("hstu", heads=HEADS, head_width=4, temperature=0.05)
    ids = torch.arange(3, 3 + t)
    assert torch.allclose(model(ids[None])[0], authors_hstu(model, ids, 4) / 0.05, rtol=0, atol=1e-9)
    assert torch.allclose(model.catalogue, model.items.weight[:-1] / model.items.weight[:-1].norm(dim=1, keepdim=True))


def test_hstu_by_hand() -> None:
    """One layer, one head of width three, two places, worked out with a pocket calculator.

    X = (1, -1), (0, 2), normed (1, -1), (-1, 1). With silu(1) = .7311, silu(-1) = -.2689: U = .7311, -.2689 (thrice
    each), V = (.7311, -.2689, 0), (-.2689, .7311, 0), Q = K = (.7311, 0, 0), (-.2689, 0, 0). Biases: 0 for itself, 1
    for the item before. The second place weighs the first by silu(-.1966 + 1) / 8 = .06936 and itself by
    silu(.0723) / 8 = .00468: AV = (.04945, -.01523, 0), normed (1.377, -.9641, -.4129), times U (-.3703, .2593, .111).
    """
    block = sys.modules[load_method("hstu").__module__].Block(LENGTH, 2, 1, 3, 0.0).double()
    u, v, q = [[1, 0]] * 3, [[1, 0], [0, 1], [0, 0]], [[1, 0], [0, 0], [0, 0]]
    block.expand.weight.data = torch.tensor([*u, *v, *q, *q], dtype=torch.float64)
    block.reduce.weight.data = torch.tensor([[1, 0, 0], [0, 1, 1]], dtype=torch.float64)
    block.reduce.bias.data = torch.zeros(2, dtype=torch.float64)
    block.distance.data = torch.tensor([0.0, 1.0], dtype=torch.float64)
    x = torch.tensor([[[1.0, -1.0], [0.0, 2.0]]], dtype=torch.float64)
    told = block(x, torch.tensor([[0, -1], [1, 0]]))
    by_hand = torch.tensor([[[1.9968, -1.9968], [-0.3703, 2.3703]]], dtype=torch.float64)
    assert torch.allclose(told, by_hand, rtol=0, atol=2e-4)
