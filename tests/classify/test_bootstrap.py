import numpy as np
import pytest

from classify.bootstrap import N_DRAWS, interval, resampled_means, wilson


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
