"""RQ-VAE: item vectors become codes by an autoencoder whose middle is quantised level by level.

Rajput et al., "Recommender Systems with Generative Retrieval" (TIGER), NeurIPS 2023, section 3.1, after Lee et al.,
CVPR 2022. The codebooks are moving averages of what they stand for (van den Oord et al. 2017, appendix A.1), start from
k-means of the first encodings as in TIGER, and a code that nothing is near to any more is put on a random item anew.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmrec.types import Floats

EPOCHS, BATCH, RATE = 60, 512, 1e-3
HIDDEN, MIDDLE = 256, 64  # widths of encoder and decoder between the vectors and the codes
COMMITMENT = 0.25  # TIGER's beta
DECAY = 0.97  # of the moving averages, a step
DEAD = 0.5  # a code that stands for fewer items a batch than this, on average, is put elsewhere


class Quantised(NamedTuple):
    """What quantising gives: in the space of the codes, and how well the vectors come back."""

    middle: Floats  # [n, MIDDLE] the encoded vectors
    books: list[Floats]  # each [codes, MIDDLE]
    labels: npt.NDArray[np.int64]  # [n, levels]
    error: float  # share of the vectors' variance that does not come back from the codes


def rqvae(vectors: Floats, *, levels: int, codes: int, seed: int) -> Quantised:
    """Train an RQ-VAE on vectors [n, d], on the CPU, and quantise them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        return _fitted(torch.from_numpy(np.asarray(vectors, np.float32)), levels, codes, seed)


def _fitted(vectors: Tensor, levels: int, codes: int, seed: int) -> Quantised:
    n, d = vectors.shape
    centred = vectors - vectors.mean(0)
    scale = centred.pow(2).mean().sqrt().clamp(min=1e-12)
    x = centred / scale
    encoder = nn.Sequential(nn.Linear(d, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, MIDDLE))
    decoder = nn.Sequential(nn.Linear(MIDDLE, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, d))
    optimizer = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], RATE, weight_decay=1e-4)
    with torch.no_grad():
        books = [_Book(part) for part in _first_books(encoder(x), levels, codes, seed)]
    for _ in range(EPOCHS):
        for rows in torch.randperm(n).split(BATCH):
            z = encoder(x[rows])
            left, commitment = z.detach(), z.new_zeros(())
            taken = torch.zeros_like(left)
            for book in books:
                near = book.nearest(left)
                chosen = book.centres[near]
                book.follow(left, near)
                commitment = commitment + F.mse_loss(z - taken, chosen)
                taken, left = taken + chosen, left - chosen
            loss = F.mse_loss(decoder(z + (taken - z).detach()), x[rows]) + COMMITMENT * commitment
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
    with torch.inference_mode():
        middle = encoder(x)
        left, labels = middle.clone(), np.empty((n, levels), np.int64)
        for level, book in enumerate(books):
            near = book.nearest(left)
            labels[:, level] = near.numpy()
            left -= book.centres[near]
        error = float((decoder(middle - left) - x).pow(2).sum() / x.pow(2).sum().clamp(min=1e-12))
    return Quantised(middle.double().numpy(), [book.centres.double().numpy() for book in books], labels, error)


class _Book:
    """One level's codes: moving averages of the residuals that are nearest to each."""

    def __init__(self, centres: Tensor) -> None:
        self.centres = centres.clone()
        self.sums, self.counts = centres.clone(), torch.ones(len(centres))

    def nearest(self, left: Tensor) -> Tensor:
        """The nearest code of each residual [n, d] -> [n]."""
        return (self.centres.pow(2).sum(1) - 2 * left @ self.centres.T).argmin(1)

    def follow(self, left: Tensor, near: Tensor) -> None:
        """Move towards the residuals of a batch [n, d], each to its nearest code [n]; codes that nobody needs go to
        random ones of them."""
        share = F.one_hot(near, len(self.centres)).to(left.dtype)  # [n, codes]
        self.counts.lerp_(share.sum(0), 1 - DECAY)
        self.sums.lerp_(share.T @ left, 1 - DECAY)
        dead = (self.counts < DEAD).nonzero().squeeze(1)
        if len(dead):
            self.sums[dead] = left[torch.randint(len(left), (len(dead),))]
            self.counts[dead] = 1.0
        self.centres = self.sums / self.counts[:, None]


def _first_books(z: Tensor, levels: int, codes: int, seed: int) -> list[Tensor]:
    """Codebooks by residual k-means of the first encodings."""
    from sklearn.cluster import MiniBatchKMeans

    left, books = z.numpy().astype(np.float64), []
    for level in range(levels):
        size = min(codes, len(np.unique(left.round(6), axis=0)))
        found = MiniBatchKMeans(size, n_init=1, random_state=(seed + level) % 2**32).fit(left)
        books.append(torch.from_numpy(found.cluster_centers_.astype(np.float32)))
        left = left - found.cluster_centers_[found.labels_]
    return books
