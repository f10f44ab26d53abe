"""The statistics against scipy and statsmodels, by hand, and the mistakes that others have made."""

import numpy as np
import pytest
import scipy.stats

from llmrec import stats
from llmrec.stats import bootstrap_interval, compare_paired, effect_size, holm, paired_permutation_test


def uneven(rng, seeds, users):
    """Per-user values as nDCG gives them: mostly 0, the rest spread."""
    return (rng.random((seeds, users)) < 0.3) * rng.random((seeds, users))


def test_bootstrap_over_users_agrees_with_scipy():
    values = uneven(np.random.default_rng(0), 1, 400)
    ours = bootstrap_interval(values, resamples=20_000)
    scipys = scipy.stats.bootstrap(
        (values[0],), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    width = scipys.high - scipys.low
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(scipys.low, abs=0.03 * width)
    assert ours.high == pytest.approx(scipys.high, abs=0.03 * width)


def test_bootstrap_is_the_same_each_time_and_narrower_at_a_lower_level():
    values = uneven(np.random.default_rng(0), 3, 200)
    assert bootstrap_interval(values) == bootstrap_interval(values)
    wide, narrow = bootstrap_interval(values, level=0.99), bootstrap_interval(values, level=0.8)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_bootstrap_takes_the_spread_over_seeds_in():
    rng = np.random.default_rng(0)
    base = rng.random((1, 500))
    same = bootstrap_interval(np.repeat(base, 5, axis=0))
    spread = bootstrap_interval(base + np.array([[-0.2], [-0.1], [0.0], [0.1], [0.2]]))
    one = bootstrap_interval(base)
    assert same.high - same.low == pytest.approx(one.high - one.low, rel=0.1)
    assert spread.high - spread.low > 3 * (same.high - same.low)
    assert spread.mean == pytest.approx(same.mean)


def test_bootstrap_matches_a_plain_loop_over_crossed_levels():
    rng = np.random.default_rng(3)
    values = uneven(rng, 3, 60) + np.array([[0.0], [0.05], [0.1]])
    means = [values[np.ix_(rng.integers(0, 3, 3), rng.integers(0, 60, 60))].mean() for _ in range(20_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    ours = bootstrap_interval(values, resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.04 * (high - low))


def test_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="seeds, users"):
        bootstrap_interval(np.empty((3, 0)))


@pytest.mark.parametrize("users", [5, 9, 12])
def test_few_users_give_the_exact_p_value_of_scipy(users):
    differences = np.random.default_rng(users).normal(0.4, 1, users)
    exact = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert paired_permutation_test(differences) == pytest.approx(exact.pvalue)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.15])
def test_many_users_agree_with_scipy(shift):
    differences = np.random.default_rng(7).normal(shift, 1, 300)
    scipys = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=10_000, vectorized=True,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    error = 4 * np.sqrt(max(scipys.pvalue, 1e-3) / 10_000)
    assert paired_permutation_test(differences) == pytest.approx(scipys.pvalue, abs=error)


def test_users_without_a_difference_change_nothing():
    differences = np.random.default_rng(0).normal(0.3, 1, 40)
    padded = np.concatenate([differences, np.zeros(1000)])
    assert paired_permutation_test(padded) == paired_permutation_test(differences)
    assert paired_permutation_test(np.zeros(10)) == 1.0


def test_equal_steps_count_as_equal():
    """With differences of one size the null distribution is binomial and full of ties, which belong to the p-value."""
    differences = np.where(np.arange(60) < 40, 0.1, -0.1)
    expected = scipy.stats.binomtest(40, 60).pvalue
    assert paired_permutation_test(differences, permutations=200_000) == pytest.approx(expected, rel=0.1)


