"""How sure a figure is, and whether two methods differ: intervals, a permutation test, Holm's correction, effect sizes.

Per-user values are averaged over seeds and paired over users; the spread over seeds is an outer level of the bootstrap.
Every random draw comes from one fixed seed, so that a report is the same each time it is made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

SEED = 20_240_229
"""The seed of all resampling here."""

RESAMPLES = 2_000
"""Of the bootstrap. The Monte Carlo error of an end of the interval is then about 3 % of the interval's half-width."""

PERMUTATIONS = 10_000
"""Of the test; the smallest p-value that it can give is 1 / 10,001."""

CELLS_AT_ONCE = 1 << 22
"""Random numbers held at a time."""

CELLS_KEPT = 1 << 26
"""Counts of draws that may be kept, two bytes each: 2,000 resamples of 33,000 users."""


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A against B over the same users."""

    difference: float
    """Mean of A - mean of B: positive where A is better."""
    low: float
    high: float
    """Ends of the difference's confidence interval."""
    p: float
    """Two-sided: the probability of a difference at least this large, either way, if A and B were exchangeable."""
    effect: float
    """Cohen's d_z: the mean of the per-user differences in units of their standard deviation."""


def bootstrap_interval(
    values: npt.ArrayLike, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval:
    """Percentile bootstrap interval of the mean over users and seeds.

    A resample draws seeds with replacement and, independently, users with replacement, and takes the mean of the
    chosen rows and columns: the two are crossed, every seed answers every user. Noise that belongs to one seed and one
    user alone is counted on both levels, which errs on the wide side; the spread over three seeds is estimated from
    so few that it errs on the narrow side (by a factor of 2/3 in variance). Percentile bootstrap: Efron & Tibshirani,
    1993, chapter 13; crossed levels: Owen, Annals of Applied Statistics 1(2), 2007.

    Args:
        values: [seeds, users], or [users] for one seed.

    Raises:
        ValueError: there are no values.
    """
    return bootstrap_intervals([values], level=level, resamples=resamples, seed=seed)[0]


def bootstrap_intervals(
    tables: Sequence[npt.ArrayLike], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = SEED
) -> list[Interval]:
    """`bootstrap_interval` of many tables over the same users, who are drawn once for all: the same intervals, sooner.

    Raises:
        ValueError: there are no values, or the users' numbers differ.
    """
    checked = [_table(values) for values in tables]
    means = _resampled_users(checked, seed, resamples)
    return [
        _interval(table.mean(), _resampled_seeds(some, _seed_draws(seed)), level)
        for table, some in zip(checked, means, strict=True)
    ]


def paired_permutation_test(differences: npt.ArrayLike, *, permutations: int = PERMUTATIONS, seed: int = SEED) -> float:
    """Two-sided p-value of the hypothesis that paired differences are symmetric about 0 (Fisher's sign-flip test).

    The signs of the differences are flipped at random; p is the share of mean differences at least as far from 0 as the
    one observed. If there are at most ``permutations`` patterns of signs, each is tried and p is exact; else
    p = (1 + extreme) / (1 + permutations), which is never 0 and keeps the test's level (Phipson & Smyth, 2010).
    Differences of 0 carry no sign and are left out; they change no mean.

    Args:
        differences: [users], averaged over seeds.
    """
    moved = np.asarray(differences, np.float64)
    moved = moved[moved != 0]
    if not len(moved):
        return 1.0
    observed = abs(moved.sum())
    least = observed - 1e-12 * np.abs(moved).sum()  # equal sums in another order of summation count as equal
    if len(moved) < permutations.bit_length():  # 2^n <= permutations
        patterns = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        return float((np.abs((2.0 * patterns - 1) @ moved) >= least).mean())
    rng = np.random.default_rng(seed)
    extreme = 0
    table = _sums_by_byte(moved)
    for count in _chunks(permutations, len(moved)):
        drawn = rng.integers(0, 256, (count, len(table)), np.uint8)  # a bit a user: whether its sign stays
        kept = np.zeros(count)
        for sums_of, column in zip(table, np.ascontiguousarray(drawn.T), strict=True):
            kept += sums_of[column]
        sums = 2 * kept - moved.sum()  # the sum with the signs of the zeros flipped
        extreme += int((np.abs(sums) >= least).sum())
    return (1 + extreme) / (1 + permutations)


def sharp_permutation_test(differences: npt.ArrayLike, *, permutations: int = PERMUTATIONS, seed: int = SEED) -> float:
    """`paired_permutation_test` for large families of tests, whose correction multiplies p by thousands.

    Where none of the random flips comes as far as what was observed, that test can say no more than 1 / (1 +
    permutations), and of a thousand pairs none could then be told apart. There Hoeffding's bound stands in, if it is
    smaller: of all patterns of signs at most the share 2 exp(-S^2 / 2 Q), S the sum of the differences and Q that of
    their squares, brings the sum as far from 0 as S (Hoeffding, JASA 58, 1963, theorem 2). It is never under the exact
    p-value.

    Args:
        differences: [users], averaged over seeds.
    """
    p = paired_permutation_test(differences, permutations=permutations, seed=seed)
    if p > 1 / (1 + permutations):
        return p
    moved = np.asarray(differences, np.float64)
    return min(p, 2 * float(np.exp(-(moved.sum() ** 2) / (2 * (moved**2).sum()))))


def _sums_by_byte(values: Values) -> Values:
    """For each eight values (the last are filled up with 0) the sum of those that each byte chooses, its highest bit
    the first of them: [eighths, 256]. Adding eight at a time, from a table, is what makes the test quick."""
    eighths = np.pad(values, (0, -len(values) % 8)).reshape(-1, 8)
    patterns = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    return np.asarray(eighths @ patterns.T.astype(np.float64))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: p-values that may be held against one level for the whole family, in input order.

    The i-th smallest of m is multiplied by m - i + 1, made monotone, and capped at 1 (Holm, Scand. J. Stat. 6, 1979).
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]


