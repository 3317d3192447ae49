import numpy as np
import pytest

from classify.heads.temperature import sharpen
from classify.inspection.reliability import before_temperature, reliability
from classify.metrics import calibration_error


def test_bins_hold_what_the_calibration_error_is_made_of() -> None:
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), 500)
    y = rng.integers(4, size=500)
    bins = reliability(y, proba)
    assert bins.n_images.sum() == 500
    assert (bins.n_images > 0).all()
    error = (bins.n_images / 500 * np.abs(bins.confidence - bins.accuracy)).sum()
    assert error == pytest.approx(calibration_error(y, proba), abs=1e-6)


def test_one_bin_by_hand() -> None:
    bins = reliability(np.array([0, 1]), np.array([[0.9, 0.1], [0.92, 0.08]]))
    np.testing.assert_allclose(bins.confidence, [0.91])
    np.testing.assert_allclose(bins.accuracy, [0.5])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_can_be_undone(temperature: float) -> None:
    proba = np.random.default_rng(1).dirichlet(np.ones(5), 20)
    np.testing.assert_allclose(
        before_temperature(sharpen(proba, temperature), temperature), proba, rtol=1e-5
    )
