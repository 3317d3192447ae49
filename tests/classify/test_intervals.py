import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import binomtest

from headbench.classify.intervals import (
    N_DRAWS,
    compare,
    estimates,
    holm,
    interval,
    left_out_means,
    mcnemar,
    resampled_means,
    wilson,
)


@pytest.mark.parametrize(
    ("n_right", "n", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_the_published_interval(n_right: int, n: int, low: float, high: float) -> None:
    estimate = wilson(n_right, n)
    assert estimate.value == n_right / n
    assert estimate[1:3] == pytest.approx((low, high), abs=5e-5)


def test_wilson_stays_between_0_and_1() -> None:
    for n in range(1, 200):
        assert wilson(0, n).low == 0
        assert wilson(n, n).high == 1


@pytest.mark.parametrize("share", [0.1, 0.54, 0.97])
def test_wilson_covers_the_truth_as_often_as_it_says(share: float) -> None:
    rng = np.random.default_rng(0)
    intervals = [wilson(int(n_right), 400) for n_right in rng.binomial(400, share, 4000)]
    covered = np.mean([low <= share <= high for _, low, high, _ in intervals])
    assert abs(covered - 0.95) < 0.02


def test_resampled_means_spread_as_the_mean_does() -> None:
    values = np.random.default_rng(0).gamma(2, 1, (500, 1))
    draws = resampled_means(values, seed=1)
    assert draws.shape == (N_DRAWS, 1)
    assert draws.mean() == pytest.approx(values.mean(), abs=0.01)
    assert draws.std() == pytest.approx(values.std() / np.sqrt(500), rel=0.06)


def test_the_same_seed_draws_the_same_images_whatever_the_values() -> None:
    values = np.random.default_rng(0).normal(size=(40, 2))
    alone = resampled_means(values[:, 1:], 3)[:, 0]
    np.testing.assert_allclose(resampled_means(values, 3)[:, 1], alone, atol=1e-6)
    assert not np.array_equal(resampled_means(values, 3), resampled_means(values, 4))


def test_an_interval_of_draws_around_the_number_is_their_percentiles() -> None:
    draws = np.random.default_rng(0).normal(5, 1, 20_000)
    found = interval(5.0, draws, np.full(10, 5.0))
    assert (found.low, found.high) == pytest.approx((5 - 1.96, 5 + 1.96), abs=0.08)


def test_draws_that_lie_to_one_side_are_corrected() -> None:
    draws = np.random.default_rng(0).normal(5.5, 1, 20_000)
    found = interval(5.0, draws, np.full(10, 5.0))
    assert found.low < 5.5 - 1.96 - 0.5
    assert found.low < 5 < found.high


def test_a_number_that_never_varies_has_an_interval_of_no_width() -> None:
    assert interval(0.3, np.full(N_DRAWS, 0.3), np.full(9, 0.3))[:3] == (0.3, 0.3, 0.3)


def test_resampled_means_are_those_of_the_images_that_numpy_draws() -> None:
    values = np.random.default_rng(0).normal(size=(30, 2))
    rng = np.random.default_rng(5)
    for mean in resampled_means(values, seed=5)[:300]:
        drawn = values[rng.integers(30, size=30, dtype=np.int32)]
        np.testing.assert_allclose(mean, drawn.mean(axis=0), atol=1e-12)


def test_sparse_values_have_the_means_of_dense_ones() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(50, 6)) * (rng.random((50, 6)) < 0.3)
    sparse = csr_array(dense)
    np.testing.assert_allclose(resampled_means(sparse, 1), resampled_means(dense, 1), atol=1e-12)
    np.testing.assert_allclose(left_out_means(sparse), left_out_means(dense), atol=1e-12)


def test_an_image_left_out_leaves_the_mean_of_the_others() -> None:
    values = np.random.default_rng(0).normal(size=(9, 2))
    [found] = left_out_means(values, np.array([4]))
    np.testing.assert_allclose(found, np.delete(values, 4, axis=0).mean(axis=0))


def test_images_of_a_kind_are_left_out_once_and_count_as_often_as_they_are_there() -> None:
    values = np.repeat([[0.0], [1.0], [5.0]], (30, 9, 1), axis=0)
    kinds = np.repeat([7, 2, 4], (30, 9, 1))

    def scores(means: np.ndarray) -> tuple[np.ndarray]:
        return (means[..., 0] ** 2,)

    by_kind = estimates(scores, values, kinds, seed=0)
    one_by_one = estimates(scores, values, np.arange(40), seed=0)
    np.testing.assert_allclose(by_kind, one_by_one, rtol=1e-12)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    # Sums of the binomial table for n = 13, 20 and 5.
    [
        (3, 10, 756 / 8192),
        (10, 3, 756 / 8192),
        (2, 18, 2 * 211 / 2**20),
        (0, 5, 2 / 32),
        (4, 4, 1),
        (0, 0, 1),
    ],
)
def test_mcnemar_is_the_exact_binomial(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar(only_first, only_second) == pytest.approx(p)


def test_holm_by_hand() -> None:
    # 0.01 * 4; then 0.02 * 3; then 0.03 * 2; 0.04 * 1 would be less than the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]


def holm_of(p: float, ps: list[float]) -> float:
    """Holm's p, said otherwise: no step before it in which fewer hypotheses were left is larger."""
    return max(min(1.0, each * sum(other >= each for other in ps)) for each in ps if each <= p)


def test_holm_is_what_its_definition_gives_with_ties_too_and_keeps_the_order() -> None:
    rng = np.random.default_rng(0)
    for n_pairs in (1, 2, 3, 10, 45, 45, 45):
        ps = np.round(rng.random(n_pairs) ** 4, 2).tolist()  # small ones, many of them equal
        found = holm(ps)
        assert found == pytest.approx([holm_of(p, ps) for p in ps], rel=1e-12)
        in_order = [each for _, each in sorted(zip(ps, found, strict=True))]
        assert in_order == sorted(in_order)
        assert all(p <= corrected <= 1 for p, corrected in zip(ps, found, strict=True))


def test_the_p_of_each_pair_is_mcnemars_and_the_corrected_one_holms() -> None:
    rng = np.random.default_rng(1)
    right = {name: rng.random(120) < share for name, share in (("a", 0.9), ("b", 0.8), ("c", 0.7))}
    right["d"] = right["c"]  # two pairs with the same p, and a pair that does not differ
    pairs = compare(
        np.zeros(120, dtype=int), {name: proba_of(each) for name, each in right.items()}
    )
    ps = []
    for pair in pairs:
        first, second = right[pair.first], right[pair.second]
        only = int((first & ~second).sum()), int((second & ~first).sum())
        ps.append(float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0)
    assert [pair.p for pair in pairs] == pytest.approx(ps, rel=1e-9)
    assert [pair.p_holm for pair in pairs] == pytest.approx([holm_of(p, ps) for p in ps], rel=1e-9)
    assert len({pair.p_holm for pair in pairs}) > 2


def proba_of(is_right: np.ndarray) -> np.ndarray:
    """Probabilities of two classes that are right, for class 0, just there."""
    return np.eye(2)[np.where(is_right, 0, 1)]


def test_each_pair_is_compared_on_the_same_images() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(1000) < 0.6
    better = base | (rng.random(1000) < 0.25)
    probas = {"good": proba_of(better), "base": proba_of(base), "same": proba_of(base)}
    pairs = compare(np.zeros(1000, dtype=int), probas)
    assert [(pair.first, pair.second) for pair in pairs] == [
        ("good", "base"),
        ("good", "same"),
        ("base", "same"),
    ]
    gap = better.mean() - base.mean()
    assert pairs[0].difference.value == pytest.approx(gap)
    assert pairs[0].difference.low < gap < pairs[0].difference.high
    assert pairs[0].difference.low > 0
    assert (pairs[0].only_first, pairs[0].only_second) == (int((better & ~base).sum()), 0)
    assert pairs[0].is_seen
    assert not pairs[2].is_seen
    assert pairs[2].difference[:3] == (0, 0, 0)


def test_a_paired_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        both = rng.random(400)
        first, second = both < 0.6, (both < 0.5) | (both > 0.95)
        [pair] = compare(np.zeros(400, dtype=int), {"a": proba_of(first), "b": proba_of(second)})
        covered.append(pair.difference.low <= 0.05 <= pair.difference.high)
    assert abs(np.mean(covered) - 0.95) < 0.02


def test_no_difference_is_seen_in_19_of_20_comparisons_of_equals() -> None:
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(300):
        probas = {name: proba_of(rng.random(200) < 0.6) for name in "abc"}
        seen.append(any(pair.is_seen for pair in compare(np.zeros(200, dtype=int), probas)))
    assert np.mean(seen) < 0.08


def test_one_head_alone_is_compared_with_nothing() -> None:
    assert compare(np.zeros(4, dtype=int), {"a": proba_of(np.ones(4, dtype=bool))}) == []