def effect_size(differences: npt.ArrayLike) -> float:
    """Cohen's d_z of paired differences: mean / standard deviation (n - 1). 0 if they are all 0, +-inf if all equal."""
    values = np.asarray(differences, np.float64)
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if spread <= 1e-12 * abs(mean):
        return float(np.copysign(np.inf, mean)) if mean else 0.0
    return mean / spread


def compare_paired(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = SEED,
) -> Comparison:
    """A against B, whose columns are the same users in the same order.

    The interval resamples the users of both together and the seeds of each on their own. Test and effect size look at
    per-user differences of the means over seeds.

    Args:
        a, b: [seeds, users] or [users]; they may differ in the number of seeds (a method without a random stream has
            one row).

    Raises:
        ValueError: there are no values, or the users' numbers differ.
    """
    return compare_with([a], b, level=level, resamples=resamples, permutations=permutations, seed=seed)[0]


def compare_with(
    tables: Sequence[npt.ArrayLike],
    reference: npt.ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = SEED,
) -> list[Comparison]:
    """`compare_paired` of many tables with one reference; users are drawn once for all. P-values are not corrected.

    Raises:
        ValueError: there are no values, or the users' numbers differ.
    """
    checked, base = [_table(values) for values in tables], _table(reference)
    *means, base_means = _resampled_users([*checked, base], seed, resamples)
    gaps = [table.mean(axis=0) - base.mean(axis=0) for table in checked]
    return [
        _comparison(
            gap, some, base_means, paired_permutation_test(gap, permutations=permutations, seed=seed), level, seed
        )
        for gap, some in zip(gaps, means, strict=True)
    ]


