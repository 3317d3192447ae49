import numpy as np
import pytest
from scipy.sparse import csr_array

from classify.bootstrap import (
    N_DRAWS,
    estimates,
    interval,
    left_out_means,
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
    assert wilson(0, 3).low == 0
    assert wilson(3, 3).high == 1


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