def test_p_is_never_zero_and_uniform_under_the_null():
    rng = np.random.default_rng(5)
    assert paired_permutation_test(np.full(100, 0.3)) == pytest.approx(1 / 10_001)
    p = [paired_permutation_test(rng.normal(0, 1, 30), permutations=500) for _ in range(300)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_a_large_family_can_tell_methods_apart():
    """1 / 10,001 times the 1,081 pairs of 47 methods is over .1: even random could not be told from the best."""
    rng = np.random.default_rng(5)
    gap = 0.1 + rng.normal(0, 0.3, 900)
    assert 1081 * paired_permutation_test(gap) > 0.1 and 1081 * stats.sharp_permutation_test(gap) < 1e-6
    near = 0.02 + rng.normal(0, 0.3, 900)
    assert stats.sharp_permutation_test(near) == paired_permutation_test(near)
    for _ in range(50):  # never under the exact p-value, which all patterns of signs give
        few = rng.normal(1.5, 1, 12)
        assert stats.sharp_permutation_test(few, permutations=20) >= paired_permutation_test(few) - 1e-15


def test_the_tail_is_the_right_one():
    """A test of 'a better than b' that looks at the wrong tail gives p near 1 when a is clearly better."""
    rng = np.random.default_rng(0)
    b = np.repeat(uneven(rng, 1, 500), 3, axis=0)
    a = b + 0.05 * rng.random((3, 500))
    better, worse = compare_paired(a, b), compare_paired(b, a)
    assert better.p < 0.001 and worse.p < 0.001
    assert 0 < better.low < better.difference < better.high
    assert worse.low < worse.difference < worse.high < 0
    assert better.effect > 0 > worse.effect
    assert scipy.stats.wilcoxon(a.mean(0), b.mean(0), alternative="greater").pvalue < 0.001  # the same direction
    assert scipy.stats.ttest_rel(a.mean(0), b.mean(0), alternative="less").pvalue > 0.999  # what the wrong tail says
    assert compare_paired(b, b).p == 1.0


def test_comparison_is_antisymmetric():
    rng = np.random.default_rng(2)
    a, b = uneven(rng, 3, 200), uneven(rng, 3, 200)
    one, other = compare_paired(a, b), compare_paired(b, a)
    assert one.difference == pytest.approx(-other.difference)
    assert one.effect == pytest.approx(-other.effect)
    assert one.p == other.p


def test_comparison_pairs_over_users():
    """Two methods that agree on who is easy: the paired interval is far narrower than two separate ones."""
    rng = np.random.default_rng(4)
    easy = uneven(rng, 1, 400)
    a, b = easy + rng.normal(0.02, 0.02, (3, 400)), easy + rng.normal(0.0, 0.02, (1, 400))
    result = compare_paired(a, b)
    alone = bootstrap_interval(a)
    assert result.high - result.low < 0.2 * (alone.high - alone.low)
    assert result.difference == pytest.approx(a.mean() - b.mean())
    assert result.p < 0.001


def test_comparison_of_different_users_is_refused():
    with pytest.raises(ValueError, match="4 and 5"):
        compare_paired(np.ones((3, 4)), np.ones((3, 5)))


@pytest.mark.parametrize("seed", range(5))
def test_holm_agrees_with_statsmodels(seed):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(seed).random(8) ** 3
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_effect_size():
    differences = np.random.default_rng(0).normal(0.5, 2, 5000)
    t = scipy.stats.ttest_1samp(differences, 0).statistic
    assert effect_size(differences) == pytest.approx(t / np.sqrt(5000))
    assert effect_size(np.zeros(5)) == 0.0
    assert effect_size(np.full(5, -0.1)) == -np.inf


def test_many_tables_at_once_give_what_each_gives_alone():
    rng = np.random.default_rng(5)
    tables = [rng.random((seeds, 60)) for seeds in (1, 3, 2)]
    assert stats.bootstrap_intervals(tables) == [stats.bootstrap_interval(table) for table in tables]
    reference = rng.random((3, 60))
    assert stats.compare_with(tables, reference) == [stats.compare_paired(table, reference) for table in tables]
    with pytest.raises(ValueError, match="not the same users"):
        stats.bootstrap_intervals([tables[0], tables[1][:, :50]])


def test_each_with_each_is_what_each_pair_gives_on_its_own():
    rng = np.random.default_rng(5)
    tables = [uneven(rng, 3, 80), uneven(rng, 1, 80), uneven(rng, 2, 80)]
    found = stats.compare_each_with_each(tables)
    assert sorted(found) == [(i, j) for i in range(3) for j in range(3) if i != j]
    for (i, j), comparison in found.items():
        assert comparison == compare_paired(tables[i], tables[j])