def compare_each_with_each(
    tables: Sequence[npt.ArrayLike],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    seed: int = SEED,
) -> dict[tuple[int, int], Comparison]:
    """`compare_paired` of every two of some tables, by (place of A, place of B), both ways round; users are drawn once.
    The test is `sharp_permutation_test`, for there may be a thousand pairs to correct for.

    Raises:
        ValueError: there are no values, or the users' numbers differ.
    """
    checked = [_table(values) for values in tables]
    means = _resampled_users(checked, seed, resamples)
    averages = [table.mean(axis=0) for table in checked]
    found: dict[tuple[int, int], Comparison] = {}
    for i, j in itertools.combinations(range(len(checked)), 2):
        gap = averages[i] - averages[j]
        p = sharp_permutation_test(gap, permutations=permutations, seed=seed)  # the same whichever comes first
        found[i, j] = _comparison(gap, means[i], means[j], p, level, seed)
        found[j, i] = _comparison(-gap, means[j], means[i], p, level, seed)
    return found


def _comparison(gaps: Values, ours: Values, theirs: Values, p: float, level: float, seed: int) -> Comparison:
    """From differences per user [users] and the means of resampled users [resamples, seeds] of both."""
    rng = _seed_draws(seed)
    resampled = _resampled_seeds(ours, rng) - _resampled_seeds(theirs, rng)
    interval = _interval(gaps.mean(), resampled, level)
    return Comparison(interval.mean, interval.low, interval.high, p, effect_size(gaps))


def _table(values: npt.ArrayLike) -> Values:
    table = np.atleast_2d(np.asarray(values, np.float64))
    if table.ndim != 2 or not table.size:
        raise ValueError(f"expected values of shape [seeds, users], got {table.shape}")
    return table


def _resampled_users(tables: Sequence[Values], seed: int, resamples: int) -> list[Values]:
    """For each table the mean of each of its seeds over resampled users, [resamples, seeds]; the same users for all."""
    sizes = {table.shape[1] for table in tables}
    if len(sizes) > 1:
        raise ValueError(f"not the same users: {' and '.join(map(str, sorted(sizes)))}")
    rows = np.vstack(tables) if tables else np.empty((0, 1))
    users = rows.shape[1]
    draws = _kept_draws if resamples * users <= CELLS_KEPT else _draws
    parts = [times.astype(np.float64) @ rows.T / users for times in draws(users, seed, resamples)]
    return np.split(np.concatenate(parts), np.cumsum([len(table) for table in tables])[:-1], axis=1)


def _draws(users: int, seed: int, resamples: int) -> Iterator[npt.NDArray[np.uint16]]:
    """How often each resample draws each user: [some resamples, users] at a time."""
    rng = np.random.default_rng(seed)
    for count in _chunks(resamples, users):
        drawn = rng.integers(0, users, (count, users)) + np.arange(count)[:, None] * users
        yield np.bincount(drawn.reshape(-1), minlength=count * users).reshape(count, users).astype(np.uint16)


@lru_cache(maxsize=2)
def _kept_draws(users: int, seed: int, resamples: int) -> tuple[npt.NDArray[np.uint16], ...]:
    """The same, kept: a paper's tables and claims ask for the same users some ninety times."""
    return tuple(_draws(users, seed, resamples))


def _seed_draws(seed: int) -> np.random.Generator:
    """The stream that draws seeds, apart from the one that draws users."""
    return np.random.default_rng([seed, 1])


def _resampled_seeds(means: Values, rng: np.random.Generator) -> Values:
    """For each resample the mean over seeds drawn with replacement, [resamples]."""
    drawn = rng.integers(0, means.shape[1], means.shape)
    return np.asarray(np.take_along_axis(means, drawn, axis=1).mean(axis=1))


def _interval(mean: float, means: Values, level: float) -> Interval:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(mean), float(low), float(high))


def _chunks(total: int, width: int) -> Iterator[int]:
    """Numbers of rows that add up to ``total``, each with at most CELLS_AT_ONCE cells."""
    step = max(1, CELLS_AT_ONCE // max(1, width))
    for start in range(0, total, step):
        yield min(step, total - start)
